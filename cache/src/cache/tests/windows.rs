//! How old what is served may be.

use std::time::Duration;

use tokio::time::{Instant, advance};

use super::*;
use crate::flight::Failure;

fn stale(text: &str, state: State) -> Short {
    Short::Cached(text.to_owned(), Tier::Local, state)
}

fn instead(text: &str, cause: &str) -> Short {
    Short::Instead(text.to_owned(), State::StaleOnError, Outcome(cause.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_is_served_while_it_is_fresh_with_its_age() {
    let (cache, downstream) = (in_memory(), Downstream { takes: Duration::from_secs(8), ..Downstream::open() });
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fetched("answer 1"));
    later(&cache, 30_000);
    let Served::Cached(cached) = serve(&cache, &downstream, ask(1)).await else { panic!("it is held") };
    assert_eq!((&cached.value[..], cached.found), (&b"answer 1"[..], Found::Found));
    assert_eq!((cached.tier, cached.state, cached.fetch_ms), (Tier::Local, State::Fresh, 8_000));
    assert!((30_000..31_000).contains(&cached.age_ms) && cached.verified && cached.cause.is_none());
    assert!(cached.fetched_at_ms + cached.age_ms <= cache.clock().now_ms());
    assert_eq!(downstream.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_served_at_once_while_it_is_fetched_anew() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    downstream.let_through(1);
    serve(&cache, &downstream, ask(1)).await;
    later(&cache, 60_000);
    for _ in 0..100 {
        let served = short(serve(&cache, &downstream, ask(1)).await);
        assert_eq!(served, stale("answer 1", State::StaleWhileRefreshing));
    }
    until_waiting(&cache, 1, 0).await;
    downstream.let_through(1);
    until_waiting(&cache, 0, 0).await;
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fresh("answer 2"));
    assert_eq!((downstream.asked(), cache.figures().refreshes), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn after_that_it_is_served_only_instead_of_a_failure_and_not_beyond_its_maximum() {
    let (cache, downstream) = (in_memory(), Downstream::open());
    serve(&cache, &downstream, ask(1)).await;
    downstream.now(Does::Fail);
    later(&cache, 300_000);
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), instead("answer 1", "outcome 2"));
    later(&cache, 3_200_000);
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), instead("answer 1", "outcome 3"));
    later(&cache, 100_000);
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), passed("outcome 4", Seat::Starter));
    downstream.now(Does::Answer);
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fetched("answer 5"));
}

#[tokio::test(start_paused = true)]
async fn a_downstream_that_is_back_is_asked_before_anything_stale_is_served() {
    let (cache, downstream) = (in_memory(), Downstream::open());
    serve(&cache, &downstream, ask(1)).await;
    later(&cache, 300_000);
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fetched("answer 2"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_fetch_is_waited_for_no_longer_than_callers_of_the_tool_do_and_goes_on() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    let patient = || Ask { stale_after_waiting: Some(Duration::from_secs(2)), ..ask(1) };
    downstream.let_through(1);
    serve(&cache, &downstream, patient()).await;
    later(&cache, 300_000);
    let start = Instant::now();
    let served = short(serve(&cache, &downstream, patient()).await);
    assert_eq!(served, stale("answer 1", State::StaleAfterWaiting));
    assert_eq!(start.elapsed().as_millis(), 2_000);
    downstream.let_through(1);
    until_waiting(&cache, 0, 0).await;
    assert_eq!(short(serve(&cache, &downstream, patient()).await), fresh("answer 2"));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_older_is_there_the_fetch_is_waited_for() {
    let (cache, downstream) = (in_memory(), Downstream { takes: Duration::from_secs(8), ..Downstream::open() });
    let patient = Ask { stale_after_waiting: Some(Duration::from_secs(2)), ..ask(1) };
    assert_eq!(short(serve(&cache, &downstream, patient).await), fetched("answer 1"));
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_time_is_over_gets_what_is_left_and_the_fetch_goes_on() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    let brief = || Ask { wait_by: Instant::now() + Duration::from_millis(100), ..ask(1) };
    assert_eq!(short(serve(&cache, &downstream, brief()).await), Short::Nothing(Failure::WaitDeadline));
    downstream.let_through(1);
    until_waiting(&cache, 0, 0).await;
    assert_eq!(short(serve(&cache, &downstream, brief()).await), fresh("answer 1"));
    later(&cache, 300_000);
    let served = short(serve(&cache, &downstream, brief()).await);
    assert_eq!(served, stale("answer 1", State::StaleOnError));
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_such_thing_is_known_for_its_own_time_and_never_served_stale() {
    let (cache, downstream) = (in_memory(), Downstream::open());
    downstream.now(Does::NotFound);
    serve(&cache, &downstream, ask(1)).await;
    later(&cache, 4_900);
    let Served::Cached(cached) = serve(&cache, &downstream, ask(1)).await else { panic!("it is held") };
    assert_eq!(cached.found, Found::NotFound);
    later(&cache, 100);
    downstream.now(Does::Fail);
    assert!(matches!(serve(&cache, &downstream, ask(1)).await, Served::Passed { .. }));

    downstream.now(Does::NotFound);
    let unkept = || Ask { contract: Contract { not_found_for_ms: 0, ..CONTRACT }, ..ask(2) };
    let asked = downstream.asked();
    for _ in 0..3 {
        assert!(matches!(serve(&cache, &downstream, unkept()).await, Served::Fetched { stored: false, .. }));
    }
    assert_eq!(downstream.asked(), asked + 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_but_answers_is_kept() {
    let (cache, downstream) = (in_memory(), Downstream::open());
    for does in [Does::Share, Does::Fail, Does::AskBack] {
        downstream.now(does);
        let asked = downstream.asked();
        for more in 1..=2 {
            let served = short(serve(&cache, &downstream, ask(1)).await);
            assert_eq!(served, passed(&format!("outcome {}", asked + more), Seat::Starter));
        }
    }
    downstream.now(Does::Overflow);
    for _ in 0..2 {
        assert!(matches!(serve(&cache, &downstream, ask(1)).await, Served::Fetched { stored: false, .. }));
    }
    assert_eq!((downstream.asked(), cache.figures().local.entries), (8, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_about_to_be_stale_is_fetched_anew_by_one_while_all_are_served() {
    let (cache, downstream) = (in_memory(), Downstream { takes: Duration::from_secs(8), ..Downstream::open() });
    serve(&cache, &downstream, ask(1)).await;
    later(&cache, 59_000);
    for _ in 0..100 {
        assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fresh("answer 1"));
    }
    until("it is asked", || downstream.asked() == 2).await;
    advance(Duration::from_secs(9)).await;
    until_waiting(&cache, 0, 0).await;
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fresh("answer 2"));
    assert_eq!((downstream.asked(), cache.figures().refreshes), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_downstream_that_gives_nothing_to_keep_in_the_background_is_left_alone_for_a_moment() {
    for does in [Does::Fail, Does::Overflow] {
        let (cache, downstream) = (in_memory(), Downstream::open());
        serve(&cache, &downstream, ask(1)).await;
        downstream.now(does);
        later(&cache, 60_000);
        for _ in 0..100 {
            let served = short(serve(&cache, &downstream, ask(1)).await);
            assert_eq!(served, stale("answer 1", State::StaleWhileRefreshing));
            until_waiting(&cache, 0, 0).await;
        }
        assert_eq!(downstream.asked(), 2, "{does:?}");
        downstream.now(Does::Answer);
        advance(Duration::from_millis(500)).await;
        serve(&cache, &downstream, ask(1)).await;
        until_waiting(&cache, 0, 0).await;
        assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fresh("answer 3"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_can_be_looked_at() {
    let (cache, downstream) = (in_memory(), Downstream::open());
    assert!(cache.look(&ask(1)).await.is_none());
    serve(&cache, &downstream, ask(1)).await;
    for (by_ms, state) in [(0, State::Fresh), (60_000, State::StaleWhileRefreshing), (240_000, State::StaleOnError)] {
        later(&cache, by_ms);
        assert_eq!(cache.look(&ask(1)).await.map(|cached| cached.state), Some(state));
    }
    later(&cache, 3_300_000);
    assert!(cache.look(&ask(1)).await.is_none());
    assert_eq!(downstream.asked(), 1);
}

//! Several who ask the same of one process.

use std::future::pending;

use tokio::{task::JoinSet, time::advance};

use super::*;
use crate::{flight::Failure, tags::Settled};

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_have_one_fetch_and_the_same_bytes() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    let mut calls = JoinSet::new();
    for _ in 0..1_000 {
        let (cache, downstream) = (cache.clone(), downstream.clone());
        calls.spawn(async move { serve(&cache, &downstream, ask(1)).await });
    }
    until_waiting(&cache, 1, 1_000).await;
    downstream.let_through(1);
    let mut starters = 0;
    for served in calls.join_all().await {
        let Short::Fetched(value, seat, true) = short(served) else { panic!("all of them waited") };
        assert_eq!(value, "answer 1");
        starters += usize::from(seat == Seat::Starter);
    }
    assert_eq!((starters, downstream.asked()), (1, 1));
}

/// A caller may look, find nothing, and join just after the fetch that ran has landed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_key_is_fetched_twice_whenever_its_callers_come() {
    const KEYS: usize = 3_000;
    let cache = in_memory();
    let downstreams: Arc<Vec<Downstream>> = Arc::new((0..KEYS).map(|_| Downstream::open()).collect());
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (cache, downstreams) = (cache.clone(), downstreams.clone());
        callers.spawn(async move {
            for call in 0..KEYS {
                serve(&cache, &downstreams[call], ask(call)).await;
            }
        });
    }
    callers.join_all().await;
    assert!(downstreams.iter().all(|downstream| downstream.asked() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_outlives_who_started_it() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    let starter = spawn(&cache, &downstream, ask(1));
    until_waiting(&cache, 1, 1).await;
    starter.abort();
    until_waiting(&cache, 1, 0).await;
    let passenger = spawn(&cache, &downstream, ask(1));
    until_waiting(&cache, 1, 1).await;
    downstream.let_through(1);
    assert_eq!(short(got(passenger).await), Short::Fetched("answer 1".to_owned(), Seat::Passenger, true));
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fresh("answer 1"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_for_all_who_wait_and_nobody_tries_again() {
    for does in [Does::Fail, Does::Share] {
        let (cache, downstream) = (in_memory(), Downstream::shut());
        downstream.now(does);
        let calls: Vec<_> = (0..50).map(|_| spawn(&cache, &downstream, ask(1))).collect();
        until_waiting(&cache, 1, 50).await;
        downstream.let_through(1_000);
        for call in calls {
            assert!(matches!(short(got(call).await), Short::Passed(outcome, _) if outcome == "outcome 1"));
        }
        assert_eq!(downstream.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_for_one_caller_goes_to_it_alone_and_the_others_fetch_for_themselves() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    downstream.now(Does::AskBack);
    let calls: Vec<_> = (0..10).map(|_| spawn(&cache, &downstream, ask(1))).collect();
    until_waiting(&cache, 1, 10).await;
    downstream.let_through(10);
    let mut outcomes = Vec::new();
    for call in calls {
        let Short::Passed(outcome, _) = short(got(call).await) else { panic!("nothing is stored") };
        outcomes.push(outcome);
    }
    outcomes.sort();
    outcomes.dedup();
    assert_eq!((outcomes.len(), downstream.asked(), cache.figures().lone_fetches), (10, 10, 9));
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_change_gets_nothing_that_was_asked_for_before_it() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    let before = spawn(&cache, &downstream, ask(1));
    until("the downstream is asked", || downstream.asked() == 1).await;
    let _everywhere = cache.tags().raise(&[Tag::new("weir:all", false)]).await;
    let after: Vec<_> = (0..20).map(|_| spawn(&cache, &downstream, ask(1))).collect();
    until_waiting(&cache, 1, 21).await;
    downstream.let_through(2);
    assert!(matches!(short(got(before).await), Short::Fetched(value, ..) if value == "answer 1"));
    for call in after {
        assert!(matches!(short(got(call).await), Short::Fetched(value, ..) if value == "answer 2"));
    }
    assert_eq!(downstream.asked(), 2);
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fresh("answer 2"));
}

#[tokio::test(start_paused = true)]
async fn while_a_write_is_under_way_many_are_served_by_few_fetches_and_nothing_is_stored() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    let tags = [Tag::new("weir:all", false)];
    let write = cache.tags().begin(&tags, &[], Duration::from_secs(60)).await.expect("there is no Redis to be gone");
    let first = spawn(&cache, &downstream, ask(1));
    until("the downstream is asked", || downstream.asked() == 1).await;
    let later: Vec<_> = (0..50).map(|_| spawn(&cache, &downstream, ask(1))).collect();
    until_waiting(&cache, 1, 51).await;
    // The second fetch begins after all of them came.
    advance(Duration::from_millis(1)).await;
    downstream.let_through(2);
    assert_eq!(short(got(first).await), Short::Fetched("answer 1".to_owned(), Seat::Starter, false));
    for call in later {
        assert!(matches!(short(got(call).await), Short::Fetched(value, _, false) if value == "answer 2"));
    }
    let _everywhere = write.end(&[], Settled::Yes).await;
    downstream.let_through(1);
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fetched("answer 3"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_fetch_is_an_error_for_all_and_leaves_nothing() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    downstream.now(Does::Panic);
    let calls: Vec<_> = (0..5).map(|_| spawn(&cache, &downstream, ask(1))).collect();
    until_waiting(&cache, 1, 5).await;
    downstream.let_through(10);
    for call in calls {
        assert_eq!(short(got(call).await), Short::Nothing(Failure::Lost));
    }
    downstream.now(Does::Answer);
    assert_eq!(short(serve(&cache, &downstream, ask(1)).await), fetched("answer 2"));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_does_not_end_is_ended_after_its_period() {
    let cache = in_memory();
    let start = Instant::now();
    let served = cache.serve(ask(1), pending::<Fetched<Outcome>>).await;
    assert_eq!(short(served), Short::Nothing(Failure::FetchDeadline));
    assert_eq!(start.elapsed().as_millis(), 10_500);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_waits_for_what_was_asked_for_and_drops_the_rest() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    downstream.let_through(1);
    serve(&cache, &downstream, ask(2)).await;
    later(&cache, 60_000);
    serve(&cache, &downstream, ask(2)).await;
    let asked_for = spawn(&cache, &downstream, ask(1));
    until_waiting(&cache, 2, 1).await;
    let end = {
        let cache = cache.clone();
        tokio::spawn(async move { cache.finish(Duration::from_secs(10)).await })
    };
    until_waiting(&cache, 1, 1).await;
    assert!(!end.is_finished());
    downstream.let_through(1);
    assert!(matches!(short(got(asked_for).await), Short::Fetched(..)));
    end.await.expect("the end does not panic");
    // What was stale is served still, and nothing is begun for it.
    serve(&cache, &downstream, ask(2)).await;
    assert_eq!(cache.figures().fetches_running, 0);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_dropped_at_the_end() {
    let (cache, downstream) = (in_memory(), Downstream::shut());
    let call = spawn(&cache, &downstream, ask(1));
    until_waiting(&cache, 1, 1).await;
    let start = Instant::now();
    cache.finish(Duration::from_secs(3)).await;
    assert_eq!(start.elapsed().as_secs(), 3);
    assert_eq!(short(got(call).await), Short::Nothing(Failure::Lost));
    advance(Duration::from_secs(1)).await;
    assert_eq!(cache.figures().fetches_running, 0);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_is_refused_or_served_from_what_is_there() {
    let settings = Settings { bounds: Bounds { flights_max: 1, waiters_max: 2 }, ..SETTINGS };
    let cache: Cache<Outcome> = Cache::new(settings, Tags::in_memory(1_000), None, sealer());
    let downstream = Downstream::shut();
    downstream.let_through(1);
    serve(&cache, &downstream, ask(2)).await;
    later(&cache, 300_000);
    let one = spawn(&cache, &downstream, ask(1));
    until_waiting(&cache, 1, 1).await;
    let served = short(serve(&cache, &downstream, ask(2)).await);
    assert_eq!(served, Short::Cached("answer 1".to_owned(), Tier::Local, State::StaleOnError));
    assert_eq!(short(serve(&cache, &downstream, ask(3)).await), Short::Nothing(Failure::FlightsFull));
    downstream.let_through(1);
    assert!(matches!(short(got(one).await), Short::Fetched(..)));
}

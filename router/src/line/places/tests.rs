use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use adapters::{Caller, Deadline, Principal};
use config::downstream::{FairBy, Line};
use futures_util::{FutureExt as _, future::join_all};

use super::{super::fair::Why, Figures, Found, LocalPlace, Places, Turn, Waiting};

fn caller(tenant: Option<&str>, subject: &str) -> Caller {
    let principal = Principal { issuer: "weir".into(), subject: subject.into(), tenant: tenant.map(Into::into) };
    Caller { principal, ..Caller::local(&[]) }
}

fn places(places: usize, max: usize, fair_by: FairBy) -> Places {
    Places::new(places, Line { max, fair_by })
}

fn far() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

fn place(places: &Places) -> LocalPlace {
    match places.find(&caller(None, "anybody"), far()) {
        Found::Place(place) => place,
        Found::Waiting(_) | Found::Refused(_) => panic!("no place is free"),
    }
}

fn waiting(places: &Places, caller: &Caller) -> Waiting {
    match places.find(caller, far()) {
        Found::Waiting(waiting) => waiting,
        Found::Place(_) | Found::Refused(_) => panic!("it need not wait, or may not"),
    }
}

/// The place of a call whose turn has come.
fn come(waiting: &mut Waiting) -> LocalPlace {
    match waiting.turn().now_or_never() {
        Some(Turn::Come(place)) => place,
        other => panic!("{other:?}"),
    }
}

fn figures(places: &Places) -> (usize, usize) {
    let Figures { taken, waiting, .. } = places.figures();
    (taken, waiting)
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_one_party_and_a_caller_without_one_is_its_own() {
    let [a1, a2] = [caller(Some("a"), "1"), caller(Some("a"), "2")];
    let (b, alone) = (caller(Some("b"), "1"), caller(None, "1"));
    for (fair_by, order) in [(FairBy::Tenant, [0, 2, 3, 1]), (FairBy::Caller, [0, 1, 2, 3])] {
        let places = places(1, 10, fair_by);
        let mut taken = place(&places);
        let mut line: Vec<_> = [&a1, &a2, &b, &alone].into_iter().map(|caller| waiting(&places, caller)).collect();
        for next in order {
            drop(taken);
            taken = come(&mut line[next]);
        }
        drop(taken);
        drop(line);
        assert_eq!(figures(&places), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_of_whoever_gives_up_goes_to_the_next() {
    let places = places(1, 10, FairBy::Tenant);
    let taken = place(&places);
    let [a, b] = [caller(None, "a"), caller(None, "b")];
    let (gives_up, handed_over, mut last) = (waiting(&places, &a), waiting(&places, &a), waiting(&places, &b));
    drop(gives_up);
    assert_eq!(figures(&places), (1, 2));
    // The turn of the second has come, and nobody looks.
    drop(taken);
    assert!(last.turn().now_or_never().is_none());
    drop(handed_over);
    let place = come(&mut last);
    assert_eq!(figures(&places), (1, 0));
    drop(place);
    assert_eq!(figures(&places), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_after_a_panic() {
    let places = places(1, 10, FairBy::Tenant);
    let taken = place(&places);
    let mut next = waiting(&places, &caller(None, "a"));
    let panicking = tokio::spawn(async move {
        let _taken = taken;
        panic!("a bug")
    });
    assert!(panicking.await.is_err_and(|error| error.is_panic()));
    come(&mut next);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_to_go_is_told_so() {
    let places = places(1, 2, FairBy::Tenant);
    let _taken = place(&places);
    let [a, b] = [caller(None, "a"), caller(None, "b")];
    let (mut first, mut second) = (waiting(&places, &a), waiting(&places, &a));
    let _other = waiting(&places, &b);
    let told = second.turn().now_or_never();
    assert!(matches!(told, Some(Turn::Over(refusal)) if refusal.why == Why::Full && refusal.waiting == 1), "{told:?}");
    assert!(first.turn().now_or_never().is_none() && second.position().is_none());
    assert_eq!(figures(&places), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn while_a_place_stops_the_line_nobody_comes_after_it() {
    let places = places(3, 10, FairBy::Tenant);
    let mut first = place(&places);
    first.stops_the_line(true);
    first.stops_the_line(true);
    let mut line: Vec<_> = (0..3).map(|_| waiting(&places, &caller(None, "a"))).collect();
    assert!(line[0].turn().now_or_never().is_none());
    first.stops_the_line(false);
    let mut second = come(&mut line[0]);
    let third = come(&mut line[1]);
    // One that stops the line and gives up stops it no longer.
    second.stops_the_line(true);
    drop(third);
    assert!(line[2].turn().now_or_never().is_none());
    drop(second);
    let last = come(&mut line[2]);
    drop((first, last));
    assert_eq!(figures(&places), (0, 0));
}

/// Threads that really meet: calls take places, wait, give up at any moment, and nobody ever has a place too many or waits for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn places_are_never_lost_and_never_had_twice_however_threads_meet() {
    const PLACES: usize = 3;
    const CALLS: usize = 64;
    const ROUNDS: usize = 60;
    let places = places(PLACES, CALLS, FairBy::Caller);
    let (running, most, served) =
        (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let calls = (0..CALLS).map(|number| {
        let (places, running, most, served) = (places.clone(), running.clone(), most.clone(), served.clone());
        tokio::spawn(async move {
            let caller = caller(None, &(number % 7).to_string());
            for round in 0..ROUNDS {
                let place = match places.find(&caller, far()) {
                    Found::Place(place) => place,
                    Found::Refused(refusal) => panic!("{refusal:?}"),
                    Found::Waiting(mut waiting) => {
                        if (number + round) % 3 == 0 {
                            tokio::task::yield_now().await;
                            // Gives up, with its turn or without.
                            continue;
                        }
                        match waiting.turn().await {
                            Turn::Come(place) => place,
                            Turn::Over(refusal) => panic!("{refusal:?}"),
                        }
                    }
                };
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                served.fetch_add(1, Ordering::SeqCst);
                drop(place);
            }
        })
    });
    let ended = tokio::time::timeout(Duration::from_secs(30), join_all(calls)).await.expect("somebody waits in vain");
    assert!(ended.into_iter().all(|ended| ended.is_ok()));
    assert_eq!((figures(&places), most.load(Ordering::SeqCst)), ((0, 0), PLACES));
    assert!(served.load(Ordering::SeqCst) > CALLS * ROUNDS / 2);
}

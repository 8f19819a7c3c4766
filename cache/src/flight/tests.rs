use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet, yield_now},
    time::Instant,
};

use super::{Bounds, Deadlines, Failure, Flights, Landing, Seat};
use crate::testing::key;

type Answer = Result<usize, &'static str>;
type Landed = Landing<Answer>;

/// Flights whose fetches wait until they are let through, and what they did.
#[derive(Clone)]
struct Air {
    flights: Arc<Flights<Answer>>,
    gate: Arc<Semaphore>,
    fetches: Arc<AtomicUsize>,
    done: Arc<AtomicUsize>,
}

impl Air {
    fn new(flights_max: usize, waiters_max: usize) -> Self {
        let flights = Arc::new(Flights::new(Bounds { flights_max, waiters_max }));
        Self { flights, gate: Arc::new(Semaphore::new(0)), fetches: Arc::default(), done: Arc::default() }
    }

    /// Joins with a fetch that comes to its own number, once it is let through.
    async fn join(&self, call: usize, wait_ms: u64) -> Landed {
        let Self { gate, fetches, done, .. } = self.clone();
        let fetch = move || async move {
            let number = fetches.fetch_add(1, SeqCst) + 1;
            gate.acquire().await.expect("the gate is never closed").forget();
            done.fetch_add(1, SeqCst);
            Ok(number)
        };
        self.flights.join(key(call), deadlines(wait_ms), fetch).await
    }

    fn spawn(&self, call: usize, wait_ms: u64) -> JoinHandle<Landed> {
        let air = self.clone();
        tokio::spawn(async move { air.join(call, wait_ms).await })
    }

    async fn until_running(&self, flights: usize, waiters: usize) {
        until(|| self.flights.running() == (flights, waiters)).await;
    }
}

fn deadlines(wait_ms: u64) -> Deadlines {
    let now = Instant::now();
    Deadlines { fetch: now + Duration::from_secs(30), wait: now + Duration::from_millis(wait_ms) }
}

async fn until(reached: impl Fn() -> bool) {
    for _ in 0..1_000_000 {
        if reached() {
            return;
        }
        yield_now().await;
    }
    panic!("what the test waits for does not come");
}

async fn landed(handle: JoinHandle<Landed>) -> Landed {
    handle.await.expect("the wait does not panic")
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_have_one_fetch() {
    let air = Air::new(1, 1_000);
    let mut calls: JoinSet<Landed> = JoinSet::new();
    for _ in 0..1_000 {
        let air = air.clone();
        calls.spawn(async move { air.join(1, 10_000).await });
    }
    air.until_running(1, 1_000).await;
    air.gate.add_permits(1);
    let landings = calls.join_all().await;
    assert!(landings.iter().all(|landing| landing.result == Ok(Ok(1))));
    assert_eq!(landings.iter().filter(|landing| landing.seat == Seat::Starter).count(), 1);
    assert_eq!((air.fetches.load(SeqCst), air.flights.running()), (1, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn other_keys_have_fetches_of_their_own() {
    let air = Air::new(10, 10);
    let (one, two) = (air.spawn(1, 10_000), air.spawn(2, 10_000));
    air.until_running(2, 2).await;
    air.gate.add_permits(2);
    let (one, two) = (landed(one).await, landed(two).await);
    assert_eq!((one.seat, two.seat), (Seat::Starter, Seat::Starter));
    assert_ne!(one.result, two.result);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_outlives_who_started_it() {
    let air = Air::new(10, 10);
    let starter = air.spawn(1, 10_000);
    air.until_running(1, 1).await;
    let passenger = air.spawn(1, 10_000);
    air.until_running(1, 2).await;
    starter.abort();
    air.until_running(1, 1).await;
    air.gate.add_permits(1);
    assert_eq!(landed(passenger).await, Landing { seat: Seat::Passenger, result: Ok(Ok(1)) });
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_nobody_waits_for_goes_on() {
    let air = Air::new(10, 10);
    assert_eq!(air.join(1, 50).await.result, Err(Failure::WaitDeadline));
    assert_eq!(air.flights.running(), (1, 0));
    air.gate.add_permits(1);
    until(|| air.done.load(SeqCst) == 1).await;
    air.until_running(0, 0).await;
}

#[tokio::test(start_paused = true)]
async fn each_waits_until_his_own_deadline() {
    let air = Air::new(10, 10);
    let start = Instant::now();
    let long = air.spawn(1, 8_000);
    air.until_running(1, 1).await;
    assert_eq!(air.join(1, 50).await, Landing { seat: Seat::Passenger, result: Err(Failure::WaitDeadline) });
    assert_eq!(start.elapsed().as_millis(), 50);
    air.gate.add_permits(1);
    assert_eq!(landed(long).await.result, Ok(Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_for_those_who_wait_and_for_nobody_after() {
    let air = Air::new(10, 10);
    let gate = air.gate.clone();
    let fetch = move || async move {
        gate.acquire().await.expect("the gate is never closed").forget();
        Err("the mainframe is closed")
    };
    let flights = air.flights.clone();
    let starter = tokio::spawn(async move { flights.join(key(1), deadlines(10_000), fetch).await });
    air.until_running(1, 1).await;
    let passenger = air.spawn(1, 10_000);
    air.until_running(1, 2).await;
    air.gate.add_permits(1);
    let failed = Ok(Err("the mainframe is closed"));
    assert_eq!(landed(starter).await, Landing { seat: Seat::Starter, result: failed });
    assert_eq!(landed(passenger).await, Landing { seat: Seat::Passenger, result: failed });
    air.gate.add_permits(1);
    assert_eq!(air.join(1, 10_000).await, Landing { seat: Seat::Starter, result: Ok(Ok(1)) });
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_a_value_that_was_there_before_he_came() {
    let air = Air::new(10, 10);
    air.gate.add_permits(2);
    assert_eq!(air.join(1, 10_000).await.result, Ok(Ok(1)));
    assert_eq!(air.join(1, 10_000).await, Landing { seat: Seat::Starter, result: Ok(Ok(2)) });
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_fetch_is_an_error_for_all_and_leaves_nothing() {
    let air = Air::new(10, 10);
    for at_once in [true, false] {
        let (flights, gate) = (air.flights.clone(), air.gate.clone());
        let fetch = move || {
            assert!(!at_once, "a fetch that panics before its first wait");
            async move {
                gate.acquire().await.expect("the gate is never closed").forget();
                panic!("a fetch that panics in between");
            }
        };
        let starter = tokio::spawn(async move { flights.join(key(1), deadlines(10_000), fetch).await });
        if !at_once {
            air.until_running(1, 1).await;
            let passenger = air.spawn(1, 10_000);
            air.until_running(1, 2).await;
            air.gate.add_permits(1);
            assert_eq!(landed(passenger).await, Landing { seat: Seat::Passenger, result: Err(Failure::Lost) });
        }
        assert_eq!(landed(starter).await, Landing { seat: Seat::Starter, result: Err(Failure::Lost) });
        assert_eq!(air.flights.running(), (0, 0));
    }
    air.gate.add_permits(1);
    assert_eq!(air.join(1, 10_000).await.result, Ok(Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_ends_by_its_own_deadline() {
    let air = Air::new(10, 10);
    let start = Instant::now();
    let never = || pending::<Answer>();
    let landing = air.flights.join(key(1), deadlines(60_000), never).await;
    assert_eq!((landing.result, start.elapsed().as_secs()), (Err(Failure::FetchDeadline), 30));
    assert_eq!(air.flights.running(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn flights_are_bounded() {
    let air = Air::new(2, 10);
    let (one, two) = (air.spawn(1, 10_000), air.spawn(2, 10_000));
    air.until_running(2, 2).await;
    assert_eq!(air.join(3, 10_000).await, Landing { seat: Seat::None, result: Err(Failure::FlightsFull) });
    let passenger = air.spawn(1, 10_000);
    air.until_running(2, 3).await;
    air.gate.add_permits(3);
    for call in [one, two, passenger] {
        assert!(landed(call).await.result.is_ok());
    }
    assert_eq!(air.join(3, 10_000).await.result, Ok(Ok(3)));
}

#[tokio::test(start_paused = true)]
async fn waiters_are_bounded_and_their_places_come_back() {
    let air = Air::new(10, 2);
    let (one, two) = (air.spawn(1, 10_000), air.spawn(1, 10_000));
    air.until_running(1, 2).await;
    assert_eq!(air.join(1, 10_000).await, Landing { seat: Seat::None, result: Err(Failure::WaitersFull) });
    one.abort();
    air.until_running(1, 1).await;
    assert_eq!(air.join(1, 50).await.result, Err(Failure::WaitDeadline));
    air.gate.add_permits(1);
    assert_eq!(landed(two).await.result, Ok(Ok(1)));
    assert_eq!(air.flights.running(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_two_fetches_of_one_key_run_at_once() {
    let flights = Arc::new(Flights::<Result<(), &'static str>>::new(Bounds { flights_max: 3, waiters_max: 100 }));
    let running: Arc<[AtomicUsize; 3]> = Arc::default();
    let mut calls = JoinSet::new();
    for call in 0..99 {
        let (flights, running) = (flights.clone(), running.clone());
        calls.spawn(async move {
            let mut started = 0;
            for round in 0..200 {
                let at = (call + round) % 3;
                let running = running.clone();
                let fetch = move || async move {
                    let others = running[at].fetch_add(1, SeqCst);
                    yield_now().await;
                    running[at].fetch_sub(1, SeqCst);
                    if others == 0 { Ok(()) } else { Err("two at once") }
                };
                let landing = flights.join(key(at), deadlines(30_000), fetch).await;
                assert_eq!(landing.result, Ok(Ok(())));
                started += usize::from(landing.seat == Seat::Starter);
            }
            started
        });
    }
    let started: usize = calls.join_all().await.into_iter().sum();
    assert!(started < 99 * 200, "nobody ever joined: this run proves nothing");
    assert_eq!(flights.running(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_launched_fetch_is_the_one_that_others_join() {
    let air = Air::new(1, 10);
    let launch = |call| {
        let gate = air.gate.clone();
        let fetch = move || async move {
            gate.acquire().await.expect("the gate is never closed").forget();
            Ok(7)
        };
        air.flights.launch(key(call), Instant::now() + Duration::from_secs(30), fetch)
    };
    assert!(launch(1));
    assert!(!launch(1) && !launch(2), "one that runs, and one without room");
    let passenger = air.spawn(1, 10_000);
    air.until_running(1, 1).await;
    air.gate.add_permits(1);
    assert_eq!(landed(passenger).await, Landing { seat: Seat::Passenger, result: Ok(Ok(7)) });
}

#[tokio::test(start_paused = true)]
async fn the_last_landing_can_be_waited_for() {
    let air = Air::new(10, 10);
    let call = air.spawn(1, 10_000);
    air.until_running(1, 1).await;
    let flights = air.flights.clone();
    let end = tokio::spawn(async move { flights.landed().await });
    yield_now().await;
    assert!(!end.is_finished());
    air.gate.add_permits(1);
    end.await.expect("the wait does not panic");
    assert!(landed(call).await.result.is_ok());
}

#[test]
fn a_process_that_ends_leaves_nobody_waiting() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (starting, waiting) = (runtime(), runtime());
    let air = Air::new(10, 10);
    starting.block_on(async {
        let _starter = air.spawn(1, 10_000);
        air.until_running(1, 1).await;
    });
    waiting.block_on(async {
        let passenger = air.spawn(1, 30_000);
        air.until_running(1, 2).await;
        starting.shutdown_background();
        assert_eq!(landed(passenger).await, Landing { seat: Seat::Passenger, result: Err(Failure::Lost) });
    });
    assert_eq!(air.flights.running(), (0, 0));
}

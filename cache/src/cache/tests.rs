//! A cache, or several on one Redis, in front of a downstream that does what the test says.

mod across;
mod crowds;
mod order;
mod together;
mod troubles;
mod windows;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, yield_now},
    time::Instant,
};

use super::{Ask, Cache, Cached, Fetched, Passing, Served, Settings, State, Tier};
use crate::{
    entry::Found,
    flight::{Bounds, Seat},
    freshness::Contract,
    sealed::Sealer,
    tags::{Tag, Tags},
    testing::key,
};

const CONTRACT: Contract = Contract {
    fresh_for_ms: 60_000,
    stale_while_refreshing_ms: 300_000,
    stale_on_error_ms: 3_600_000,
    not_found_for_ms: 5_000,
};
const SETTINGS: Settings = Settings {
    local_bytes_max: 8 << 20,
    value_bytes_max: 1 << 20,
    lease: Duration::from_secs(10),
    bounds: Bounds { flights_max: 1_000, waiters_max: 10_000 },
};

/// What is passed on without being stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome(String);

impl Passing for Outcome {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        Some(self.0.clone().into_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        String::from_utf8(bytes.to_vec()).ok().map(Self)
    }
}

/// What the downstream does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answer,
    NotFound,
    Share,
    Fail,
    AskBack,
    Panic,
    /// An answer too large to be stored.
    Overflow,
}

/// Answers as many as it is let, each with its own number.
#[derive(Clone)]
struct Downstream {
    does: Arc<Mutex<Does>>,
    gate: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    takes: Duration,
}

impl Downstream {
    /// It lets all through.
    fn open() -> Self {
        Self { gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)), ..Self::shut() }
    }

    fn shut() -> Self {
        Self {
            does: Arc::new(Mutex::new(Does::Answer)),
            gate: Arc::new(Semaphore::new(0)),
            asked: Arc::default(),
            takes: Duration::ZERO,
        }
    }

    fn now(&self, does: Does) {
        *self.does.lock().expect("nobody panics with it") = does;
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    fn let_through(&self, calls: usize) {
        self.gate.add_permits(calls);
    }

    async fn ask(self) -> Fetched<Outcome> {
        let number = self.asked.fetch_add(1, SeqCst) + 1;
        self.gate.acquire().await.expect("the gate is never closed").forget();
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        let answer = |found, value: String| Fetched::Answer { value: value.into(), found, tags: Vec::new() };
        let outcome = || Outcome(format!("outcome {number}"));
        let does = *self.does.lock().expect("nobody panics with it");
        match does {
            Does::Answer => answer(Found::Found, format!("answer {number}")),
            Does::NotFound => answer(Found::NotFound, format!("nothing {number}")),
            Does::Overflow => answer(Found::Found, format!("{number}").repeat(SETTINGS.value_bytes_max + 1)),
            Does::Share => Fetched::Shared(outcome()),
            Does::Fail => Fetched::Failed(outcome()),
            Does::AskBack => Fetched::Own(outcome()),
            Does::Panic => panic!("a downstream that panics"),
        }
    }
}

fn sealer() -> Sealer {
    Sealer::new(&[7; 32], &[], SETTINGS.value_bytes_max)
}

fn in_memory() -> Cache<Outcome> {
    Cache::new(SETTINGS, Tags::in_memory(1_000), None, sealer())
}

fn ask(call: usize) -> Ask {
    Ask {
        key: key(call),
        contract: CONTRACT,
        stale_after_waiting: None,
        tags: Arc::new([Tag::new("weir:all", false)]),
        templates: Arc::new([]),
        fetch_period: Duration::from_secs(10),
        wait_by: Instant::now() + Duration::from_secs(30),
    }
}

async fn serve(cache: &Cache<Outcome>, downstream: &Downstream, ask: Ask) -> Served<Outcome> {
    let downstream = downstream.clone();
    cache.serve(ask, move || downstream.clone().ask()).await
}

fn spawn(cache: &Cache<Outcome>, downstream: &Downstream, ask: Ask) -> JoinHandle<Served<Outcome>> {
    let (cache, downstream) = (cache.clone(), downstream.clone());
    tokio::spawn(async move { serve(&cache, &downstream, ask).await })
}

async fn got(call: JoinHandle<Served<Outcome>>) -> Served<Outcome> {
    call.await.expect("a call does not panic")
}

/// Moves the clock by which entries age.
fn later(cache: &Cache<Outcome>, by_ms: u64) {
    cache.clock().sample(cache.clock().now_ms() + by_ms);
}

/// Waits for a state, however busy the machine is.
async fn until(what: &str, reached: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not come: {what}");
        // In real time another thread or process gets on; in paused time the machine's other tasks do.
        yield_now().await;
        std::thread::sleep(Duration::from_micros(50));
    }
}

async fn until_waiting(cache: &Cache<Outcome>, fetches: usize, waiters: usize) {
    until(&format!("{fetches} fetches and {waiters} who wait"), || {
        let figures = cache.figures();
        (figures.fetches_running, figures.waiters) == (fetches, waiters)
    })
    .await;
}

/// A short form for comparing.
#[derive(Debug, PartialEq, Eq)]
enum Short {
    Fetched(String, Seat, bool),
    Cached(String, Tier, State),
    Instead(String, State, Outcome),
    Passed(String, Seat),
    Nothing(crate::flight::Failure),
}

fn short(served: Served<Outcome>) -> Short {
    let text = |value: &Bytes| String::from_utf8(value.to_vec()).expect("the downstream answers in text");
    match served {
        Served::Fetched { value, seat, stored, .. } => Short::Fetched(text(&value), seat, stored),
        Served::Cached(Cached { value, state, cause: Some(cause), .. }) => Short::Instead(text(&value), state, cause),
        Served::Cached(Cached { value, tier, state, .. }) => Short::Cached(text(&value), tier, state),
        Served::Passed { outcome, seat } => Short::Passed(outcome.0, seat),
        Served::Nothing(failure) => Short::Nothing(failure),
    }
}

fn fetched(text: &str) -> Short {
    Short::Fetched(text.to_owned(), Seat::Starter, true)
}

fn fresh(text: &str) -> Short {
    Short::Cached(text.to_owned(), Tier::Local, State::Fresh)
}

fn passed(text: &str, seat: Seat) -> Short {
    Short::Passed(text.to_owned(), seat)
}

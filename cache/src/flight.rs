//! One fetch in this process for all who want the same thing at the same time.
//!
//! The fetch is a task of its own: it runs under its own deadline, and goes on when whoever started it is gone. All who wait get what it
//! comes to, a failure too; nothing is remembered after that.
//!
//! Two things are the caller's: the fetch stores what it got before it returns, and looks into the store once more before it asks the
//! downstream, since the flight before may have landed between the caller's look and his joining; and a waiter joins a fetch that may have
//! begun before he came, so whoever must not see the past asks whether the answer still holds.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use crate::key::Key;

/// The fetches that run now. `V` is what they come to; each of those who wait gets a clone.
pub(crate) struct Flights<V> {
    shared: Arc<Shared<V>>,
    tracker: TaskTracker,
}

/// How many there may be in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub flights_max: usize,
    /// Over all flights, those who started one included.
    pub waiters_max: usize,
}

/// When to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// The fetch, if this call starts it: the tool's, not the caller's.
    pub(crate) fetch: Instant,
    /// Waiting for it: the caller's.
    pub(crate) wait: Instant,
}

/// What a flight came to for one of those who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Landing<V> {
    pub(crate) seat: Seat,
    pub(crate) result: Result<V, Failure>,
}

/// Whose fetch it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// This call's own, whether or not it still waited at the end.
    Starter,
    /// One that was on its way already.
    Passenger,
    /// There was no room: nothing was fetched for this call.
    None,
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the fetch did not end by its deadline")]
    FetchDeadline,
    /// It panicked, or the process is ending.
    #[error("the fetch ended without a result")]
    Lost,
    /// The fetch goes on.
    #[error("waiting for the fetch reached its deadline")]
    WaitDeadline,
    #[error("too many fetches run at once")]
    FlightsFull,
    #[error("too many calls wait for fetches")]
    WaitersFull,
}

impl<V: Clone + Send + Sync + 'static> Flights<V> {
    #[must_use]
    pub(crate) fn new(bounds: Bounds) -> Self {
        let shared = Shared { bounds, flights: Mutex::default(), waiters: AtomicUsize::new(0) };
        Self { shared: Arc::new(shared), tracker: TaskTracker::new() }
    }

    /// What the fetch for `key` comes to: the one that runs, else the one that `fetch` makes. `fetch` is called, in a task of its own, only
    /// when none runs. Dropping the wait ends the wait alone.
    pub(crate) async fn join<F, Fut>(&self, key: Key, deadlines: Deadlines, fetch: F) -> Landing<V>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = V> + Send + 'static,
    {
        let Some(_place) = Waiter::take(&self.shared) else {
            return Landing { seat: Seat::None, result: Err(Failure::WaitersFull) };
        };
        let (seat, mut landed) = match self.board(key) {
            Ok(Boarded::Running(landed)) => (Seat::Passenger, landed),
            Ok(Boarded::New(flight, landed)) => {
                self.tracker.spawn(fly(flight, deadlines.fetch, fetch));
                (Seat::Starter, landed)
            }
            Err(failure) => return Landing { seat: Seat::None, result: Err(failure) },
        };
        let result = match timeout_at(deadlines.wait, landed.wait_for(Option::is_some)).await {
            Ok(Ok(result)) => result.clone().unwrap_or(Err(Failure::Lost)),
            Ok(Err(_closed)) => Err(Failure::Lost),
            Err(_elapsed) => Err(Failure::WaitDeadline),
        };
        Landing { seat, result }
    }

    /// Starts a fetch for `key` that nobody waits for yet, unless one runs, or there is no room. Says whether it did.
    pub(crate) fn launch<F, Fut>(&self, key: Key, fetch_deadline: Instant, fetch: F) -> bool
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = V> + Send + 'static,
    {
        let Ok(Boarded::New(flight, _landed)) = self.board(key) else { return false };
        self.tracker.spawn(fly(flight, fetch_deadline, fetch));
        true
    }

    /// Ends when no fetch runs. Those that begin while it waits are waited for too.
    pub(crate) async fn landed(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// How many fetches run, and how many calls wait for them.
    #[must_use]
    pub(crate) fn running(&self) -> (usize, usize) {
        (self.shared.flights().len(), self.shared.waiters.load(Ordering::Relaxed))
    }

    fn board(&self, key: Key) -> Result<Boarded<V>, Failure> {
        let mut flights = self.shared.flights();
        if let Some(landed) = flights.get(&key) {
            return Ok(Boarded::Running(landed.clone()));
        }
        if flights.len() >= self.shared.bounds.flights_max {
            return Err(Failure::FlightsFull);
        }
        let (lands, landed) = watch::channel(None);
        flights.insert(key, landed.clone());
        Ok(Boarded::New(Flight { shared: self.shared.clone(), key, lands, result: Err(Failure::Lost) }, landed))
    }
}

impl<V> fmt::Debug for Flights<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("bounds", &self.shared.bounds).finish_non_exhaustive()
    }
}

async fn fly<V, F, Fut>(mut flight: Flight<V>, deadline: Instant, fetch: F)
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = V>,
{
    flight.result = timeout_at(deadline, fetch()).await.map_err(|_elapsed| Failure::FetchDeadline);
}

enum Boarded<V> {
    Running(Landed<V>),
    New(Flight<V>, Landed<V>),
}

type Landed<V> = watch::Receiver<Option<Result<V, Failure>>>;

struct Shared<V> {
    bounds: Bounds,
    flights: Mutex<HashMap<Key, Landed<V>>>,
    waiters: AtomicUsize,
}

impl<V> Shared<V> {
    /// Nothing that can panic runs under this lock.
    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Landed<V>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch on its way. It lands when it is dropped, however its task ends: a panic leaves the key free and nobody waiting.
struct Flight<V> {
    shared: Arc<Shared<V>>,
    key: Key,
    lands: watch::Sender<Option<Result<V, Failure>>>,
    /// What those who wait get if it lands now.
    result: Result<V, Failure>,
}

impl<V> Drop for Flight<V> {
    fn drop(&mut self) {
        // The key first, and once: whoever comes from here on must not get a result that was there before he came, and the next flight
        // under this key is not ours to end.
        let freed = self.shared.flights().remove(&self.key);
        drop(freed);
        self.lands.send_replace(Some(std::mem::replace(&mut self.result, Err(Failure::Lost))));
    }
}

/// A place among those who wait.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn take<V>(shared: &'a Shared<V>) -> Option<Self> {
        let max = shared.bounds.waiters_max;
        let one_more = |waiters| (waiters < max).then_some(waiters + 1);
        shared.waiters.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(&shared.waiters))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

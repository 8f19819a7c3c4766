//! The requests that have no answer yet.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    keepalive::Patience,
    message::{Id, Kind, Message},
};

/// A request (or a batch) between the client's line and its answer.
#[derive(Debug)]
pub(super) struct Flight {
    /// Those who wait for an answer: one, except in a batch.
    pub(super) ids: Vec<Id>,
    pub(super) method: String,
    pub(super) modern: bool,
    pub(super) patience: Option<Patience>,
    /// Whether the router may have seen it.
    pub(super) sent: AtomicBool,
    silent: AtomicBool,
    stop: CancellationToken,
}

impl Flight {
    fn new(message: &Message) -> Self {
        let (method, patience) = match &message.kind {
            Kind::Request(request) => {
                let subject = request.subject.clone().unwrap_or_else(|| request.method.clone());
                let patience =
                    request.progress_token.clone().map(|token| Patience::new(token, subject, Instant::now()));
                (request.method.clone(), patience)
            }
            Kind::Notification { .. } | Kind::Response | Kind::Batch(_) => (String::new(), None),
        };
        Self {
            ids: message.ids(),
            method,
            modern: message.modern.is_some(),
            patience,
            sent: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            stop: CancellationToken::new(),
        }
    }

    /// From now on nothing is written for it.
    pub(super) fn silence(&self) {
        self.silent.store(true, Ordering::Release);
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    /// Ends it: its response stream is closed.
    pub(super) fn stop(&self) {
        self.silence();
        self.stop.cancel();
    }

    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    pub(super) fn may_have_been_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }

    /// Whether it is one that stays open for as long as the client wants (MCP 2026-07-28, basic/patterns/subscriptions).
    pub(super) fn is_listen(&self) -> bool {
        self.modern && self.method == "subscriptions/listen"
    }
}

/// All requests without an answer. Bounded by what the bridge takes in.
#[derive(Debug, Default)]
pub(super) struct Flights {
    running: Mutex<Vec<Arc<Flight>>>,
}

/// Keeps a request among the running ones until it is dropped.
#[derive(Debug)]
pub(super) struct Landing<'a> {
    flights: &'a Flights,
    flight: Arc<Flight>,
}

impl Flights {
    pub(super) fn begin(&self, message: &Message) -> Arc<Flight> {
        let flight = Arc::new(Flight::new(message));
        self.lock().push(Arc::clone(&flight));
        flight
    }

    /// The end of `flight`, whichever way it comes.
    pub(super) fn land(&self, flight: Arc<Flight>) -> Landing<'_> {
        Landing { flights: self, flight }
    }

    /// The request with this id that began last. Not one in a batch: the others in it go on.
    pub(super) fn find(&self, id: &Id) -> Option<Arc<Flight>> {
        self.lock().iter().rev().find(|flight| flight.ids.len() == 1 && flight.ids[0] == *id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Flight>> {
        self.lock().clone()
    }

    /// Real progress came, on whichever stream. Says whether the client may be told.
    pub(super) fn admit_progress(&self, token: &str, progress: f64, total: Option<f64>) -> bool {
        let running = self.lock();
        let patience =
            running.iter().filter_map(|flight| flight.patience.as_ref()).find(|patience| patience.is_about(token));
        patience.is_none_or(|patience| {
            patience.heard(Instant::now());
            patience.admit(progress, total)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Flight>>> {
        // Every change is a single push or retain.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.flights.lock().retain(|other| !Arc::ptr_eq(other, &self.flight));
    }
}

//! Connections beside the shared one, for servers that keep state per connection: one for each caller, or one for each call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use super::connection::{Connection, Connector, Place};
use crate::{
    AdapterError, Caller, Deadline, ErrorClass,
    credential::{Owner, Whose, owner},
};

/// How long a caller's connection may be without a call before it is closed.
const IDLE: Duration = Duration::from_secs(300);
/// How often idle ones are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Connections beside the shared one, at most so many at once.
pub(super) struct Pool {
    downstream: Arc<str>,
    places: Arc<Semaphore>,
    connections_max: usize,
    /// The setting that says how many.
    setting: &'static str,
    /// The mutex is never held across an await.
    callers: Mutex<HashMap<Owner, Arc<Own>>>,
}

/// The connection of one caller. The mutex is held while it is made, so that it is made once.
#[derive(Default)]
struct Own(tokio::sync::Mutex<Option<Kept>>);

struct Kept {
    connection: Arc<Connection>,
    used: Instant,
    _place: Place,
}

/// A connection for one call.
pub(super) struct Lease {
    pub(super) connection: Arc<Connection>,
    _place: Option<Place>,
}

impl Lease {
    /// Of a connection that others use too.
    pub(super) fn shared(connection: Arc<Connection>) -> Self {
        Self { connection, _place: None }
    }
}

impl Pool {
    pub(super) fn new(downstream: Arc<str>, connections_max: usize, setting: &'static str) -> Self {
        let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { downstream, places, connections_max, setting, callers: Mutex::default() }
    }

    /// A connection that is closed after this call. Waits its turn until `limit`.
    pub(super) async fn for_call(
        &self,
        connector: &Connector,
        caller: &Caller,
        limit: Deadline,
    ) -> Result<Lease, AdapterError> {
        let turn = Arc::clone(&self.places).acquire_owned();
        let turn = tokio::time::timeout_at(limit.at(), turn).await.ok().and_then(Result::ok);
        let place = Arc::new(turn.ok_or_else(|| self.full())?);
        let connection = self.connect(connector, caller, true, &place).await?;
        Ok(Lease { connection, _place: Some(place) })
    }

    /// The connection of this caller, made if there is none.
    pub(super) async fn for_caller(&self, connector: &Connector, caller: &Caller) -> Result<Lease, AdapterError> {
        // A connection is never used with another credential than it was opened with.
        let owner = if connector.tells_caller() { owner(caller) } else { Owner::of(&caller.principal) };
        let place = Arc::clone(self.callers().entry(owner).or_default());
        let mut kept = place.0.lock().await;
        match &mut *kept {
            Some(kept) if !kept.connection.peer.has_ended() => {
                kept.used = Instant::now();
                Ok(Lease::shared(Arc::clone(&kept.connection)))
            }
            gone => {
                let leaves_place = gone.take().is_some();
                let place = self.place(leaves_place).await?;
                let connection = self.connect(connector, caller, false, &place).await?;
                *gone = Some(Kept { connection: Arc::clone(&connection), used: Instant::now(), _place: place });
                Ok(Lease::shared(connection))
            }
        }
    }

    /// Closes connections that nobody uses, for as long as it is polled.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            self.callers().retain(|_, place| {
                let empty = place.0.try_lock().is_ok_and(|mut kept| {
                    if kept.as_ref().is_some_and(|kept| kept.connection.peer.has_ended() || kept.idle_for() >= IDLE) {
                        *kept = None;
                    }
                    kept.is_none()
                });
                // One that a call has just looked up stays for that call.
                !empty || Arc::strong_count(place) > 1
            });
        }
    }

    async fn connect(
        &self,
        connector: &Connector,
        caller: &Caller,
        exclusive: bool,
        place: &Place,
    ) -> Result<Arc<Connection>, AdapterError> {
        let connected = connector.connect(exclusive, place, Whose::Caller(caller)).await;
        connected.map(Arc::new).map_err(|failure| failure.for_connect(&self.downstream))
    }

    /// A free place, if need be that of the connection that has been idle for longest, as soon as nothing is left of it.
    /// `one_is_left`: another one is about to become free.
    async fn place(&self, one_is_left: bool) -> Result<Place, AdapterError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Arc::new(place));
        }
        if !one_is_left && !self.close_idlest() {
            return Err(self.full());
        }
        Arc::clone(&self.places).acquire_owned().await.map(Arc::new).map_err(|_closed| self.full())
    }

    fn close_idlest(&self) -> bool {
        let callers = self.callers();
        let free = callers.values().filter_map(|place| place.0.try_lock().ok());
        let idle = free.filter_map(|guard| {
            let idle_for = guard.as_ref()?.idle_for();
            (idle_for > Duration::ZERO).then_some((idle_for, guard))
        });
        let idlest = idle.max_by_key(|(idle_for, _)| *idle_for);
        idlest.is_some_and(|(_, mut guard)| guard.take().is_some())
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<Owner, Arc<Own>>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self) -> AdapterError {
        let message = format!(
            "{} has all of its {} connections in use (`{}`); try again in a moment.",
            self.downstream, self.connections_max, self.setting
        );
        AdapterError::not_sent(ErrorClass::Busy, message)
    }
}

impl Kept {
    /// How long no call has used it; zero while one does.
    fn idle_for(&self) -> Duration {
        if Arc::strong_count(&self.connection) == 1 { self.used.elapsed() } else { Duration::ZERO }
    }
}

//! Sessions of single callers, for servers that keep state in a session.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::link::Carries as _,
    session::{Connector, End, Session},
};
use crate::{
    AdapterError, Caller, ErrorClass,
    credential::{Owner, owner},
};

/// How long a caller's session may be without a call before it is ended.
const IDLE: Duration = Duration::from_secs(300);
/// How often idle ones are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How many callers may have sessions at once.
const SESSIONS_MAX: usize = 10_000;

/// The sessions of callers.
pub(super) struct Callers {
    downstream: Arc<str>,
    /// The mutex is never held across an await.
    places: Mutex<HashMap<Owner, Arc<Place>>>,
}

/// The session of one caller. The mutex is held while it is made, so that it is made once.
#[derive(Default)]
struct Place(tokio::sync::Mutex<Option<Kept>>);

struct Kept {
    session: Arc<Session>,
    used: Instant,
}

impl Callers {
    pub(super) fn new(downstream: Arc<str>) -> Self {
        Self { downstream, places: Mutex::default() }
    }

    /// The session of this caller, made as [`connect`](Self::connect) makes them if there is none that works.
    pub(super) async fn session(
        &self,
        connector: &Connector,
        kept: &Session,
        caller: &Arc<Caller>,
    ) -> Result<Arc<Session>, AdapterError> {
        // A session is never continued with another credential than it was begun with.
        let owner = connector.wire.told(caller).map_or_else(|| Owner::of(&caller.principal), |told| owner(&told));
        let place = {
            let mut places = self.places();
            if places.len() >= SESSIONS_MAX && !places.contains_key(&owner) {
                return Err(self.full());
            }
            Arc::clone(places.entry(owner).or_default())
        };
        let mut own = place.0.lock().await;
        if let Some(own) = own.as_mut().filter(|own| !own.session.has_ended()) {
            own.used = Instant::now();
            return Ok(Arc::clone(&own.session));
        }
        *own = None;
        let session = self.connect(connector, kept, caller).await?;
        *own = Some(Kept { session: Arc::clone(&session), used: Instant::now() });
        Ok(session)
    }

    /// A session for one call alone. Where the server turns out to be away, the `kept` one ends, so that its state is told.
    pub(super) async fn connect(
        &self,
        connector: &Connector,
        kept: &Session,
        caller: &Arc<Caller>,
    ) -> Result<Arc<Session>, AdapterError> {
        connector.connect(connector.wire.told(caller)).await.map(Arc::new).map_err(|failure| {
            if failure.class == ErrorClass::Unreachable && !failure.uncredited {
                kept.end(End::Outage(Arc::new(failure.clone())));
            }
            failure.for_connect(&self.downstream)
        })
    }

    /// Ends sessions that nobody uses, for as long as it is polled.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            self.places().retain(|_, place| {
                let empty = place.0.try_lock().is_ok_and(|mut kept| {
                    if kept.as_ref().is_some_and(|kept| kept.session.has_ended() || kept.idle_for() >= IDLE) {
                        *kept = None;
                    }
                    kept.is_none()
                });
                // One that a call has just looked up stays for that call.
                !empty || Arc::strong_count(place) > 1
            });
        }
    }

    /// Ends all sessions that no call is under way in.
    pub(super) fn close(&self) {
        self.places().clear();
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Owner, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self) -> AdapterError {
        let message = format!("{} has {SESSIONS_MAX} callers at once; try again in a moment.", self.downstream);
        AdapterError::not_sent(ErrorClass::Busy, message)
    }
}

impl Kept {
    /// How long no call has used it; zero while one does.
    fn idle_for(&self) -> Duration {
        if Arc::strong_count(&self.session) == 1 { self.used.elapsed() } else { Duration::ZERO }
    }
}

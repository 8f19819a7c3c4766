//! How many calls of a downstream run at once, over all replicas.
//!
//! A permit is lent for a while and renewed in the background, so that those of a process that died come back. While Redis is gone each process
//! lends its share. At first no more than it had, and its part of what was free when it was last told, since what others have is theirs until
//! they could not have renewed it; so all together never have more than there are.

mod keeper;
mod lending;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use self::lending::{Lending, UNTIL_LOST};
use super::{replicas::Replicas, shared::Shared};
use crate::{
    octets::{hex, random},
    redis::LinkState,
};

pub(super) use keeper::keep;

/// Whoever waits for a permit looks so often even if he hears of none: those of a process that died are told by nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The permits of one downstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The downstream.
    pub name: Arc<str>,
    /// How many there are.
    pub max: usize,
}

/// The right to have one call under way. Dropped, it is given back.
pub struct Permit {
    permits: Arc<Permits>,
    pool: Pool,
    /// Chosen here, so that it can be given back whether or not it is known that it was lent.
    id: String,
    asked_at: Instant,
    lost: CancellationToken,
    lent: Lent,
}

/// Where a permit has to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lent {
    /// Nowhere.
    No,
    /// It was asked for, and nothing was heard: perhaps in Redis.
    Perhaps,
    Yes,
}

pub(super) struct Permits {
    shared: Option<Arc<Shared>>,
    pools: Mutex<HashMap<Arc<str>, Lending>>,
    replicas: Mutex<Replicas>,
}

impl Permit {
    /// Ends when the permit could not be renewed: what runs under it must end then, since somebody else may have it soon.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Redis said whether it is lent, and how many are.
    pub(super) fn answered(&mut self, lent: bool, held: usize) {
        self.lent = if lent { Lent::Yes } else { Lent::No };
        let until = lent.then(|| self.asked_at + UNTIL_LOST);
        let mut pools = self.permits.pools();
        let lending = Permits::lending(&mut pools, &self.pool);
        lending.heard(held, Instant::now());
        if let Some(until) = until {
            lending.lend(self.id.clone(), Some(until), self.lost.clone());
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.lent == Lent::No {
            return;
        }
        let known = {
            let mut pools = self.permits.pools();
            let lending = Permits::lending(&mut pools, &self.pool);
            lending.give_back(&self.id).map(|_| lending.freed.clone())
        };
        match (&self.permits.shared, Handle::try_current()) {
            (Some(shared), Ok(runtime)) => {
                let (shared, pool, id) = (shared.clone(), self.pool.name.clone(), std::mem::take(&mut self.id));
                runtime.spawn(async move {
                    let released = shared.release(&pool, &id).await;
                    // Whoever waits there is told by Redis, and here too where that did not hear of it.
                    if let (Err(_gone), Some(freed)) = (released, known) {
                        freed.notify_one();
                    }
                });
            }
            _ => {
                if let Some(freed) = known {
                    freed.notify_one();
                }
            }
        }
    }
}

impl Permits {
    pub(super) fn new(shared: Option<Arc<Shared>>) -> Self {
        Self { shared, pools: Mutex::default(), replicas: Mutex::new(Replicas::ALONE) }
    }

    /// A permit that Redis is about to be asked for.
    pub(super) fn assume(self: &Arc<Self>, pool: &Pool) -> Permit {
        self.permit(pool, Lent::Perhaps)
    }

    /// A permit lent by this process: all of them are its own, or its share.
    pub(super) fn lend_here(self: &Arc<Self>, pool: &Pool) -> Option<Permit> {
        let mut pools = self.pools();
        let lending = Self::lending(&mut pools, pool);
        let max = match &self.shared {
            Some(shared) => lending.here_max(self.replicas(), gone_since(shared), Instant::now()),
            None => pool.max,
        };
        if lending.lent() >= max {
            return None;
        }
        let permit = self.permit(pool, Lent::Yes);
        lending.lend(permit.id.clone(), None, permit.lost.clone());
        Some(permit)
    }

    /// Redis did not answer.
    pub(super) fn gone(&self) {
        let now = Instant::now();
        self.pools().values_mut().for_each(|lending| lending.gone(now));
    }

    pub(super) async fn may_be_free(&self, pool: &Pool) {
        let freed: Arc<Notify> = Self::lending(&mut self.pools(), pool).freed.clone();
        let _elapsed = timeout(LOOK_AGAIN, freed.notified()).await;
    }

    pub(super) fn replicas(&self) -> Replicas {
        *self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(self: &Arc<Self>, pool: &Pool, lent: Lent) -> Permit {
        Permit {
            permits: self.clone(),
            pool: pool.clone(),
            id: hex(&random::<16>()),
            asked_at: Instant::now(),
            lost: CancellationToken::new(),
            lent,
        }
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<Arc<str>, Lending>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pools are named by the config, so there are never many.
    fn lending<'a>(pools: &'a mut HashMap<Arc<str>, Lending>, pool: &Pool) -> &'a mut Lending {
        let lending = pools.entry(pool.name.clone()).or_default();
        lending.max = pool.max;
        lending
    }
}

/// Since when Redis has been gone, for a pool of which it never told.
fn gone_since(shared: &Shared) -> Instant {
    let (link, now) = (shared.redis().link(), Instant::now());
    if link.state == LinkState::Up {
        return now;
    }
    now.checked_sub(link.since.elapsed().unwrap_or_default()).unwrap_or(now)
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("pool", &self.pool.name).finish_non_exhaustive()
    }
}

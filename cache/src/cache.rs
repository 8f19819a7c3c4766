//! One answer for all who ask the same: from this process, from Redis, or from one fetch that all of them wait for.
//!
//! Nobody is given anything but the bytes of one fetch of the same key, nor anything that was fetched before something it is about was
//! changed, as far as whoever changed it said so before this caller came.

mod ask;
mod errand;
mod figures;
mod miss;
mod resting;
mod served;

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) use self::figures::Counts;
pub use self::{
    ask::{Ask, Fetched, Passing, Settings},
    figures::Figures,
    served::{Cached, Served, State, Tier},
};
use self::{
    errand::{Errand, Landed},
    resting::{Dice, Resting},
    served::{Held, Usable},
};
use crate::{
    clock::Clock,
    entry::{Entry, Version},
    flight::Flights,
    freshness::{Freshness, due_early, freshness},
    local::Local,
    redis::Redis,
    sealed::Sealer,
    store::Store,
    tags::{Check, Tags},
};

/// How long leases may take to be given back when the process ends.
const HANDING_BACK: Duration = Duration::from_secs(1);

/// Both tiers, and the fetches that run. `T` is what is handed to callers without being stored.
pub struct Cache<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    settings: Settings,
    local: Local,
    store: Option<Store>,
    flights: Flights<Landed<T>>,
    tags: Tags,
    clock: Clock,
    counts: Arc<Counts>,
    dice: Dice,
    resting: Resting,
    /// The process is ending: nothing is fetched that nobody waits for.
    closing: CancellationToken,
    /// It has ended: nothing is fetched any more.
    closed: CancellationToken,
}

impl<T: Passing> Cache<T> {
    /// Without Redis, all is held in this process. With it, this must be called within a tokio runtime.
    #[must_use]
    pub fn new(settings: Settings, tags: Tags, redis: Option<Redis>, sealer: Sealer) -> Self {
        let counts = Arc::new(Counts::default());
        let clock = redis.as_ref().map_or_else(Clock::local, |redis| redis.clock().clone());
        let store = redis.map(|redis| Store::new(redis, sealer, settings.lease, counts.clone()));
        let inner = Inner {
            local: Local::new(settings.local_bytes_max),
            store,
            flights: Flights::new(settings.bounds),
            tags,
            clock,
            counts,
            dice: Dice::new(),
            resting: Resting::default(),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
            settings,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What is there, else what `fetch` comes to, or the fetch that runs already, here or in another replica.
    ///
    /// `fetch` asks the downstream once, within [`Ask::fetch_period`]. It runs in a task of its own, and goes on when this call is dropped;
    /// it is called again only for a caller that what others fetched is not for. A fetch of its own for this call ends with it.
    pub async fn serve<F, Fut>(&self, ask: Ask, fetch: F) -> Served<T>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Fetched<T>> + Send + 'static,
    {
        let held = self.inner.held_here(&ask).await;
        match held {
            Some(held) if held.usable != Usable::InNeed => self.serve_held(ask, fetch, held),
            // On the heap, so that those who find what they want do not carry the room for it.
            held => Box::pin(self.miss(ask, fetch, held)).await,
        }
    }

    /// What is held for `ask`, the best of both tiers. Nothing is fetched.
    pub async fn look(&self, ask: &Ask) -> Option<Cached<T>> {
        let mut held = self.inner.held_here(ask).await;
        if held.as_ref().is_none_or(|held| held.usable != Usable::AtOnce)
            && let Some(store) = &self.inner.store
            && let Some(entry) = store.look(&ask.key).await
        {
            held = self.inner.judge(ask, Arc::new(entry), Tier::Shared).await.or(held);
        }
        let held = held?;
        let state = match held.usable {
            Usable::AtOnce | Usable::WhileRefreshing => State::StaleWhileRefreshing,
            Usable::InNeed => State::StaleOnError,
        };
        Some(held.serve(state, None))
    }

    /// What is counted, for metrics.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let Inner { local, flights, counts, .. } = &*self.inner;
        let (fetches_running, waiters) = flights.running();
        Figures {
            local: local.holding(),
            fetches_running,
            waiters,
            refreshes: counts.refreshes.get(),
            lone_fetches: counts.lone_fetches.get(),
            lease_waits: counts.lease_waits.get(),
            take_overs: counts.take_overs.get(),
            refused_commits: counts.refused_commits.get(),
            damaged: counts.damaged(),
        }
    }

    #[must_use]
    pub fn tags(&self) -> &Tags {
        &self.inner.tags
    }

    #[must_use]
    pub fn redis(&self) -> Option<&Redis> {
        self.inner.store.as_ref().map(Store::redis)
    }

    /// The clock by which entries age.
    #[cfg(test)]
    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The process is ending: fetches that somebody started are waited for `within`, since other replicas may wait for them too; those in the
    /// background are dropped. What still runs then is dropped, its leases are given back, and the others are told of the raises that wait.
    pub async fn finish(&self, within: Duration) {
        self.inner.closing.cancel();
        if timeout(within, self.inner.flights.landed()).await.is_err() {
            self.inner.closed.cancel();
            let _elapsed = timeout(HANDING_BACK, self.inner.flights.landed()).await;
        }
        let _elapsed = timeout(HANDING_BACK, self.inner.tags.tell_what_waits()).await;
        if let Some(store) = &self.inner.store {
            let _elapsed = timeout(HANDING_BACK, store.settled()).await;
        }
    }

    /// Serves what is good enough, and fetches it anew in the background where it is time to.
    fn serve_held<F, Fut>(&self, ask: Ask, fetch: F, held: Held) -> Served<T>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Fetched<T>> + Send + 'static,
    {
        if held.usable != Usable::AtOnce || self.inner.due_early(&ask, &held) {
            self.refresh(ask, Arc::new(fetch), held.entry.version);
        }
        Served::Cached(held.serve(State::StaleWhileRefreshing, None))
    }

    fn refresh<F, Fut>(&self, ask: Ask, fetch: Arc<F>, than: Version)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Fetched<T>> + Send + 'static,
    {
        let inner = &self.inner;
        if inner.resting.rests(&ask.key) {
            return;
        }
        let (key, deadline) = (ask.key, Instant::now() + inner.flight_period(&ask));
        let errand = Errand { inner: inner.clone(), ask: Arc::new(ask), fetch, known: Some(than), in_background: true };
        if inner.flights.launch(key, deadline, move || errand.run()) {
            inner.counts.refreshes.one_more();
        }
    }
}

impl<T> Inner<T> {
    /// What this process holds and may still be served somehow.
    async fn held_here(&self, ask: &Ask) -> Option<Held> {
        let entry = self.local.get(&ask.key)?;
        self.judge(ask, entry, Tier::Local).await
    }

    /// On what terms `entry` may be served now; `None` on none.
    async fn judge(&self, ask: &Ask, entry: Arc<Entry>, tier: Tier) -> Option<Held> {
        let (usable, age_ms) = match freshness(&entry, &ask.contract, self.clock.now_ms()) {
            Freshness::Fresh { age_ms } => (Usable::AtOnce, age_ms),
            Freshness::StaleWhileRefreshing { age_ms } => (Usable::WhileRefreshing, age_ms),
            Freshness::StaleOnError { age_ms } => (Usable::InNeed, age_ms),
            Freshness::Gone => return None,
        };
        let verified = match self.tags.check(&entry.tags).await {
            Check::Valid => true,
            Check::Unverified => false,
            Check::Moved | Check::Unknowable => return None,
        };
        Some(Held { entry, tier, usable, age_ms, verified })
    }

    fn due_early(&self, ask: &Ask, Held { entry, age_ms, .. }: &Held) -> bool {
        due_early(entry, &ask.contract, entry.created_ms + age_ms, self.dice.roll())
    }

    /// Another replica's fetch, until its lease is seen to be lost, and then one of our own, with the time to store it.
    fn flight_period(&self, ask: &Ask) -> Duration {
        2 * (ask.fetch_period + errand::GRACE) + self.settings.lease + 4 * errand::GRACE
    }
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

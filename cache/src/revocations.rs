//! Which credentials no longer count, and when each was used last: known to all replicas within seconds.
//!
//! A process that learned of a revocation does not forget it while it runs, and tells a Redis that did.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{Notify, watch};

use crate::{
    octets::{hex, random},
    redis::{Gone, Redis, Script},
};

/// How often processes tell each other. Half of it passes until a revocation is known everywhere, on the average.
const EXCHANGE_EVERY: Duration = Duration::from_secs(1);
/// How many revocations Redis tells: the newest. Those that a process was told by its own key file or operator come on top.
const REVOKED_MAX: usize = 10_000;
/// How many uses are told at once; the others follow with the next exchange.
const USES_MAX: usize = 500;

static EXCHANGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("revocations/exchange.lua")));

/// Which credentials no longer count, by their ids. Cheap to clone.
#[derive(Clone)]
pub struct Revocations {
    known: Arc<Known>,
    redis: Option<Redis>,
}

struct Known {
    /// By id.
    revoked: RwLock<HashMap<Box<str>, Revoked>>,
    changes: watch::Sender<u64>,
    /// Uses that were not told yet, and with no Redis all of them.
    used: Mutex<HashMap<Box<str>, u64>>,
    /// Somebody waits for the next exchange.
    hurry: Notify,
    /// What Redis knows too, once it was asked.
    common: watch::Sender<Option<HashSet<Box<str>>>>,
}

#[derive(Debug, Clone, Copy)]
struct Revoked {
    /// When, in milliseconds since 1970.
    at_ms: u64,
    /// Whether this process was told by its own key file or operator, and not by Redis alone: then nothing that lies there can displace it.
    is_own: bool,
}

/// Where a revocation counts by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// In all replicas, within seconds.
    Everywhere,
    /// In this process. The others follow when Redis can be reached.
    Here,
}

impl Revocations {
    /// For one process alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { known: Arc::default(), redis: None }
    }

    /// For all that share `redis`. Must be called within a tokio runtime.
    #[must_use]
    pub fn shared(redis: Redis) -> Self {
        let known = Arc::<Known>::default();
        tokio::spawn(exchange_always(Arc::downgrade(&known), redis.clone()));
        Self { known, redis: Some(redis) }
    }

    /// Whether the credential of this id was revoked. Made for the path of a call.
    #[must_use]
    pub fn is_revoked(&self, id: &str) -> bool {
        self.known.revoked.read().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }

    /// Those that are known to be revoked, with when.
    #[must_use]
    pub fn all(&self) -> Vec<(Box<str>, SystemTime)> {
        let revoked = self.known.revoked.read().unwrap_or_else(PoisonError::into_inner);
        revoked.iter().map(|(id, revoked)| (id.clone(), moment(revoked.at_ms))).collect()
    }

    /// Changes whenever more credentials are revoked.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.known.changes.subscribe()
    }

    /// From now on these do not count in this process; the other replicas are told with the next exchange.
    pub fn revoked<'a>(&self, ids: impl IntoIterator<Item = (&'a str, SystemTime)>) {
        if self.known.learn(ids.into_iter().map(|(id, at)| (id.into(), millis(at))), true) {
            self.known.hurry.notify_one();
        }
    }

    /// The same for one, and waits up to `within` until the other replicas can know of it.
    pub async fn revoke(&self, id: &str, within: Duration) -> Reached {
        self.revoked([(id, SystemTime::now())]);
        if self.redis.is_none() {
            return Reached::Everywhere;
        }
        let mut common = self.known.common.subscribe();
        let is_common = |ids: &Option<HashSet<_>>| ids.as_ref().is_some_and(|ids| ids.contains(id));
        let told = tokio::time::timeout(within, common.wait_for(is_common)).await.is_ok_and(|told| told.is_ok());
        if told { Reached::Everywhere } else { Reached::Here }
    }

    /// Waits up to `within` until what the others know is known here; at once where there is nobody to ask.
    pub async fn heard(&self, within: Duration) {
        if self.redis.is_some() {
            let mut common = self.known.common.subscribe();
            let _ = tokio::time::timeout(within, common.wait_for(Option::is_some)).await;
        }
    }

    /// The credential of this id was used just now.
    pub fn used(&self, id: &str) {
        let now = millis(SystemTime::now());
        let mut used = self.known.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at_ms) = used.get_mut(id) {
            *at_ms = now;
        } else if used.len() < REVOKED_MAX {
            used.insert(id.into(), now);
        }
    }

    /// When each was used last, as far as it is known.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn last_uses(&self) -> Result<HashMap<Box<str>, SystemTime>, Gone> {
        static USES: LazyLock<Script> =
            LazyLock::new(|| Script::new("return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')"));
        let mut uses: HashMap<Box<str>, u64> = match &self.redis {
            Some(redis) => pairs(redis.small(&USES, &[&redis.key(TAG, "used")], &[]).await?).collect(),
            None => HashMap::new(),
        };
        for (id, &at_ms) in &*self.known.used.lock().unwrap_or_else(PoisonError::into_inner) {
            let last = uses.entry(id.clone()).or_default();
            *last = at_ms.max(*last);
        }
        Ok(uses.into_iter().map(|(id, at_ms)| (id, moment(at_ms))).collect())
    }
}

/// All keys lie in one slot of a cluster.
const TAG: &str = "keys";

impl Default for Known {
    fn default() -> Self {
        Self {
            revoked: RwLock::default(),
            changes: watch::Sender::new(0),
            used: Mutex::default(),
            hurry: Notify::new(),
            common: watch::Sender::new(None),
        }
    }
}

impl Known {
    /// Whether any of them is new.
    fn learn(&self, ids: impl Iterator<Item = (Box<str>, u64)>, is_own: bool) -> bool {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        let mut is_more = false;
        for (id, at_ms) in ids {
            let known = revoked.entry(id).or_insert_with(|| {
                is_more = true;
                Revoked { at_ms, is_own }
            });
            known.is_own |= is_own;
        }
        drop(revoked);
        if is_more {
            self.changes.send_modify(|count| *count += 1);
        }
        is_more
    }

    /// Where more are known than Redis tells, those that are neither there nor of this process go.
    fn make_room(&self, common: &HashSet<Box<str>>) {
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        if revoked.len() > REVOKED_MAX {
            revoked.retain(|id, revoked| revoked.is_own || common.contains(id));
        }
    }

    /// Those that Redis does not have.
    fn untold(&self) -> Vec<(Box<str>, u64)> {
        let common = self.common.borrow();
        let is_told = |id: &str| common.as_ref().is_some_and(|common| common.contains(id));
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        revoked.iter().filter(|(id, _)| !is_told(id)).map(|(id, revoked)| (id.clone(), revoked.at_ms)).collect()
    }

    fn some_uses(&self) -> Vec<(Box<str>, u64)> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let ids: Vec<Box<str>> = used.keys().take(USES_MAX).cloned().collect();
        ids.into_iter().filter_map(|id| used.remove_entry(&id)).collect()
    }

    /// What could not be told waits for the next time, unless there is something newer.
    fn uses_again(&self, untold: Vec<(Box<str>, u64)>) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, at_ms) in untold {
            used.entry(id).or_insert(at_ms);
        }
    }
}

/// Tells and hears until nobody needs it any more.
async fn exchange_always(known: std::sync::Weak<Known>, redis: Redis) {
    let mut version = Vec::new();
    loop {
        let Some(known) = known.upgrade() else { return };
        version = exchange(&known, &redis, version).await;
        let _hurried = tokio::time::timeout(EXCHANGE_EVERY, known.hurry.notified()).await;
    }
}

/// Tells Redis what it does not have, and learns what it has. Gives the version of that; the next exchange tries again where Redis is gone.
async fn exchange(known: &Known, redis: &Redis, version: Vec<u8>) -> Vec<u8> {
    let (untold, uses) = (known.untold(), known.some_uses());
    let Ok((now, told)) = send(redis, &version, &untold, &uses).await else {
        known.uses_again(uses);
        return version;
    };
    if now != version {
        let told: Vec<_> = pairs(told).collect();
        let common: HashSet<_> = told.iter().map(|(id, _)| id.clone()).collect();
        known.learn(told.into_iter(), false);
        known.make_room(&common);
        known.common.send_replace(Some(common));
        if !known.untold().is_empty() {
            // It has lost some.
            known.hurry.notify_one();
        }
    }
    now
}

async fn send(
    redis: &Redis,
    version: &[u8],
    untold: &[(Box<str>, u64)],
    uses: &[(Box<str>, u64)],
) -> Result<(Vec<u8>, Vec<(String, u64)>), Gone> {
    let keys = [redis.key(TAG, "revoked"), redis.key(TAG, "version"), redis.key(TAG, "used")];
    let keys = keys.each_ref().map(String::as_str);
    let (fresh, count) = (hex(&random::<16>()), untold.len().to_string());
    let texts: Vec<(&str, String)> = untold.iter().chain(uses).map(|(id, at)| (&**id, at.to_string())).collect();
    let mut args = vec![version, fresh.as_bytes(), count.as_bytes()];
    args.extend(texts.iter().flat_map(|(id, at)| [id.as_bytes(), at.as_bytes()]));
    redis.small(&EXCHANGE, &keys, &args).await
}

fn pairs(pairs: Vec<(String, u64)>) -> impl Iterator<Item = (Box<str>, u64)> {
    pairs.into_iter().map(|(id, at_ms)| (id.into_boxed_str(), at_ms))
}

fn millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn moment(at_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at_ms)
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.known.revoked.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Revocations").field("revoked", &count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! The tier inside the process: entries as they are served, bounded by the bytes they hold.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::{Expiry, notification::RemovalCause, policy::EvictionPolicy, sync::Cache};

use crate::{
    entry::{Entry, TagGeneration},
    key::Key,
};

/// What an entry holds besides its value and tags: itself, its key twice, and its places in the map, in the order of use and on the timer.
const ENTRY_BYTES: usize = 640;
/// Removal trails insertion by at most this share of the bound.
const TRAIL_SHARE: u64 = 16;

/// Entries of this process, those used last when there is no room for all.
///
/// How fresh an entry is does not show here: [`freshness`](crate::freshness::freshness) decides that by the caller's `now`. Expiry, by the clock of
/// the map, only frees memory early.
pub(crate) struct Local {
    entries: Cache<Key, Held>,
    bytes_max: u64,
    /// Inserted since removals last caught up.
    trailing_bytes: AtomicU64,
    evictions: Arc<AtomicU64>,
}

/// What a [`Local`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    pub entries: u64,
    pub bytes: u64,
    /// How many entries made room for others, since the start.
    pub evictions: u64,
}

impl Local {
    /// Holds up to `bytes_max`, keys and bookkeeping included.
    #[must_use]
    pub(crate) fn new(bytes_max: u64) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let counted = evictions.clone();
        // The last used rather than the most used: an answer that was slow to get is there for whoever asks next, and large answers have
        // the same right to stay as small ones.
        let entries = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|_key, held: &Held| held.weight)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetime)
            .eviction_listener(move |_key, held: Held, cause| {
                drop(held.slot.take());
                if cause == RemovalCause::Size {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        Self { entries, bytes_max, trailing_bytes: AtomicU64::new(0), evictions }
    }

    /// The entry under `key`, however old it is.
    #[must_use]
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(key)?.slot.get()
    }

    /// Holds `entry` from `now_ms` until it is of no use, or others need its room. One that is of no use already, or too large for all the
    /// room there is, takes the place of the old one and is not held. Says whether it is.
    pub(crate) fn insert(&self, key: Key, entry: Entry, now_ms: u64) -> bool {
        let weight = weight(&entry);
        let lifetime_ms = entry.stale_until_ms.saturating_sub(now_ms);
        if lifetime_ms == 0 || u64::from(weight) > self.bytes_max {
            self.remove(&key);
            return false;
        }
        // The value may be a small piece of a large buffer, which a copy lets go.
        let entry = Entry { value: Bytes::copy_from_slice(&entry.value), ..entry };
        self.entries.insert(
            key,
            Held { slot: Arc::new(Slot::new(entry)), weight, lifetime: Duration::from_millis(lifetime_ms) },
        );
        let trailing_bytes = self.trailing_bytes.fetch_add(weight.into(), Ordering::Relaxed) + u64::from(weight);
        if trailing_bytes >= self.bytes_max / TRAIL_SHARE {
            self.catch_up();
        }
        true
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.entries.invalidate(key);
    }

    /// Forgets all entries. Those that are inserted while it runs may be forgotten too.
    #[cfg(test)]
    pub(crate) fn clear(&self) {
        self.entries.invalidate_all();
        self.catch_up();
    }

    /// What is held now, for metrics: it waits for removals to catch up.
    #[must_use]
    pub(crate) fn holding(&self) -> Holding {
        self.catch_up();
        Holding {
            entries: self.entries.entry_count(),
            bytes: self.entries.weighted_size(),
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }

    fn catch_up(&self) {
        self.trailing_bytes.store(0, Ordering::Relaxed);
        self.entries.run_pending_tasks();
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Held {
    slot: Arc<Slot>,
    weight: u32,
    lifetime: Duration,
}

/// An entry that can be let go at once. The map frees what was removed only when no thread can still be looking at it, which under load leaves
/// several times the bound in memory; so what it holds is only the place of the entry.
struct Slot(Mutex<Option<Arc<Entry>>>);

impl Slot {
    fn new(entry: Entry) -> Self {
        Self(Mutex::new(Some(Arc::new(entry))))
    }

    fn get(&self) -> Option<Arc<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self) -> Option<Arc<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The bytes that `entry` keeps from other uses.
fn weight(entry: &Entry) -> u32 {
    let tags_bytes = entry.tags.len() * size_of::<TagGeneration>();
    u32::try_from(ENTRY_BYTES + entry.value.len() + tags_bytes).unwrap_or(u32::MAX)
}

struct Lifetime;

impl Expiry<Key, Held> for Lifetime {
    fn expire_after_create(&self, _key: &Key, held: &Held, _now: Instant) -> Option<Duration> {
        Some(held.lifetime)
    }

    fn expire_after_update(&self, _key: &Key, held: &Held, _now: Instant, _left: Option<Duration>) -> Option<Duration> {
        Some(held.lifetime)
    }
}

#[cfg(test)]
mod tests;

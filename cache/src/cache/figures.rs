//! What the cache counts. Whoever shows it gives it names.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{local::Holding, sealed::Damage};

/// What the cache holds and does now, and what it has done since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    pub local: Holding,
    pub fetches_running: usize,
    /// Calls that wait for a fetch.
    pub waiters: usize,
    /// Fetches begun in the background while callers were given what was there.
    pub refreshes: u64,
    /// Fetches that one caller made for itself, since what others fetched was not for it.
    pub lone_fetches: u64,
    /// Fetches that waited for another replica's.
    pub lease_waits: u64,
    /// Leases taken over from a replica that ended without a result.
    pub take_overs: u64,
    /// Answers that were not stored because the right to do so was lost meanwhile.
    pub refused_commits: u64,
    /// Stored values that were no entries, by what was wrong.
    pub damaged: [(Damage, u64); Damage::ALL.len()],
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) refreshes: Count,
    pub(crate) lone_fetches: Count,
    pub(crate) lease_waits: Count,
    pub(crate) take_overs: Count,
    pub(crate) refused_commits: Count,
    damaged: [Count; Damage::ALL.len()],
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    pub(crate) fn damage(&self, damage: Damage) {
        let at = Damage::ALL.iter().position(|kind| *kind == damage).expect("all kinds of damage are listed");
        self.damaged[at].one_more();
    }

    pub(super) fn damaged(&self) -> [(Damage, u64); Damage::ALL.len()] {
        std::array::from_fn(|at| (Damage::ALL[at], self.damaged[at].get()))
    }
}

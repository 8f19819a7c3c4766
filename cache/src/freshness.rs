//! How fresh an entry is, and whether to fetch it again before it is stale: pure functions of `now`.

use crate::entry::{Entry, Found};

/// How far ahead of this reader's clock an answer may have been made. Replicas go by one clock, each as it last heard it, so theirs differ by a
/// little; an answer that has just come must not be from the future to the one that waited for it.
const AHEAD_MS_MAX: u64 = 250;

/// What the config promises about one tool. Each figure is the age that an answer may have; 0 is never.
///
/// Ages rather than windows added to each other, so that the largest figure is the oldest answer anybody can get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contract {
    /// Served without asking the downstream.
    pub fresh_for_ms: u64,
    /// Served at once while a fetch runs in the background.
    pub stale_while_refreshing_ms: u64,
    /// Served when a fetch has failed.
    pub stale_on_error_ms: u64,
    /// How long "there is no such thing" is an answer. It is never served stale.
    pub not_found_for_ms: u64,
}

/// What may be done with an entry. Ages are those of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Serve it.
    Fresh { age_ms: u64 },
    /// Serve it, and fetch in the background.
    StaleWhileRefreshing { age_ms: u64 },
    /// Fetch, and serve it only if that fails.
    StaleOnError { age_ms: u64 },
    /// Do not serve it, whatever happens.
    Gone,
}

/// What may be done with `entry` at `now_ms`.
///
/// The entry's own times and today's contract both bind, so a contract made stricter counts for what is stored already,
/// and a looser one does not revive what was stored under less. An entry from the future is gone: a clock went wrong, and
/// its age could not be told.
#[must_use]
pub(crate) fn freshness(entry: &Entry, contract: &Contract, now_ms: u64) -> Freshness {
    if from_the_future(entry, now_ms) {
        return Freshness::Gone;
    }
    let now_ms = now_ms.max(entry.created_ms);
    let age_ms = now_ms - entry.created_ms;
    if now_ms < fresh_until_ms(entry, contract) {
        return Freshness::Fresh { age_ms };
    }
    if now_ms >= entry.stale_until_ms || entry.found == Found::NotFound {
        return Freshness::Gone;
    }
    if age_ms < contract.stale_while_refreshing_ms {
        return Freshness::StaleWhileRefreshing { age_ms };
    }
    if age_ms < contract.stale_on_error_ms {
        return Freshness::StaleOnError { age_ms };
    }
    Freshness::Gone
}

/// Whether this reader of a fresh entry should fetch it again already, so that it never becomes stale under load.
///
/// `random` is uniform in (0, 1]. Each reader decides for itself; the nearer the end and the longer a fetch takes, the
/// likelier. This is XFetch with β = 1, which is optimal there: A. Vattani, F. Chierichetti, K. Lowenstein, "Optimal
/// Probabilistic Cache Stampede Prevention", PVLDB 8(8), 2015. But never before two thirds of its time: under load, XFetch alone would
/// fetch an answer that is slow to get again as soon as it came.
#[must_use]
pub(crate) fn due_early(entry: &Entry, contract: &Contract, now_ms: u64, random: f64) -> bool {
    let end_ms = fresh_until_ms(entry, contract);
    if now_ms >= end_ms || from_the_future(entry, now_ms) {
        return true;
    }
    if end_ms - now_ms > end_ms.saturating_sub(entry.created_ms) / 3 {
        return false;
    }
    // A random number out of its range must not make every reader fetch, nor none ever.
    let random = if random.is_nan() { 1.0 } else { random.clamp(f64::MIN_POSITIVE, 1.0) };
    let ahead_ms = -random.ln() * entry.fetch_ms as f64;
    ahead_ms >= (end_ms - now_ms) as f64
}

impl Contract {
    /// The age up to which such an answer is fresh.
    pub(crate) fn fresh_age_ms(&self, found: Found) -> u64 {
        match found {
            Found::Found => self.fresh_for_ms,
            Found::NotFound => self.not_found_for_ms,
        }
    }

    /// The age beyond which such an answer is of no use.
    pub(crate) fn age_max_ms(&self, found: Found) -> u64 {
        match found {
            Found::Found => self.fresh_for_ms.max(self.stale_while_refreshing_ms).max(self.stale_on_error_ms),
            Found::NotFound => self.not_found_for_ms,
        }
    }
}

fn from_the_future(entry: &Entry, now_ms: u64) -> bool {
    entry.created_ms.saturating_sub(now_ms) > AHEAD_MS_MAX
}

fn fresh_until_ms(entry: &Entry, contract: &Contract) -> u64 {
    let by_contract_ms = entry.created_ms.saturating_add(contract.fresh_age_ms(entry.found));
    entry.fresh_until_ms.min(entry.stale_until_ms).min(by_contract_ms)
}

#[cfg(test)]
mod tests;

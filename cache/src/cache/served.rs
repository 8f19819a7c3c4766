//! What a caller is given, and what is told about it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    entry::{Entry, Found},
    flight::{Failure, Seat},
};

/// What one caller gets.
#[derive(Clone)]
pub enum Served<T> {
    Cached(Cached<T>),
    /// Just fetched, by this call or one that it joined.
    Fetched {
        value: Bytes,
        found: Found,
        seat: Seat,
        /// Whether the next caller will find it.
        stored: bool,
    },
    /// Just fetched, and no answer that is stored.
    Passed {
        outcome: T,
        seat: Seat,
    },
    /// Nothing came, and nothing older may be given instead.
    Nothing(Failure),
}

/// An answer that was there.
#[derive(Clone)]
pub struct Cached<T> {
    pub value: Bytes,
    pub found: Found,
    pub tier: Tier,
    pub state: State,
    pub age_ms: u64,
    pub fetched_at_ms: u64,
    /// What the fetch took: what this caller was spared.
    pub fetch_ms: u64,
    /// False while Redis is gone: whether what it is about has changed elsewhere cannot be told.
    pub verified: bool,
    /// The failure instead of which it is given.
    pub cause: Option<T>,
}

/// Where an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In this process.
    Local,
    /// In Redis.
    Shared,
}

/// Why an answer that was there is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Fresh,
    StaleWhileRefreshing,
    /// The fetch took longer than this tool's callers wait. It goes on.
    StaleAfterWaiting,
    /// The fetch failed, or did not come to an end in the caller's time.
    StaleOnError,
}

impl Tier {
    /// The word in metrics, logs and audit records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
        }
    }
}

impl State {
    /// The word in metrics, logs, audit records and towards callers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::StaleWhileRefreshing => "stale_while_refreshing",
            Self::StaleAfterWaiting => "stale_after_waiting",
            Self::StaleOnError => "stale_on_error",
        }
    }
}

/// An entry that may be served now, and on what terms.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) entry: Arc<Entry>,
    pub(super) tier: Tier,
    pub(super) usable: Usable,
    pub(super) age_ms: u64,
    pub(super) verified: bool,
}

/// On what terms an entry may be served, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usable {
    AtOnce,
    WhileRefreshing,
    /// Only when there is nothing better.
    InNeed,
}

impl Held {
    /// As it is served. `in_need` says of what need, where it is one.
    pub(super) fn serve<T>(self, in_need: State, cause: Option<T>) -> Cached<T> {
        let state = match self.usable {
            Usable::AtOnce => State::Fresh,
            // Whoever has waited already is told what for.
            Usable::WhileRefreshing | Usable::InNeed => in_need,
        };
        let Self { entry, tier, age_ms, verified, .. } = self;
        Cached {
            value: entry.value.clone(),
            found: entry.found,
            tier,
            state,
            age_ms,
            fetched_at_ms: entry.created_ms,
            fetch_ms: entry.fetch_ms,
            verified,
            cause: cause.filter(|_| state != State::Fresh),
        }
    }
}

/// A company's data is not printed.
impl<T> fmt::Debug for Served<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cached(cached) => cached.fmt(f),
            Self::Fetched { value, found, seat, stored } => f
                .debug_struct("Fetched")
                .field("value_bytes", &value.len())
                .field("found", found)
                .field("seat", seat)
                .field("stored", stored)
                .finish(),
            Self::Passed { seat, .. } => f.debug_struct("Passed").field("seat", seat).finish_non_exhaustive(),
            Self::Nothing(failure) => f.debug_tuple("Nothing").field(failure).finish(),
        }
    }
}

/// A company's data is not printed.
impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("value_bytes", &self.value.len())
            .field("found", &self.found)
            .field("tier", &self.tier)
            .field("state", &self.state)
            .field("age_ms", &self.age_ms)
            .field("verified", &self.verified)
            .finish_non_exhaustive()
    }
}

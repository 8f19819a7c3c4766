//! What the cache is asked, and what a fetch comes to.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{entry::Found, flight::Bounds, freshness::Contract, key::Key, tags::Tag};

/// How much the cache may hold, and how long others wait for a replica that has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Of the tier in the process, with all that it holds besides values.
    pub local_bytes_max: u64,
    /// The largest value that is stored, in either tier.
    pub value_bytes_max: usize,
    /// How long the right to fetch a key outlives a replica that no longer renews it.
    pub lease: Duration,
    pub bounds: Bounds,
}

/// One question, by one caller.
#[derive(Debug, Clone)]
pub struct Ask {
    pub key: Key,
    pub contract: Contract,
    /// How long this caller waits for a fetch before an older answer will do.
    pub stale_after_waiting: Option<Duration>,
    /// What the answer is about, as far as the question tells.
    pub tags: Arc<[Tag]>,
    /// What stands for the tags that only the answer will name.
    pub templates: Arc<[Tag]>,
    /// How long a fetch may take: the tool's, whoever started it.
    pub fetch_period: Duration,
    /// When this caller gives up.
    pub wait_by: Instant,
}

/// What can be handed to others who wait for the same fetch, though it is not stored.
pub trait Passing: Clone + Send + Sync + 'static {
    /// For those who wait in other processes, sealed on the way there. `None`: they fetch themselves.
    fn to_bytes(&self) -> Option<Vec<u8>>;
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// What a fetch came to.
#[derive(Clone)]
pub enum Fetched<T> {
    /// What may be stored.
    Answer {
        value: Bytes,
        found: Found,
        /// Those that the answer named.
        tags: Vec<Tag>,
    },
    /// A whole answer that is not stored. All who wait get it.
    Shared(T),
    /// No answer. All who wait get it, or something older instead.
    Failed(T),
    /// For the caller whose fetch it was and nobody else: the others fetch for themselves.
    Own(T),
}

/// What was fetched is a company's data: it is not printed.
impl<T> fmt::Debug for Fetched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer { .. } => "Answer",
            Self::Shared(_) => "Shared",
            Self::Failed(_) => "Failed",
            Self::Own(_) => "Own",
        })
    }
}

//! What the cache holds under one key.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{freshness::Contract, octets::random, tags::Tag};

/// One answer of a downstream, serialised and masked, with all that decides how long it may be served.
///
/// Times are milliseconds since the epoch, by the clock of whoever passes `now`: with a shared tier that is the shared
/// tier's clock, so that replicas agree.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) version: Version,
    /// The result as it is sent to callers.
    pub(crate) value: Bytes,
    pub(crate) found: Found,
    /// When the answer came.
    pub(crate) created_ms: u64,
    /// The first moment at which it is no longer fresh.
    pub(crate) fresh_until_ms: u64,
    /// The first moment at which it is of no use to anyone.
    pub(crate) stale_until_ms: u64,
    /// How long the fetch took: what a caller would wait for another one.
    pub(crate) fetch_ms: u64,
    /// The tags of this answer, each as it was read *before* the fetch: a write that began after that has moved them.
    pub(crate) tags: Arc<[TagGeneration]>,
}

/// Whether the downstream had what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Found,
    /// The one failure that is ever stored.
    NotFound,
}

/// Tells an answer from every other one under the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) [u8; 16]);

/// A tag and the random value it had. The value says nothing but whether the tag has moved since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TagGeneration {
    pub(crate) tag: Tag,
    pub(crate) generation: [u8; 16],
}

impl Version {
    #[must_use]
    pub(crate) fn random() -> Self {
        Self(random())
    }
}

impl Entry {
    /// The answer that came at `now_ms` after a fetch of `fetch_ms`, with the times that `contract` gives it.
    #[must_use]
    pub(crate) fn new(
        value: Bytes,
        found: Found,
        tags: Arc<[TagGeneration]>,
        fetch_ms: u64,
        contract: &Contract,
        now_ms: u64,
    ) -> Self {
        let fresh_until_ms = now_ms.saturating_add(contract.fresh_age_ms(found));
        let stale_until_ms = now_ms.saturating_add(contract.age_max_ms(found));
        Self {
            version: Version::random(),
            value,
            found,
            created_ms: now_ms,
            fresh_until_ms,
            stale_until_ms,
            fetch_ms,
            tags,
        }
    }
}

/// The value is a company's data: it is not printed.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("value_bytes", &self.value.len())
            .field("found", &self.found)
            .field("created_ms", &self.created_ms)
            .field("fresh_until_ms", &self.fresh_until_ms)
            .field("stale_until_ms", &self.stale_until_ms)
            .field("fetch_ms", &self.fetch_ms)
            .field("tags", &self.tags.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{Entry, Found};
    use crate::freshness::Contract;

    #[test]
    fn the_value_is_not_printed() {
        let value = Bytes::from_static(b"secret-2");
        let entry = Entry::new(value, Found::Found, Arc::new([]), 8_000, &Contract::default(), 1_000);
        let printed = format!("{entry:?}");
        assert!(!printed.contains("secret") && !printed.contains("115, 101"), "{printed}");
        assert!(printed.contains("value_bytes: 8"), "{printed}");
    }
}

//! What the cache holds under one key.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::freshness::Contract;

/// One answer of a downstream, serialised and masked, with all that decides how long it may be served.
///
/// Times are milliseconds since the epoch, by the clock of whoever passes `now`: with a shared tier that is the shared
/// tier's clock, so that replicas agree.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The result as it is sent to callers.
    pub value: Bytes,
    pub found: Found,
    /// When the answer came.
    pub created_ms: u64,
    /// The first moment at which it is no longer fresh.
    pub fresh_until_ms: u64,
    /// The first moment at which it is of no use to anyone.
    pub stale_until_ms: u64,
    /// How long the fetch took: what a caller would wait for another one.
    pub fetch_ms: u64,
    /// The tags of this answer, each as it was read *before* the fetch: a write that began after that has moved them.
    pub tags: Arc<[TagGeneration]>,
}

/// Whether the downstream had what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Found,
    /// The one failure that is ever stored.
    NotFound,
}

/// A tag and the random value it had. The value says nothing but whether the tag has moved since.
#[derive(Clone, PartialEq, Eq)]
pub struct TagGeneration {
    pub tag: Box<[u8]>,
    pub generation: [u8; 16],
}

impl Entry {
    /// The answer that came at `now_ms` after a fetch of `fetch_ms`, with the times that `contract` gives it.
    #[must_use]
    pub fn new(
        value: Bytes,
        found: Found,
        tags: Arc<[TagGeneration]>,
        fetch_ms: u64,
        contract: &Contract,
        now_ms: u64,
    ) -> Self {
        let fresh_until_ms = now_ms.saturating_add(contract.fresh_age_ms(found));
        let stale_until_ms = now_ms.saturating_add(contract.age_max_ms(found));
        Self { value, found, created_ms: now_ms, fresh_until_ms, stale_until_ms, fetch_ms, tags }
    }
}

/// The value is a company's data and a tag may hold an argument: neither is printed.
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

impl fmt::Debug for TagGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagGeneration({} bytes)", self.tag.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::{Entry, Found, TagGeneration};
    use crate::freshness::Contract;

    #[test]
    fn neither_value_nor_tags_are_printed() {
        let tags = [TagGeneration { tag: (*b"ticket:secret-1").into(), generation: [7; 16] }];
        let value = Bytes::from_static(b"secret-2");
        let entry = Entry::new(value, Found::Found, Arc::new(tags), 8_000, &Contract::default(), 1_000);
        let printed = format!("{entry:?}");
        assert!(!printed.contains("secret") && !printed.contains("115, 101"), "{printed}");
        assert!(printed.contains("value_bytes: 8"), "{printed}");
        assert_eq!(format!("{:?}", entry.tags[0]), "TagGeneration(15 bytes)");
    }
}

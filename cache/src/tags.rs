//! What entries are about, and whether that has changed since they were read.
//!
//! Each tag has a generation, a random value. An entry holds the generations that its tags had *before* its fetch, and is valid only
//! while none has moved. To say that something changed is to *raise* its tag: to give it a new generation.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

/// What an entry can be about. It stands for a name without holding it: names are made of arguments, and lie in Redis.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    pub(crate) id: [u8; 16],
    /// Whether its generation is compared in Redis each time an entry with it is served; else a view that may be a second old will do.
    pub(crate) strict: bool,
}

impl Tag {
    /// Names and their ids stay together over all replicas and for all time: no secret is part of it.
    #[must_use]
    pub fn new(name: &str, strict: bool) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"weir/cache/tag\0");
        context.update(name.as_bytes());
        let digest = context.finish();
        let id = *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Self { id, strict }
    }

    #[must_use]
    pub fn is_strict(self) -> bool {
        self.strict
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tag").field("strict", &self.strict).finish_non_exhaustive()
    }
}

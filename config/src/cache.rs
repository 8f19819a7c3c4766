//! What all cached tools share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Period, SecretRef};

/// What all cached tools share. Which results are cached, and for how long, is said at each tool (`cache`).
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// How much of the process's memory cached results take.
    pub local_bytes_max: ByteSize,
    /// The largest result that is stored.
    pub value_bytes_max: ByteSize,
    /// How long a replica that fetches may be silent before another one takes over.
    pub lease: Period,
    /// How many fetches for the cache run at once in this process; a call beyond that is given an older answer where there is one, else goes to
    /// the downstream by itself.
    pub fetches_max: usize,
    /// How many calls of this process wait for such fetches at once; a call beyond that is given an older answer where there is one, else refused
    /// with the advice to try again.
    pub waiters_max: usize,
    /// The families of tags, the part before the first `:`, of which no read may ever miss an acknowledged write: they are compared in
    /// Redis at every hit. All others are at most a second behind.
    pub strict: Vec<String>,
    /// Lets other systems say what changed: `POST /hooks/cache` on the callers' listener.
    pub webhook: Option<Webhook>,
}

/// How other systems prove who they are when they say what changed.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The secret that signs the messages (Standard Webhooks, HMAC-SHA-256); at least 32 bytes.
    pub secret: SecretRef,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            local_bytes_max: ByteSize::mib(64),
            value_bytes_max: ByteSize::mib(4),
            lease: Period::s(10),
            fetches_max: 1024,
            waiters_max: 8192,
            strict: Vec::new(),
            webhook: None,
        }
    }
}

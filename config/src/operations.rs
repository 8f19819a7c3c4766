//! What is kept of writes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Period;

/// What is kept of writes: so that the same idempotency key has the same answer, and that `weir__operation_status` can tell what became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Operations {
    /// For how long. A key that is older is a new one.
    pub kept_for: Period,
    /// How long writes with a key are refused after Weir noticed that Redis lost what it knew of keys, as after a `FLUSHALL` or a restart without
    /// its data: any key may have been used before. Not stated: as long as `kept_for`. Shorter if callers repeat their calls only for a shorter
    /// time; `0s` takes every key for a new one.
    pub refused_after_loss: Option<Period>,
}

impl Default for Operations {
    fn default() -> Self {
        Self { kept_for: Period::s(24 * 60 * 60), refused_after_loss: None }
    }
}

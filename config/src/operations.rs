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
}

impl Default for Operations {
    fn default() -> Self {
        Self { kept_for: Period::s(24 * 60 * 60) }
    }
}

//! What a tool does to the system behind it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What calling a tool does to the system behind it. An effect that the config does not state is `write`:
/// annotations of a downstream are never believed for this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing; may be repeated, and dropped together with its caller.
    Read,
    /// Changes something, but doing it twice leaves the same as doing it once.
    IdempotentWrite,
    /// Changes something; never repeated once a byte of it may have been sent.
    #[default]
    Write,
}

impl Effect {
    /// Whether the call may change something in the downstream.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::Read => false,
            Self::IdempotentWrite | Self::Write => true,
        }
    }

    /// The word that the config uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::IdempotentWrite => "idempotent_write",
            Self::Write => "write",
        }
    }
}

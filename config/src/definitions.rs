//! Whether callers are shown tools whose definitions nobody has looked at.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether callers are shown tools whose definitions nobody has looked at. It is about what MCP servers say of their tools: all other
/// definitions stand in this file, or in Weir. Without `lock` a definition that changed is reported and shown.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Definitions {
    /// The file of approved definitions that `weir lock` writes. A tool whose definition is another one is held back until it is approved.
    pub lock: Option<PathBuf>,
    /// Tools that the file does not have.
    pub new: NewTools,
}

/// What becomes of a tool that is not in the lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewTools {
    /// It is held back until it is approved.
    #[default]
    Hold,
    /// It is shown, and from then on pinned (without Redis until the process ends). One with hidden characters or suspicious phrases in its
    /// definition is held back all the same.
    Show,
}

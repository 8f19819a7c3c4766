//! Where the audit records go.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the audit records go. Every call leaves exactly one, also when it is refused or abandoned.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// A folder for the records, one JSON object a line, readable by its owner alone. Without it the most recent are kept in memory only.
    pub dir: Option<PathBuf>,
}

//! Named subsets of what a caller may see.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Glob;

/// A named subset, served at `/mcp/<name>`. It narrows what the caller's roles allow and never widens it.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct View {
    /// The tools it shows, as patterns over namespaced names.
    pub tools: Vec<Glob>,
    /// What it says of itself to a model that connects.
    pub instructions: Option<String>,
}

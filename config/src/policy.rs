//! Who may call what.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Glob;

/// Who may call what. Nothing is allowed that no role allows.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Roles by name.
    pub roles: IndexMap<String, Role>,
}

/// What a role may do. A caller with several roles may do what any one of them allows.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Role {
    /// Namespaced tool names it may list and call, as patterns: `crm__get_*`.
    pub allow: Vec<Glob>,
    /// Names that this role may not use though `allow` matches them.
    pub deny: Vec<Glob>,
}

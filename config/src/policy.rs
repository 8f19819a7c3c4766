//! Who may call what.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Glob;

/// Who may call what. Nothing is allowed that no role allows.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Roles by name, at most 512.
    pub roles: IndexMap<String, Role>,
    /// The clock of `time` in conditions, as the IANA database names it: `Europe/Berlin`.
    pub time_zone: String,
    /// What the policy must say of certain calls. `weir check` runs them.
    pub tests: Vec<PolicyTest>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { roles: IndexMap::new(), time_zone: "UTC".to_owned(), tests: Vec::new() }
    }
}

/// What a role may do. A caller with several roles may do what any one of them allows.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Role {
    /// Namespaced tool names it may list and call, as patterns: `crm__get_*`.
    pub allow: Vec<Glob>,
    /// Names that this role may not use though `allow` matches them.
    pub deny: Vec<Glob>,
    /// Conditions on what `allow` allows. All whose pattern fits a tool must hold.
    pub conditions: Vec<Condition>,
    /// Resource URIs it may list and read, as patterns over the namespaced URIs.
    pub resources: Vec<Glob>,
    /// Namespaced prompt names it may list and get, as patterns.
    pub prompts: Vec<Glob>,
    /// The masking profile for what this role sees. Not stated: it sees everything.
    pub masking: Option<String>,
}

/// A condition in the Common Expression Language. One that cannot be worked out does not hold.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The tools it is for, as a pattern over namespaced names.
    #[serde(default = "Condition::all", rename = "match")]
    pub pattern: Glob,
    /// What must be true: `caller.tenant == "acme"`, `arguments.amount <= 1000`, `time.hour >= 8`. One without `arguments` also decides
    /// whether the tool is listed.
    pub when: String,
}

impl Condition {
    fn all() -> Glob {
        Glob::new("*")
    }
}

/// One case that the policy must decide as it says.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// What the case is about, for whom it fails.
    #[serde(default)]
    pub name: Option<String>,
    /// The caller's roles.
    pub roles: Vec<String>,
    /// The caller's tenant.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The caller's subject.
    #[serde(default)]
    pub subject: Option<String>,
    /// The caller's claims.
    #[serde(default)]
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// The caller's address.
    #[serde(default)]
    pub address: Option<std::net::IpAddr>,
    /// The moment, as `2027-01-31T12:00:00Z`. Not stated: now.
    #[serde(default)]
    pub time: Option<String>,
    /// The view that is asked. Not stated: none.
    #[serde(default)]
    pub view: Option<String>,
    /// The arguments of the calls.
    #[serde(default)]
    pub arguments: serde_json::Map<String, serde_json::Value>,
    /// Namespaced names of tools that must be allowed.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// Namespaced names of tools that must be denied.
    #[serde(default)]
    pub denied: Vec<String>,
    /// The same for the URIs of resources.
    #[serde(default)]
    pub allowed_resources: Vec<String>,
    /// The same for the URIs of resources.
    #[serde(default)]
    pub denied_resources: Vec<String>,
    /// The same for namespaced names of prompts.
    #[serde(default)]
    pub allowed_prompts: Vec<String>,
    /// The same for namespaced names of prompts.
    #[serde(default)]
    pub denied_prompts: Vec<String>,
}

impl PolicyTest {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let all = [
            &self.allowed,
            &self.denied,
            &self.allowed_resources,
            &self.denied_resources,
            &self.allowed_prompts,
            &self.denied_prompts,
        ];
        all.iter().all(|names| names.is_empty())
    }
}

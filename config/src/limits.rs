//! How often callers may do what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Glob, Rate};

/// How often something may happen. All limits that fit a call count for it, and it is charged to all of them or to none.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What callers and operators know it by, `[a-z][a-z0-9-]*`, at most 64 characters, and none twice.
    pub name: String,
    /// The namespaced names of the tools it is for, as a pattern; for all of them where this is left out.
    #[serde(default = "Limit::all", rename = "match")]
    pub pattern: Glob,
    /// What has a count of its own.
    pub per: Per,
    /// For `per: role`: the role.
    #[serde(default)]
    pub role: Option<String>,
    /// How many calls in the long run. Some tools cost more than one (`cost`).
    pub rate: Rate,
    /// How many at once after a rest. Not stated: as many as `rate` has. In any time `t` no more than `burst` and `rate` times `t` get through.
    #[serde(default)]
    pub burst: Option<u64>,
    /// What becomes of calls while Redis, which counts for all replicas, cannot be asked.
    #[serde(default)]
    pub redis_gone: RedisGone,
}

impl Limit {
    fn all() -> Glob {
        Glob::new("*")
    }
}

/// What has a count of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each caller: issuer, subject and tenant. Cached answers count too.
    Caller,
    /// All callers of one tenant that have `role`, together. Cached answers count too.
    Role,
    /// Each tenant. Cached answers count too.
    Tenant,
    /// Each caller at each tool. Cached answers count too.
    CallerTool,
    /// Each tenant at each tool. Cached answers count too.
    TenantTool,
    /// Each tool, whoever calls it. Answers out of the cache are free: what is protected is the downstream.
    Tool,
    /// Each downstream, whoever calls whichever of its tools. Answers out of the cache are free.
    Downstream,
    /// Each address from which wrong credentials come. Over it they are answered with 429 instead of 401; right ones still work. Such a limit
    /// has no `match`. Without one it is 20 a minute.
    Address,
}

/// What becomes of calls while Redis cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedisGone {
    /// Each replica lets through its share: the limit divided by the replicas that were last seen.
    #[default]
    LocalShare,
    /// They are refused.
    Closed,
    /// They are let through uncounted.
    Open,
}

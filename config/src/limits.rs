//! How often callers may do what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Glob, Period, Rate};

/// The limit of wrong credentials where the config has no other.
pub const FAILED_LOGINS: &str = "failed-logins";
/// The limit of calls that are refused for what they ask: unknown or denied tools, arguments that do not fit.
pub const REFUSED_CALLS: &str = "refused-calls";
/// The longest name of a limit.
pub const NAME_LENGTH_MAX: usize = 64;
/// The highest rate, in a second.
pub const RATE_MAX: u64 = 100_000;
/// The largest burst.
pub const BURST_MAX: u64 = u32::MAX as u64;

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

    /// How many at once after a rest.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst.unwrap_or(self.rate.amount)
    }

    /// What counts wrong credentials where the config has no limit `per: address`: 20 a minute for each address.
    #[must_use]
    pub fn failed_logins() -> Self {
        Self {
            name: FAILED_LOGINS.to_owned(),
            pattern: Self::all(),
            per: Per::Address,
            role: None,
            rate: Rate { amount: 20, per: Period::s(60).0 },
            burst: None,
            redis_gone: RedisGone::LocalShare,
        }
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
    /// Each tenant; callers without one count together, as one more. Cached answers count too.
    Tenant,
    /// Each caller at each tool. Cached answers count too.
    CallerTool,
    /// Each tenant at each tool. Cached answers count too.
    TenantTool,
    /// Each tool, whoever calls it. Answers out of the cache are free: what is protected is the downstream.
    Tool,
    /// Each downstream, whoever calls whichever of its tools. Answers out of the cache are free.
    Downstream,
    /// Each address from which wrong credentials come, be it at the callers' listener or at the operator's; a network of 64 bits is one
    /// address of IPv6. Over it they are answered with 429 instead of 401; right ones still work. Such a limit has no `match`. Without one it
    /// is 20 a minute, under the name `failed-logins`.
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

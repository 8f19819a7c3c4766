//! The Redis that replicas share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Period, SecretRef};

/// The Redis that replicas share: version 7 or later, or Valkey. Without it each process keeps everything in its own
/// memory. While it cannot be reached Weir goes on with that memory, says so, and tries again at least once a second.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Where its address is: `redis://user:password@host:6379/0`, or `rediss://…` over TLS, which trusts what this system trusts. For
    /// `sentinel` and `cluster` the addresses of several of them, separated by commas: one without user and password has those of the
    /// first that has some.
    pub url: SecretRef,
    /// A second one, of the same kind, for what must not be forgotten early: limits, permits and what is kept of writes. Its `maxmemory-policy` must
    /// be `noeviction`. Not stated: the first one holds that too.
    #[serde(default)]
    pub state_url: Option<SecretRef>,
    /// What answers there.
    #[serde(default)]
    pub kind: RedisKind,
    /// For `sentinel`: what the sentinels call the server.
    #[serde(default)]
    pub master_name: Option<String>,
    /// For `sentinel`: the user of the servers, where they ask for one.
    #[serde(default)]
    pub server_user: Option<String>,
    /// For `sentinel`: the password of the servers, where they ask for one.
    #[serde(default)]
    pub server_password: Option<SecretRef>,
    /// What every key and channel of Weir begins with: 1 to 40 of `a-z`, `0-9`, `:`, `_` and `-`. Installations that share a Redis need one
    /// each.
    #[serde(default = "Redis::prefix")]
    pub prefix: String,
    /// How long connecting may take. At most 30 s.
    #[serde(default = "Redis::connect_timeout")]
    pub connect_timeout: Period,
    /// How long a small command may take. After three in a row that took longer none is tried for a second. At most 1 s.
    #[serde(default = "Redis::command_timeout")]
    pub command_timeout: Period,
    /// How long a command that carries a cached value may take. At least `command_timeout`, at most 10 s.
    #[serde(default = "Redis::value_timeout")]
    pub value_timeout: Period,
}

/// What answers at the address of a Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedisKind {
    /// One server.
    #[default]
    Single,
    /// Sentinels, which know the server. After it has failed the one that took its place is used.
    Sentinel,
    /// Servers of a cluster. Name several, so that one of them is there.
    Cluster,
}

impl Redis {
    fn prefix() -> String {
        "weir".to_owned()
    }

    fn connect_timeout() -> Period {
        Period::s(1)
    }

    fn command_timeout() -> Period {
        Period::ms(50)
    }

    fn value_timeout() -> Period {
        Period::ms(500)
    }
}

/// Whether every key may begin with it. Braces would decide where a key of a cluster lies.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":_-".contains(&byte);
    (1..=40).contains(&prefix.len()) && prefix.bytes().all(fits)
}

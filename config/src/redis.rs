//! The Redis that replicas share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Period, SecretRef};

/// The Redis that replicas share. Without it each process keeps everything in its own memory.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Where its address is: `redis://user:password@host:6379/0`, or `rediss://…` over TLS. For `sentinel` and `cluster` the addresses
    /// of several of them, separated by commas.
    pub url: SecretRef,
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
    /// What every key and channel of Weir begins with.
    #[serde(default = "Redis::prefix")]
    pub prefix: String,
    /// How long connecting may take.
    #[serde(default = "Redis::connect_timeout")]
    pub connect_timeout: Period,
    /// How long a small command may take. After three that took longer none is tried for a second.
    #[serde(default = "Redis::command_timeout")]
    pub command_timeout: Period,
    /// How long a command that carries a cached value may take.
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
    /// Sentinels, which know the server.
    Sentinel,
    /// Servers of a cluster.
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

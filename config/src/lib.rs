//! The model of `weir.yaml`: one file per section, defaults written out, every mistake reported with its place.
//!
//! [`load`] reads a file and returns either a [`Config`] that holds together or every problem found in it at once.
//! This is the only crate that reads the environment.

pub mod audit;
pub mod cache;
mod check;
pub mod definitions;
mod document;
mod dotenv;
pub mod downstream;
pub mod effect;
pub mod environment;
pub mod glob;
pub mod identity;
pub mod limits;
mod load;
pub mod log;
pub mod masking;
pub mod name;
mod nearest;
pub mod network;
pub mod operations;
mod outbound;
pub mod policy;
mod problem;
pub mod redis;
pub mod reference;
pub mod secret;
pub mod server;
mod sources;
mod surroundings;
pub mod tag;
mod typed;
pub mod units;
pub mod views;
mod web;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use audit::Audit;
pub use cache::Cache;
pub use definitions::Definitions;
pub use downstream::{Downstream, Tool};
pub use effect::Effect;
pub use glob::Glob;
pub use identity::{Combine, Identity, KeyRecord};
pub use limits::{Limit, Per, RedisGone};
pub use load::{Loaded, Step, load, parse};
pub use log::Log;
pub use masking::Masking;
pub use name::{DownstreamName, Names};
pub use nearest::nearest;
pub use network::Network;
pub use operations::Operations;
pub use outbound::Outbound;
pub use policy::Policy;
pub use problem::{Problem, Problems};
pub use redis::Redis;
pub use secret::{SecretRef, Secrets};
pub use server::{Deadlines, Server};
pub use sources::{Fetched, Sources};
pub use surroundings::Surroundings;
pub use tag::TagTemplate;
pub use units::{ByteSize, Period, Rate};
pub use views::View;

/// The whole of `weir.yaml`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where Weir listens, and how it treats connections.
    pub server: Server,
    /// How long a call may take.
    pub deadlines: Deadlines,
    /// The Redis that replicas share. Without it each process keeps everything in its own memory.
    pub redis: Option<Redis>,
    /// The master secret from which every key of Weir's own is derived.
    pub secrets: Secrets,
    /// Who may speak to Weir, and how they prove it.
    pub identity: Identity,
    /// How tool names are formed.
    pub names: Names,
    /// The systems Weir calls, by name. A name is `[a-z][a-z0-9-]*`; `weir` is reserved.
    pub downstreams: IndexMap<DownstreamName, Downstream>,
    /// Where the connections that Weir makes may lead.
    pub outbound: Outbound,
    /// What all cached tools share.
    pub cache: Cache,
    /// How often callers may do what.
    pub limits: Vec<Limit>,
    /// What is kept of writes.
    pub operations: Operations,
    /// Who may call what. Nothing is allowed that no role allows.
    pub policy: Policy,
    /// What callers may not see of what they get.
    pub masking: Masking,
    /// Named subsets of what a caller may see, each at `/mcp/<name>`. A name is `[a-z][a-z0-9-]*`.
    pub views: IndexMap<String, View>,
    /// Whether callers are shown tools whose definitions nobody has looked at.
    pub definitions: Definitions,
    /// Where the audit records go.
    pub audit: Audit,
    /// What Weir writes to its log on stderr.
    pub log: Log,
}

//! The cache tier as callers and downstreams see it: several `weir serve` on one real Redis.
//!
//! Every test has a count that shows that what it is about did happen; without that it fails, for it would prove nothing.
#![allow(clippy::needless_pass_by_value, reason = "a test writes JSON in its place")]

mod faults;
mod kinds;
mod meaning;
mod never;
mod one_fetch;
mod principals;
mod shared_values;
mod source;
mod stale;
mod writes;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::redis::{PrivateRedis, RedisOptions};
use tempfile::TempDir;
use tests::{Answer, Fleet};
use tokio::sync::OnceCell;

use self::source::Source;

/// One for all tests that do not break theirs; each has a prefix of its own.
static REDIS: OnceCell<PrivateRedis> = OnceCell::const_new();

/// What all replicas derive their keys from.
const MASTER: &str = "5f0c2a9d7be14863a1d09e47c3b85f6290e4d1ab77c86f35";

/// Replicas in front of one downstream, and a caller who may use everything.
struct Scene {
    fleet: Fleet,
    source: Source,
    key: String,
}

/// What a call gave.
#[derive(Debug, Clone)]
struct Got {
    /// The result of `tools/call`.
    result: Value,
    is_error: bool,
    /// The value and the number of the read that an answer of [`Source`] has.
    value: Option<u64>,
    fetch: Option<u64>,
    /// What the answer says of itself, where it came out of the cache.
    mark: Option<Value>,
}

impl Scene {
    /// So many replicas on the Redis that tests share, with these tools (`cache` of each read is its own) of a [`Source`].
    async fn start(replicas: usize, prefix: &str, tools: Value) -> Result<Self> {
        let redis = REDIS.get_or_try_init(|| PrivateRedis::start(RedisOptions::default())).await?;
        Self::start_on(redis, replicas, prefix, tools).await
    }

    /// The same on a Redis of its own.
    async fn start_on(redis: &PrivateRedis, replicas: usize, prefix: &str, tools: Value) -> Result<Self> {
        Self::start_with(&redis.url(), redis_settings(prefix), replicas, tools).await
    }

    /// The same with these settings of `redis`, and this address.
    async fn start_with(url: &str, redis: Value, replicas: usize, tools: Value) -> Result<Self> {
        Self::start_beside(&[], url, redis, replicas, tools).await
    }

    /// The same with these files, by name and content, beside the config.
    async fn start_beside(
        files: &[(&str, &str)],
        url: &str,
        redis: Value,
        replicas: usize,
        tools: Value,
    ) -> Result<Self> {
        let (source, dir) = (Source::start().await?, tempfile::tempdir()?);
        for (name, content) in files {
            tests::private_file(dir.path().join(name), content)?;
        }
        let key = tests::keys(dir.path(), &[("someone", &["all"])])?.remove(0);
        let config = config(&source, url, dir.path(), redis, tools)?;
        let fleet = Fleet::start(replicas, dir, config).await?;
        Ok(Self { fleet, source, key })
    }

    /// Calls a tool of the source at one replica.
    async fn call(&self, replica: usize, tool: &str, arguments: Value) -> Result<Got> {
        Got::of(&self.fleet.call(replica, &self.key, &format!("source__{tool}"), arguments).await?)
    }

    /// Calls a tool of the source at any replica.
    async fn call_any(&self, tool: &str, arguments: Value) -> Result<Got> {
        Got::of(&self.fleet.call_any(&self.key, &format!("source__{tool}"), arguments).await?)
    }

    /// What `get` says of a key at one replica.
    async fn get(&self, replica: usize, key: &str) -> Result<Got> {
        self.call(replica, "get", json!({ "key": key })).await
    }
}

impl Got {
    fn of(answer: &Answer) -> Result<Self> {
        let result = answer.result()?;
        let own = &result["structuredContent"];
        let mark = result["_meta"].get("weir/cache").cloned();
        let (value, fetch) = (own["value"].as_u64(), own["fetch"].as_u64());
        Ok(Self { is_error: result["isError"] == true, value, fetch, mark, result })
    }

    /// An answer without an error.
    fn good(self) -> Result<Self> {
        ensure!(!self.is_error, "an error: {}", self.result);
        Ok(self)
    }

    /// `fresh`, `stale_on_error`, …; nothing where it came from the downstream.
    fn state(&self) -> Option<&str> {
        self.mark.as_ref()?["state"].as_str()
    }

    fn age_ms(&self) -> Result<u64> {
        self.mark.as_ref().context("not out of the cache")?["age_ms"].as_u64().context("an age")
    }

    /// All its texts, one a line.
    fn texts(&self) -> String {
        let texts = self.result["content"].as_array().into_iter().flatten().filter_map(|item| item["text"].as_str());
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// The config of a replica; keys are in `keys.yaml`.
fn config(source: &Source, url: &str, dir: &std::path::Path, redis: Value, tools: Value) -> Result<Value> {
    tests::private_file(dir.join("redis_url"), url)?;
    tests::private_file(dir.join("master"), MASTER)?;
    Ok(json!({
        "secrets": { "master": { "file": "master" } },
        "redis": redis,
        "cache": { "strict": ["strict"], "lease": "1s" },
        "identity": { "api_keys": { "file": "keys.yaml" } },
        "policy": { "roles": { "all": { "allow": ["*"] }, "other": { "allow": ["*"] } } },
        "downstreams": { "source": {
            "mainframe": {
                "base_url": source.url,
                "concurrency": 100,
                "error_screens": [{ "json": { "at": "/refused", "equals": true }, "means": "rejected" }],
            },
            // What the cache makes of failures is seen here, whatever becomes of those that follow.
            "breaker": { "failures_in_a_row": 1000, "attempts_min": 1000 },
            "tools": tools,
        } },
    }))
}

/// With more time than a Redis beside the replicas needs, since all of them share two busy cores here. Whoever gives up on Redis goes on
/// alone, and then nothing is shared.
fn redis_settings(prefix: &str) -> Value {
    json!({ "url": { "file": "redis_url" }, "prefix": prefix, "command_timeout": "1s", "value_timeout": "2s" })
}

/// A tool that reads the value of a key.
fn reads(cache: Value) -> Value {
    json!({
        "effect": "read",
        "request": { "path": "/value/{key}" },
        "arguments": { "key": { "type": "string" } },
        "cache": cache,
    })
}

/// A tool that sets the value of a key.
fn writes_to(tags: &[&str]) -> Value {
    json!({
        "effect": "idempotent_write",
        "request": { "method": "PUT", "path": "/value/{key}/{value}" },
        "arguments": { "key": { "type": "string" }, "value": { "type": "integer" } },
        "invalidates": tags,
    })
}

/// A cache long enough for every answer to be fresh to the end of its test.
fn long() -> Value {
    json!({ "fresh_for": "10m" })
}

fn folder_with_keys(holders: &[(&str, &[&str])]) -> Result<(TempDir, Vec<String>)> {
    let dir = tempfile::tempdir()?;
    let keys = tests::keys(dir.path(), holders)?;
    Ok((dir, keys))
}

//! Several replicas and one approval.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use standins::redis::{PrivateRedis, RedisOptions};
use tempfile::TempDir;
use tests::{Fleet, keys, until};

use super::{Server, house, lock, tool};

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_on_one_replica_counts_on_all_and_after_a_restart() -> Result<()> {
    let (before, now) = (tool("get", "Before."), tool("get", "Now."));
    let server = Server::start(std::slice::from_ref(&before)).await?;
    let redis = PrivateRedis::start(RedisOptions::default()).await?;
    let dir = TempDir::new()?;
    lock(dir.path(), &[before])?;
    let key = keys(dir.path(), &[("alice", &["all"])])?.pop().context("a key")?;
    tests::private_file(dir.path().join("redis_url"), redis.url())?;
    tests::private_file(dir.path().join("master"), "5d1e0c84b7f2a6934e08d17cb52f96a0c3e87b41f6d209ae")?;
    let mut config = house(&server, &json!({ "lock": "weir.lock" }));
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["secrets"] = json!({ "master": { "file": "master" } });
    config["redis"] = json!({ "url": { "file": "redis_url" }, "command_timeout": "1s", "value_timeout": "2s" });
    let mut fleet = Fleet::start(3, dir, config).await?;
    let shows = async |fleet: &Fleet, replica: usize| -> Result<bool> {
        let list = fleet.modern(replica, &key, "tools/list", json!({})).await?.result()?;
        Ok(list["tools"].as_array().context("tools")?.iter().any(|tool| tool["name"] == "pay__get"))
    };
    for replica in 0..fleet.len() {
        until("it is listed", async || Ok(shows(&fleet, replica).await?.then_some(()))).await?;
    }
    server.offer(&[now]);
    let mut held = Value::Null;
    for replica in 0..fleet.len() {
        held = until("it is held back", async || {
            let told = fleet.admin(replica, Method::GET, "/admin/definitions", "").await?.json()?;
            Ok(told["held"].get(0).cloned())
        })
        .await?;
        ensure!(!shows(&fleet, replica).await?);
    }
    let body = json!({ "name": "pay__get", "digest": held["digest"] }).to_string();
    let approved = fleet.admin(0, Method::POST, "/admin/definitions/approve", &body).await?;
    ensure!(approved.json()?["reached"] == "everywhere", "{approved:?}");
    for replica in 0..fleet.len() {
        until("it is shown everywhere", async || Ok(shows(&fleet, replica).await?.then_some(()))).await?;
        let answer = fleet.call(replica, &key, "pay__get", json!({})).await?;
        ensure!(answer.result()?["isError"] != true, "{answer:?}");
    }
    fleet.start_again(1).await?;
    until("the one that restarted shows it too", async || Ok(shows(&fleet, 1).await?.then_some(()))).await?;

    // The file with the approval in it needs no Redis.
    let exported = fleet.admin(2, Method::GET, "/admin/definitions/lock", "").await?.json()?;
    let text = exported["lock"].as_str().context("a lock file")?;
    ensure!(text.contains("Now.") && !text.contains("Before."), "{text}");
    redis.command(&["FLUSHALL"]).await?;
    for replica in 0..fleet.len() {
        until("what Redis lost is held back", async || Ok((!shows(&fleet, replica).await?).then_some(()))).await?;
    }
    std::fs::write(fleet.folder().join("weir.lock"), text)?;
    for replica in 0..fleet.len() {
        until("the new lock file counts", async || Ok(shows(&fleet, replica).await?.then_some(()))).await?;
    }
    Ok(())
}

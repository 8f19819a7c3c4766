//! A credential that is taken back: it works at no replica any more, and what it began ends.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
    redis::{PrivateRedis, RedisOptions},
};
use tempfile::TempDir;
use tests::{Events, TestRouter, until};

/// Two replicas with key files of their own, which hold the same keys.
struct Scene {
    server: RawServer,
    redis: PrivateRedis,
    folders: [std::path::PathBuf; 2],
    routers: [TestRouter; 2],
    keys: Vec<String>,
    config: Value,
}

impl Scene {
    async fn new() -> Result<Self> {
        let server = RawServer::start(Era::LegacyOnly, |message: &Incoming| match message.method.as_deref() {
            Some("tools/list") => {
                Some(vec![Action::result(message, r#"{"tools":[{"name":"read","inputSchema":{"type":"object"}}]}"#)])
            }
            Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[{"type":"text","text":"kept"}]}"#)]),
            _ => None,
        })
        .await?;
        let redis = PrivateRedis::start(RedisOptions::default()).await?;
        let mut config = tests::open_house(&[("raw", &server.url)]);
        config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
        config["redis"] = json!({ "url": { "file": "redis_url" }, "command_timeout": "1s", "value_timeout": "5s" });
        config["secrets"] = json!({ "master": { "file": "master" } });
        config["downstreams"]["raw"]["tools"] = json!({ "read": { "cache": { "fresh_for": "1h" } } });
        let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let keys = tests::keys(one.path(), &[("ann", &["all"]), ("bob", &["all"])])?;
        tests::private_file(other.path().join("keys.yaml"), fs::read(one.path().join("keys.yaml"))?)?;
        let folders = [&one, &other].map(|folder| folder.path().to_owned());
        let routers = [started(one, &redis, &config).await?, started(other, &redis, &config).await?];
        Ok(Self { server, redis, folders, routers, keys, config })
    }

    fn id(&self, key: usize) -> &str {
        &self.keys[key][5..13]
    }
}

async fn started(folder: TempDir, redis: &PrivateRedis, config: &Value) -> Result<TestRouter> {
    tests::private_file(folder.path().join("redis_url"), redis.url())?;
    tests::private_file(folder.path().join("master"), "0f5c2e7a91d84b36a7e0c1d2f3b49586")?;
    TestRouter::ready_in(folder, &config.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_one_replica_revokes_is_refused_by_all_and_its_stream_ends() -> Result<()> {
    let scene = Scene::new().await?;
    let [one, other] = &scene.routers;
    for (router, key) in [(one, &scene.keys[0]), (other, &scene.keys[0]), (other, &scene.keys[1])] {
        ensure!(router.call(Some(key), "raw__read", json!({})).await?.status == 200);
    }
    let mut streams = Vec::new();
    for key in &scene.keys {
        let session = other.session(Some(key), "2025-06-18").await?;
        let headers = [("authorization", format!("Bearer {key}")), ("mcp-session-id", session)];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let headers = [headers[0], headers[1], ("accept", "text/event-stream")];
        streams.push(Events::of(other.raw_get(&headers).await?)?);
    }

    let answer = one.admin_post("/admin/keys/revoke", json!({ "id": scene.id(0) })).await?;
    ensure!(answer.json()? == json!({ "id": scene.id(0), "reached": "everywhere", "recorded": true }), "{answer:?}");
    // What is cached for it is of no use to it either.
    for router in [one, other] {
        until("the key is refused", async || {
            Ok((router.call(Some(&scene.keys[0]), "raw__read", json!({})).await?.status == 401).then_some(()))
        })
        .await?;
    }
    ensure!(streams[0].next().await?.is_none(), "its stream ends");
    ensure!(other.call(Some(&scene.keys[1]), "raw__read", json!({})).await?.status == 200, "the other key works");
    until("the other replica has written it down", async || {
        Ok(fs::read_to_string(scene.folders[1].join("keys.yaml"))?.contains("revoked:").then_some(()))
    })
    .await?;

    // Neither a Redis that forgot everything, nor a replica that comes back with an old file, lets it in again.
    scene.redis.command(&["FLUSHALL"]).await?;
    let late = tempfile::tempdir()?;
    let old = fs::read_to_string(scene.folders[0].join("keys.yaml"))?;
    let old: String = old.lines().filter(|line| !line.contains("revoked:")).map(|line| format!("{line}\n")).collect();
    tests::private_file(late.path().join("keys.yaml"), old)?;
    let late = started(late, &scene.redis, &scene.config).await?;
    until("the late replica is told", async || {
        Ok((late.call(Some(&scene.keys[0]), "raw__read", json!({})).await?.status == 401).then_some(()))
    })
    .await?;
    ensure!(
        scene.server.received().iter().filter(|message| message.method.as_deref() == Some("tools/call")).count() <= 4
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_when_a_key_was_used_last_at_any_replica() -> Result<()> {
    let scene = Scene::new().await?;
    let [one, other] = &scene.routers;
    let keys = async || Ok::<_, anyhow::Error>(one.admin("/admin/keys").await?.json()?["keys"].clone());
    ensure!(keys().await?[0]["last_used"].is_null());
    other.call(Some(&scene.keys[0]), "raw__read", json!({})).await?;
    let seen = until("the use is known", async || {
        let keys = keys().await?;
        Ok(keys[0]["last_used"].is_string().then_some(keys))
    })
    .await?;
    ensure!(seen[1]["last_used"].is_null() && seen[0]["id"] == scene.id(0), "{seen}");
    ensure!(!seen.to_string().contains("hash"), "{seen}");
    for (body, status) in [(json!({ "id": "nosuchid" }), 404), (json!({}), 400), (json!({ "id": 1 }), 400)] {
        let answer = one.admin_post("/admin/keys/revoke", body).await?;
        ensure!(answer.status == status, "{answer:?}");
        answer.json()?["detail"].as_str().context("what to do")?;
    }
    Ok(())
}

//! A Redis for what must not be forgotten, beside the one that caches.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
    redis::{PrivateRedis, RedisOptions},
};
use tests::{TestRouter, until};

async fn keys_of(redis: &PrivateRedis, pattern: &str) -> Result<usize> {
    let script = format!("return #redis.call('KEYS', '{pattern}')");
    Ok(usize::try_from(redis.command(&["EVAL", &script, "0"]).await?.integer()?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_permits_are_kept_apart_from_the_cache_and_their_loss_is_told() -> Result<()> {
    let (cache, mut state) =
        (PrivateRedis::start(RedisOptions::default()).await?, PrivateRedis::start(RedisOptions::default()).await?);
    state.command(&["CONFIG", "SET", "maxmemory", "50mb"]).await?;
    state.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await?;
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let tools = json!([{ "name": "get", "inputSchema": { "type": "object" } }]);
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[{"type":"text","text":"fine"}]}"#)]),
        _ => None,
    })
    .await?;
    let dir = tempfile::tempdir()?;
    tests::private_file(dir.path().join("redis_url"), cache.url())?;
    tests::private_file(dir.path().join("state_url"), state.url())?;
    tests::private_file(dir.path().join("master"), "5d1e0c84b7f2a6934e08d17cb52f96a0c3e87b41f6d209ae")?;
    let mut config = tests::open_house(&[("raw", &server.url)]);
    config["secrets"] = json!({ "master": { "file": "master" } });
    config["redis"] = json!({
        "url": { "file": "redis_url" }, "state_url": { "file": "state_url" },
        "command_timeout": "1s", "value_timeout": "2s",
    });
    config["limits"] = json!([{ "name": "calls", "per": "tool", "rate": "10/d", "redis_gone": "closed" }]);
    config["downstreams"]["raw"]["calls_max_shared"] = json!(2);
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let call = async || router.call(None, "raw__get", json!({})).await?.result();

    ensure!(call().await?["isError"] != true);
    ensure!(keys_of(&state, "*limit-downstream-raw*").await? > 0, "counted in the one");
    assert_eq!(keys_of(&cache, "*limit-*").await?, 0, "and not in the other");
    let says = async |words: &str| {
        until("readiness says it", async || {
            let ready = router.admin("/readyz").await?;
            Ok(ready.text.contains(words).then_some(()))
        })
        .await
        .with_context(|| words.to_owned())
    };
    says("the Redis of redis.state_url may evict what must be kept").await?;
    state.kill().await?;
    says("the Redis of redis.state_url is ").await?;
    let refused = call().await?;
    ensure!(refused["isError"] == true && refused["_meta"]["weir/limit"]["name"] == "calls", "{refused}");
    state.restart().await?;
    until("calls are counted again", async || Ok((call().await?["isError"] != true).then_some(()))).await
}

//! What those hear who listen, and what becomes of keys.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Events, TestRouter, keys, open_house, write_keys};

use super::{names, server};

const CHANGED: &str = "notifications/tools/list_changed";

/// A router for the holders of keys, each with a role of its own name.
async fn scene(holders: &[&str]) -> Result<(TestRouter, Value, Vec<String>, standins::raw::RawServer)> {
    let (server, _) = server().await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    let role = |name: &&str| (name.to_string(), json!({ "allow": ["*"] }));
    config["policy"] = json!({ "roles": holders.iter().map(role).collect::<serde_json::Map<_, _>>() });
    let dir = tempfile::tempdir()?;
    let roles: Vec<[&str; 1]> = holders.iter().map(|name| [*name]).collect();
    let roles: Vec<(&str, &[&str])> = holders.iter().zip(&roles).map(|(name, roles)| (*name, &roles[..])).collect();
    let made = keys(dir.path(), &roles)?;
    Ok((TestRouter::ready_in(dir, &config.to_string()).await?, config, made, server))
}

async fn listen(router: &TestRouter, key: &str) -> Result<Events> {
    let session = router.session(Some(key), "2025-11-25").await?;
    let authorization = format!("Bearer {key}");
    let headers =
        [("accept", "text/event-stream"), ("mcp-session-id", session.as_str()), ("authorization", &authorization)];
    Events::of(router.raw_get(&headers).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn those_hear_of_a_change_whose_list_is_another_one() -> Result<()> {
    let (router, mut config, keys, _server) = scene(&["ann", "bob"]).await?;
    let (mut ann, mut bob) = (listen(&router, &keys[0]).await?, listen(&router, &keys[1]).await?);
    config["policy"]["roles"]["ann"]["allow"] = json!(["raw__work"]);
    router.change(&config.to_string()).await?;
    ensure!(ann.next().await?.context("a message")?["method"] == CHANGED);
    ensure!(names(&router, Some(&keys[0])).await? == ["raw__work"]);
    config["policy"]["roles"]["bob"]["allow"] = json!(["raw__wait"]);
    router.change(&config.to_string()).await?;
    ensure!(bob.next().await?.context("a message")?["method"] == CHANGED);
    // Of the first change he heard nothing: there is one message, and it is of the second.
    ensure!(names(&router, Some(&keys[1])).await? == ["raw__wait"]);
    config["policy"]["roles"]["ann"]["allow"] = json!(["*"]);
    router.change(&config.to_string()).await?;
    ensure!(ann.next().await?.context("a message")?["method"] == CHANGED);
    router.running().begin_drain();
    router.stop().await;
    ensure!(bob.next().await?.is_none(), "one message too many");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_removed_opens_nothing_and_its_stream_ends() -> Result<()> {
    let (router, config, keys, _server) = scene(&["ann", "bob"]).await?;
    let (mut ann, mut bob) = (listen(&router, &keys[0]).await?, listen(&router, &keys[1]).await?);
    let text = std::fs::read_to_string(router.dir.path().join("keys.yaml"))?;
    let mut records = serde_json::from_str::<Value>(&text)?["keys"].as_array().context("keys")?.clone();
    let removed = records.remove(0);
    write_keys(router.dir.path(), &records)?;
    router.change(&config.to_string()).await?;
    ensure!(ann.next().await?.is_none(), "the stream of a removed key goes on");
    ensure!(router.call(Some(&keys[0]), "raw__work", json!({})).await?.status == 401);
    ensure!(router.call(Some(&keys[1]), "raw__work", json!({})).await?.status == 200);

    // Another key under the id of one that was removed is another credential.
    let mut other = removed.clone();
    other["hash"] = json!("1".repeat(64));
    let mut bobs = records[0].clone();
    bobs["hash"] = json!("2".repeat(64));
    write_keys(router.dir.path(), &[other, bobs])?;
    router.change(&config.to_string()).await?;
    ensure!(bob.next().await?.is_none(), "the stream of a replaced key goes on");
    Ok(())
}

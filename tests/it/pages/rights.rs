//! Who gets the next part, and who hears of the tool for it.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use standins::redis::{PrivateRedis, RedisOptions, Reply};
use tests::{Ask, TestRouter};

use super::{NEXT_PAGE, Scene, Surface, config, items, next, server, shared_dir, texts};

/// The names that a caller is shown in `tools/list`, and over the plain API in both forms.
async fn listed(router: &TestRouter, key: &str) -> Result<[Vec<String>; 3]> {
    let names = |list: &Value| -> Vec<String> {
        let names = list.as_array().into_iter().flatten().map(|tool| tool["name"].as_str().unwrap_or_default());
        names.map(str::to_owned).collect()
    };
    let by_mcp = router.ask(&Ask::modern("tools/list", json!({})).key(key)).await?.result()?;
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    let plain = router.send(Method::GET, "/v1/tools", &headers, "").await?.json()?;
    let messages = router.send(Method::GET, "/v1/tools?format=anthropic", &headers, "").await?.json()?;
    Ok([names(&by_mcp["tools"]), names(&plain["tools"]), names(&messages)])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_is_listed_only_for_who_can_get_a_long_answer() -> Result<()> {
    let scene = Scene::new().await?;
    let names = ["closed", "failed", "log", "open", "short", "story"].map(|name| format!("raw__{name}"));
    let all: Vec<String> = names.into_iter().chain([NEXT_PAGE.to_owned()]).collect();
    for list in listed(&scene.router, &scene.keys[0]).await? {
        ensure!(list == all, "{list:?}");
    }
    for list in listed(&scene.router, &scene.keys[2]).await? {
        ensure!(list == ["raw__short"], "{list:?}");
    }
    // For whom it is not there, it looks like any tool that is unknown.
    for surface in
        [Ask::call(NEXT_PAGE, json!({ "handle": "x" })), Ask::legacy_call(NEXT_PAGE, &json!({ "handle": "x" }))]
    {
        let refused = scene.router.ask(&surface.key(&scene.keys[2])).await?;
        ensure!(refused.error_code() == Some(-32602) && refused.text.contains("Unknown tool"), "{refused:?}");
    }
    let line = scene.router.admin("/admin/tools").await?.json()?;
    let line = line["tools"].as_array().into_iter().flatten().find(|line| line["name"] == NEXT_PAGE);
    ensure!(line.is_some_and(|line| line["downstream"] == "weir" && line["effect"] == "read"), "{line:?}");
    let downstreams = scene.router.admin("/admin/downstreams").await?.json()?;
    ensure!(downstreams["downstreams"].as_array().map(Vec::len) == Some(1), "Weir is no downstream: {downstreams}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_budget_there_is_no_such_tool() -> Result<()> {
    let server = server(std::sync::Arc::default()).await?;
    let router = TestRouter::ready(&tests::open_house(&[("raw", &server.url)]).to_string()).await?;
    let list = router.ask(&Ask::modern("tools/list", json!({}))).await?;
    ensure!(!list.text.contains(NEXT_PAGE), "{list:?}");
    let refused = router.call(None, NEXT_PAGE, json!({ "handle": "x" })).await?;
    ensure!(refused.error_code() == Some(-32602), "{refused:?}");
    let whole = router.call(None, "raw__log", json!({})).await?.result()?;
    ensure!(texts(&whole)[0] == super::log_text(), "answers are given whole");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_is_worth_nothing_to_anybody_else() -> Result<()> {
    let scene = Scene::new().await?;
    for surface in Surface::ALL {
        let first = surface.call(&scene.router, scene.key(0), "raw__log", json!({})).await?;
        let handle = next(&first).context("a handle")?;
        let mut refusals = Vec::new();
        // Another caller; the same one with other roles; handles that never were.
        for (key, handle) in
            [(1, handle.as_str()), (3, &handle), (0, "unknown"), (0, ""), (0, &handle[1..]), (0, &format!("{handle}A"))]
        {
            let refused = surface.call(&scene.router, scene.key(key), NEXT_PAGE, json!({ "handle": handle })).await?;
            ensure!(refused["isError"] == true && refused.get("structuredContent").is_none(), "{refused}");
            refusals.push(refused);
        }
        ensure!(refusals.iter().all(|refused| refused == &refusals[0]), "all look the same: {refusals:?}");
        let second = surface.call(&scene.router, scene.key(0), NEXT_PAGE, json!({ "handle": handle })).await?;
        let again = surface.call(&scene.router, scene.key(0), NEXT_PAGE, json!({ "handle": handle })).await?;
        ensure!(second["isError"] != true && second == again, "it may be asked for again: {second}");
    }
    let misfit = scene.router.call(scene.key(0), NEXT_PAGE, json!({ "page": 2 })).await?.result()?;
    ensure!(misfit["isError"] == true && texts(&misfit)[0].contains("handle"), "{misfit}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_leaves_its_record() -> Result<()> {
    let scene = Scene::new().await?;
    let parts = Surface::Modern.all(&scene.router, scene.key(0), "raw__log", json!({})).await?;
    let refused = scene.router.call(scene.key(1), NEXT_PAGE, json!({ "handle": next(&parts[0]) })).await?.result()?;
    ensure!(refused["isError"] == true, "{refused}");
    scene.router.call(scene.key(2), NEXT_PAGE, json!({ "handle": "x" })).await?;
    let records = scene.router.records().await?;
    ensure!(records.len() == parts.len() + 2, "{} records of {} parts", records.len(), parts.len());
    ensure!(records[0]["outcome"] == "denied" && records[0]["subject"] == "cleo", "{}", records[0]);
    ensure!(records[1]["outcome"] == "tool_error" && records[1]["subject"] == "bob", "{}", records[1]);
    for record in &records[2..records.len() - 1] {
        ensure!(record["downstream"] == "weir" && record["local_name"] == "next_page", "{record}");
        ensure!(record["outcome"] == "ok" && record["effect"] == "read" && record["rule"].is_string(), "{record}");
    }
    let text = serde_json::to_string(&records)?;
    ensure!(!text.contains(&next(&parts[0]).context("a handle")?), "no handle stands in a record");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_replica_serves_the_next_part() -> Result<()> {
    let mut redis = PrivateRedis::start(RedisOptions::default()).await?;
    let server = server(std::sync::Arc::default()).await?;
    let mut config = config(&server);
    config["secrets"] = json!({ "master": { "file": "master" } });
    config["redis"] = json!({ "url": { "file": "redis_url" }, "command_timeout": "1s", "value_timeout": "2s" });
    config["identity"] = json!({ "local": { "roles": ["all"] } });
    let (one, two) = (shared_dir(&redis.url())?, shared_dir(&redis.url())?);
    let one = TestRouter::ready_in(one, &config.to_string()).await?;
    let two = TestRouter::ready_in(two, &config.to_string()).await?;
    // Each connects in its own time.
    let handle = tests::until("a part of one is known to the other", async || {
        let first = Surface::Modern.call(&one, None, "raw__closed", json!({})).await?;
        let handle = next(&first).context("a handle")?;
        let second = Surface::Modern.call(&two, None, NEXT_PAGE, json!({ "handle": handle })).await?;
        Ok((second["isError"] != true).then_some((first, handle)))
    })
    .await?;
    let (mut part, _) = handle;
    let mut all = Vec::new();
    for replica in [&two, &one].into_iter().cycle() {
        all.extend(part["structuredContent"]["items"].as_array().cloned().unwrap_or_default());
        let Some(handle) = next(&part) else { break };
        part = Surface::Modern.call(replica, None, NEXT_PAGE, json!({ "handle": handle })).await?;
    }
    ensure!(all == items(), "{} items", all.len());
    // Nothing of it lies there for whoever reads Redis, nothing for longer than it is promised, and nothing changed is served.
    let last = next(&Surface::Modern.call(&one, None, "raw__closed", json!({})).await?).context("a handle")?;
    let keys = redis.command(&["KEYS", "weir:*}p"]).await?.list()?;
    ensure!(!keys.is_empty(), "nothing lies there");
    for key in keys {
        let key = key.bytes()?;
        let left_ms = redis.command(&[b"PTTL".as_slice(), &key]).await?.integer()?;
        ensure!((1..=300_000).contains(&left_ms), "{left_ms}");
        let held = redis.command(&[b"HGETALL".as_slice(), &key]).await?.list()?;
        let held: Vec<Vec<u8>> = held.into_iter().map(Reply::bytes).collect::<Result<_>>()?;
        ensure!(held.len() >= 6, "{} pages", held.len() / 2);
        for pair in held.chunks_exact(2) {
            let text = String::from_utf8_lossy(&pair[1]);
            ensure!(!text.contains("item") && !text.contains("weir"), "it can be read: {text}");
            let mut changed = pair[1].clone();
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
            redis.command(&[b"HSET".as_slice(), &key, &pair[0], &changed]).await?;
        }
    }
    for replica in [&one, &two] {
        let refused = Surface::Modern.call(replica, None, NEXT_PAGE, json!({ "handle": last })).await?;
        ensure!(refused["isError"] == true && texts(&refused)[0].contains("no next part"), "{refused}");
    }
    // Without Redis each serves its own.
    let shared = next(&Surface::Modern.call(&one, None, "raw__closed", json!({})).await?).context("a handle")?;
    redis.kill().await?;
    let gone = Surface::Modern.call(&one, None, NEXT_PAGE, json!({ "handle": shared })).await?;
    ensure!(gone["isError"] == true && texts(&gone)[0].contains("Try again in a few seconds"), "{gone}");
    let parts = Surface::Modern.all(&one, None, "raw__closed", json!({})).await?;
    ensure!(parts.iter().all(|part| part["isError"] != true) && parts.len() > 3, "{parts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_no_longer_use_a_tool_gets_no_more_of_its_answers() -> Result<()> {
    let redis = PrivateRedis::start(RedisOptions::default()).await?;
    let server = server(std::sync::Arc::default()).await?;
    let mut config = config(&server);
    config["secrets"] = json!({ "master": { "file": "master" } });
    config["redis"] = json!({ "url": { "file": "redis_url" }, "command_timeout": "1s", "value_timeout": "2s" });
    config["identity"] = json!({ "local": { "roles": ["all"] } });
    let before = TestRouter::ready_in(shared_dir(&redis.url())?, &config.to_string()).await?;
    // The same roles, under a policy of which one of them allows less.
    config["policy"]["roles"]["all"]["deny"] = json!(["raw__closed"]);
    let after = TestRouter::ready_in(shared_dir(&redis.url())?, &config.to_string()).await?;
    let handle_of = async |tool: &str| {
        let first = Surface::Modern.call(&before, None, tool, json!({})).await?;
        next(&first).context("a handle")
    };
    tests::until("a part of one is known to the other", async || {
        let second = Surface::Modern.call(&after, None, NEXT_PAGE, json!({ "handle": handle_of("raw__log").await? }));
        Ok((second.await?["isError"] != true).then_some(()))
    })
    .await?;
    let handle = handle_of("raw__closed").await?;
    for surface in Surface::ALL {
        let served = surface.call(&before, None, NEXT_PAGE, json!({ "handle": handle })).await?;
        ensure!(served["isError"] != true, "{served}");
        let refused = surface.call(&after, None, NEXT_PAGE, json!({ "handle": handle })).await?;
        ensure!(refused["isError"] == true && texts(&refused)[0].contains("no next part"), "{refused}");
        let unknown = surface.call(&after, None, NEXT_PAGE, json!({ "handle": "unknown" })).await?;
        ensure!(refused == unknown, "both look the same: {refused} {unknown}");
    }
    Ok(())
}

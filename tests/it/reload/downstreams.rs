//! What becomes of downstreams when the config changes.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;
use tests::{TestRouter, open_house, until};

use super::{is_unknown, names, server};
use crate::cli::binary;

fn lists(server: &standins::raw::RawServer) -> usize {
    server.received().iter().filter(|message| message.method.as_deref() == Some("tools/list")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downstream_that_did_not_change_is_neither_connected_to_nor_listed_anew() -> Result<()> {
    let ((same, _), (changed, _), (new, _)) = (server().await?, server().await?, server().await?);
    let mut config = open_house(&[("changed", &changed.url), ("same", &same.url)]);
    let router = TestRouter::ready(&config.to_string()).await?;
    let before = names(&router, None).await?;
    let (listed, connected) = (lists(&same), same.heads().len());

    config["downstreams"]["changed"]["deadline"] = json!("7s");
    config["downstreams"]["new"] = open_house(&[("new", &new.url)])["downstreams"]["new"].clone();
    router.change(&config.to_string()).await?;
    // Right after it is in force, and without waiting for anything.
    let after = names(&router, None).await?;
    ensure!(before.iter().all(|name| after.contains(name)) && after.contains(&"new__work".to_owned()), "{after:?}");
    for tool in ["same__work", "changed__work", "new__work"] {
        ensure!(router.call(None, tool, json!({})).await?.result()?["isError"].is_null(), "{tool}");
    }
    ensure!((lists(&same), same.heads().len()) == (listed, connected));
    ensure!(lists(&changed) == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_removed_downstream_finishes_and_then_its_connection_ends() -> Result<()> {
    let ((removed, go_on), (stays, _)) = (server().await?, server().await?);
    let both = open_house(&[("removed", &removed.url), ("stays", &stays.url)]);
    let router = TestRouter::ready(&both.to_string()).await?;
    let call = router.call(None, "removed__wait", json!({}));
    let change = async {
        removed.wait_until(|seen| seen.iter().any(|message| message.tool().as_deref() == Some("wait"))).await?;
        router.change(&open_house(&[("stays", &stays.url)]).to_string()).await?;
        ensure!(is_unknown(&router.call(None, "removed__work", json!({})).await?));
        ensure!(names(&router, None).await? == ["stays__wait", "stays__work"]);
        ensure!(removed.connections_open() == 1, "its call still runs");
        go_on.notify_one();
        Ok(())
    };
    let (called, changed) = tokio::join!(call, change);
    changed?;
    ensure!(called?.result()?["content"] == json!([]));
    until("its connection has ended", async || Ok((removed.connections_open() == 0).then_some(()))).await?;
    let metrics = router.admin("/metrics").await?.text;
    ensure!(!metrics.contains("weir_downstream_up{downstream=\"removed\"}"), "{metrics}");
    ensure!(metrics.contains("weir_downstream_up{downstream=\"stays\"} 1"), "{metrics}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_before_and_after_a_change_share_the_places_of_their_downstream() -> Result<()> {
    let (server, go_on) = server().await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"]["calls_max"] = json!(1);
    config["downstreams"]["raw"]["line"] = json!({ "max": 0 });
    let router = TestRouter::ready(&config.to_string()).await?;
    let call = router.call(None, "raw__wait", json!({}));
    let change = async {
        server.wait_until(|seen| seen.iter().any(|message| message.tool().as_deref() == Some("wait"))).await?;
        config["downstreams"]["raw"]["deadline"] = json!("7s");
        router.change(&config.to_string()).await?;
        let refused = router.call(None, "raw__work", json!({})).await?.result()?;
        ensure!(refused["isError"] == true && refused["_meta"]["weir/limit"].is_object(), "{refused}");
        go_on.notify_one();
        Ok(())
    };
    let (called, changed) = tokio::join!(call, change);
    changed?;
    ensure!(called?.result()?["content"] == json!([]));
    until("the place is free", async || {
        Ok(router.call(None, "raw__work", json!({})).await?.result()?["isError"].is_null().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_of_a_changed_downstream_that_does_not_answer_stay() -> Result<()> {
    let (server, _) = server().await?;
    let config = open_house(&[("raw", &server.url)]);
    let router = TestRouter::ready(&config.to_string()).await?;
    server.stop().await;
    let mut changed = config.clone();
    changed["downstreams"]["raw"]["deadline"] = json!("1s");
    router.change(&changed.to_string()).await?;
    ensure!(names(&router, None).await? == ["raw__wait", "raw__work"]);
    let answer = router.call(None, "raw__work", json!({})).await?.result()?;
    ensure!(answer["isError"] == true, "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_processes_of_a_removed_downstream_are_gone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (program, tally) = (binary::standins().display().to_string(), folder.path().display().to_string());
    let command = [program.as_str(), "mcp", "--stdio", "--awkward", "--tally", &tally];
    let mut config = open_house(&[]);
    config["downstreams"]["child"] = json!({ "mcp": { "stdio": { "command": command } } });
    let router = TestRouter::ready(&config.to_string()).await?;
    ensure!(router.call(None, "child__echo", json!({ "token": "t" })).await?.result()?["isError"] != true);
    let id_of = |name: &str| name.strip_suffix(".json").map(str::to_owned);
    let files = std::fs::read_dir(folder.path())?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let ids: Vec<String> = files.collect::<Result<Vec<_>>>()?.iter().filter_map(|name| id_of(name)).collect();
    // One that has ended and that nobody asked about yet has no command line.
    let is_there = |id: &String| {
        std::fs::read(Path::new("/proc").join(id).join("cmdline")).is_ok_and(|command| !command.is_empty())
    };
    ensure!(!ids.is_empty() && ids.iter().all(is_there), "{ids:?}");
    router.change(&open_house(&[]).to_string()).await?;
    until("they are gone", async || Ok((!ids.iter().any(is_there)).then_some(()))).await
}

//! The signals and the files of a real process.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, RawServer},
};
use tests::{Fleet, keys, open_house, until};
use tokio::sync::Notify;

use super::server;

/// One process, the key of somebody who may use everything, and its config as it stands in the file.
async fn process(server: &RawServer, settings: Value) -> Result<(Fleet, String, Value)> {
    let dir = tempfile::tempdir()?;
    let keys = keys(dir.path(), &[("ann", &["all"])])?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["server"] = settings;
    let fleet = Fleet::start(1, dir, config).await?;
    let config = serde_json::from_str(&std::fs::read_to_string(fleet.folder().join("weir.yaml"))?)?;
    Ok((fleet, keys[0].clone(), config))
}

/// As editors and deployments do it.
fn replace(folder: &Path, text: &str) -> Result<()> {
    std::fs::write(folder.join("weir.yaml.new"), text)?;
    Ok(std::fs::rename(folder.join("weir.yaml.new"), folder.join("weir.yaml"))?)
}

async fn count(fleet: &Fleet, result: &str) -> Result<f64> {
    fleet.metric(0, "weir_config_reloads_total", &format!("result=\"{result}\"")).await
}

async fn becomes(fleet: &Fleet, result: &str, awaited: f64) -> Result<()> {
    let what = format!("{awaited} reloads are {result}");
    until(&what, async || Ok((count(fleet, result).await? >= awaited).then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_and_a_hangup_have_the_config_read_again() -> Result<()> {
    let (server, _) = server().await?;
    let (fleet, key, mut config) = process(&server, json!({})).await?;
    let is_there =
        async |tool: &str| anyhow::Ok(fleet.call(0, &key, tool, json!({})).await?.error_code() != Some(-32602));
    ensure!(is_there("raw__work").await?);

    config["policy"]["roles"]["all"]["allow"] = json!(["raw__wait"]);
    replace(fleet.folder(), &config.to_string())?;
    becomes(&fleet, "applied", 1.0).await?;
    ensure!(!is_there("raw__work").await?);

    replace(fleet.folder(), "policy: [")?;
    becomes(&fleet, "refused", 1.0).await?;
    ensure!(!is_there("raw__work").await?);
    ensure!(fleet.metric(0, "weir_config_last_reload_success", "").await? == 0.0);
    until("the log has the place", async || {
        let log = fleet.log(0);
        Ok((log.contains("the config is refused") && log.contains("weir.yaml:1:")).then_some(()))
    })
    .await?;

    config["policy"]["roles"]["all"]["allow"] = json!(["*"]);
    replace(fleet.folder(), &config.to_string())?;
    becomes(&fleet, "applied", 2.0).await?;
    ensure!(is_there("raw__work").await?);

    fleet.signal(0, "HUP").await?;
    becomes(&fleet, "applied", 3.0).await?;
    ensure!(fleet.metric(0, "weir_config_last_reload_success", "").await? == 1.0);

    // The key file is a part of the config: who is no longer in it is let in no more, not even to what is cached.
    tests::write_keys(fleet.folder(), &[])?;
    until("the key opens nothing", async || {
        Ok((fleet.call(0, &key, "raw__work", json!({})).await?.status == 401).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_signal_lets_calls_finish_and_a_hangup_changes_nothing_then() -> Result<()> {
    let (server, go_on) = server().await?;
    let (mut fleet, key, mut config) = process(&server, json!({ "grace": "1s", "drain": "20s" })).await?;
    config["policy"]["roles"]["all"]["allow"] = json!(["raw__work"]);
    let call = fleet.call(0, &key, "raw__wait", json!({}));
    let ending = async {
        server.wait_until(|seen| seen.iter().any(|message| message.tool().as_deref() == Some("wait"))).await?;
        fleet.signal(0, "TERM").await?;
        until("readiness fails", async || {
            let ready = fleet.admin(0, Method::GET, "/readyz", "").await?;
            Ok((ready.status == 503 && ready.text == "draining\n").then_some(()))
        })
        .await?;
        // In the grace new work is still taken, and its connection is not used again.
        let answer = fleet.call(0, &key, "raw__work", json!({})).await?;
        ensure!(answer.status == 200 && answer.headers["connection"] == "close", "{answer:?}");
        replace(fleet.folder(), &config.to_string())?;
        fleet.signal(0, "HUP").await?;
        let answer = fleet.call(0, &key, "raw__work", json!({})).await?;
        ensure!(answer.status == 200, "{answer:?}");
        ensure!(count(&fleet, "applied").await? == 0.0);
        go_on.notify_one();
        Ok(())
    };
    let (called, ended) = tokio::join!(call, ending);
    ended?;
    ensure!(called?.result()?["content"] == json!([]));
    ensure!(fleet.ended(0).await?.success(), "{}", fleet.log(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_signal_ends_at_once_and_what_was_cut_off_is_in_the_audit_log() -> Result<()> {
    let never = Arc::new(Notify::new());
    let server = RawServer::start(Era::ModernOnly, move |message| match message.method.as_deref() {
        Some("tools/list") => {
            Some(vec![Action::result(message, r#"{"tools":[{"name":"wait","inputSchema":{"type":"object"}}]}"#)])
        }
        Some("tools/call") => Some(vec![Action::Wait(never.clone())]),
        _ => None,
    })
    .await?;
    let dir = tempfile::tempdir()?;
    let keys = keys(dir.path(), &[("ann", &["all"])])?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["server"] = json!({ "grace": "5m", "drain": "5m" });
    config["audit"] = json!({ "dir": "audit" });
    let mut fleet = Fleet::start(1, dir, config).await?;
    let key = &keys[0];
    let status = {
        let call = fleet.call(0, key, "raw__wait", json!({}));
        let ending = async {
            server.wait_until(|seen| seen.iter().any(|message| message.tool().is_some())).await?;
            fleet.signal(0, "TERM").await?;
            until("readiness fails", async || {
                Ok((fleet.admin(0, Method::GET, "/readyz", "").await?.status == 503).then_some(()))
            })
            .await?;
            fleet.signal(0, "TERM").await
        };
        let (called, ended) = tokio::join!(call, ending);
        ended?;
        ensure!(called.is_err(), "a call that was cut off has an answer");
        tokio::time::timeout(Duration::from_secs(5), fleet.ended(0)).await.context("it does not end at once")??
    };
    ensure!(status.code() == Some(128 + 15), "{status}");
    let records = tests::log::calls(&fleet.folder().join("audit"))?;
    ensure!(records.len() == 1 && records[0]["outcome"] == "abandoned", "{records:?}");
    Ok(())
}

//! Every call leaves exactly one final record, whatever becomes of it, and no secret is in it; a write leaves one before it is sent.

mod counted;
mod disk;
mod rotation;

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, hang_up, log, open_house};

/// Stands in every argument, looks like a secret, and is in no record.
const CANARY: &str = "ghp_7f3ak2m9qxC4n8rYb6TzQw1sLd5VhJp0XeGk";

#[tokio::test(flavor = "multi_thread")]
async fn every_call_leaves_one_record_that_says_what_became_of_it() -> Result<()> {
    let (server, folder) = (server().await?, tempfile::tempdir()?);
    let dir = folder.path().join("audit");
    let mut config = open_house(&[("raw", &server.url)]);
    config["audit"] = json!({ "dir": dir });
    config["policy"]["roles"]["all"]["deny"] = json!(["raw__denied"]);
    config["downstreams"]["raw"]["effects"] =
        json!([{ "match": "*_write", "effect": "write" }, { "match": "*", "effect": "read" }]);
    config["downstreams"]["raw"]["tools"] = json!({ "hang": { "deadline": "10m" }, "late": { "deadline": "50ms" } });
    config["downstreams"]["raw"]["calls_max"] = json!(2);
    config["downstreams"]["raw"]["line"] = json!({ "max": 0 });
    let router = TestRouter::ready(&config.to_string()).await?;
    let session = router.session(None, "2025-11-25").await?;
    let arguments = json!({ "text": CANARY, "n": 1 });
    let call = |name: &str| Ask::call(&format!("raw__{name}"), arguments.clone());

    let mut expected = Vec::new();
    for (ask, outcome) in [
        (call("fine"), "ok"),
        (call("fails"), "tool_error"),
        (call("refuses"), "rejected"),
        (call("denied"), "denied"),
        (call("nobody"), "unknown_tool"),
        (Ask::call("raw__fine", json!({ "text": CANARY, "n": CANARY })), "invalid_arguments"),
        (call("late"), "timeout"),
        (call("nonsense"), "protocol"),
        (call("hang_up_write"), "outcome_unknown"),
    ] {
        router.downstreams_until(|all| all[0]["health"] == "up").await?;
        router.ask(&ask.token(CANARY)).await?;
        expected.push(outcome);
    }
    let until_up = async || {
        tests::until("it answers", async || {
            Ok((router.ask(&call("fine")).await?.result()?["isError"] != true).then_some(()))
        })
        .await
    };
    until_up().await?;
    let before = router.records().await?.len();

    let (one, two) = (router.knock(&call("hang")).await?, router.knock(&call("hang")).await?);
    server
        .wait_until(|all| all.iter().filter(|message| message.tool().as_deref() == Some("hang")).count() == 2)
        .await?;
    router.ask(&call("fine")).await?;
    hang_up(one).await?;
    hang_up(two).await?;
    tests::until("both are abandoned", async || Ok((router.records().await?.len() == before + 3).then_some(())))
        .await?;
    expected.extend(["queue_full", "abandoned", "abandoned"]);

    let taken_back = Ask::legacy_call("raw__hang", &arguments).session(&session).id(CANARY);
    let cancel = Ask::notification("notifications/cancelled", &json!({ "requestId": CANARY })).session(&session);
    let cancelling = async {
        server
            .wait_until(|all| all.iter().filter(|message| message.tool().as_deref() == Some("hang")).count() == 3)
            .await?;
        router.ask(&cancel).await
    };
    let (answer, cancelled) = tokio::join!(router.ask(&taken_back), cancelling);
    answer?;
    cancelled?;
    expected.push("cancelled");

    let mut records = router.records().await?;
    records.reverse();
    let told: Vec<_> = records.iter().map(|record| record["outcome"].as_str().unwrap_or_default()).collect();
    // Those that asked whether it is up again stand between.
    let (first, rest) = (&told[..9], &told[before..]);
    ensure!(first == &expected[..9] && rest == &expected[9..], "{told:?}\n{expected:?}");
    for record in &records {
        ensure!(!record.to_string().contains(CANARY), "{record}");
        for member in ["time", "request_id", "trace_id", "subject", "asked", "surface", "outcome", "took_ms"] {
            ensure!(!record[member].is_null(), "{member}: {record}");
        }
        ensure!(
            record["subject"] == "local" && record["roles"] == json!(["all"]) && record["surface"] == "mcp",
            "{record}"
        );
        let judged = !["denied", "unknown_tool"].contains(&record["outcome"].as_str().unwrap_or_default());
        ensure!(record["rule"].is_string() == judged, "{record}");
    }
    let ids: BTreeMap<_, _> = records.iter().map(|record| (record["request_id"].to_string(), ())).collect();
    ensure!(ids.len() == records.len());
    let metrics = router.admin("/metrics").await?.text;
    ensure!(metrics.contains("weir_calls_total") && !metrics.contains(CANARY), "{metrics}");

    router.stop().await;
    for file in fs::read_dir(&dir)? {
        let file = file?;
        ensure!(file.metadata()?.permissions().mode() & 0o777 == 0o600, "{}", file.path().display());
        ensure!(!fs::read_to_string(file.path())?.contains(CANARY), "{}", file.path().display());
    }
    ensure!(fs::metadata(&dir)?.permissions().mode() & 0o777 == 0o700);
    let calls = log::calls(&dir)?;
    ensure!(calls == records, "{} records in the log, {} in memory", calls.len(), records.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_writes_into_a_record_stays_short_and_in_its_place() -> Result<()> {
    let (server, folder) = (server().await?, tempfile::tempdir()?);
    let mut config = open_house(&[("raw", &server.url)]);
    config["audit"] = json!({ "dir": folder.path() });
    let router = TestRouter::ready(&config.to_string()).await?;
    let evil = "raw__fine\"}\n{\"outcome\":\"ok\",\"subject\":\"root\"}\r\n\u{1b}[2J\u{2028}\0";
    for name in [evil.to_owned(), "é".repeat(5_000), String::new()] {
        let client = json!({ "name": format!("\n{{\"x\":1}}{}", "y".repeat(5_000)), "version": "\u{1b}[31m" });
        let ask = Ask::legacy(
            "tools/call",
            &json!({ "name": name, "_meta": { "io.modelcontextprotocol/clientInfo": client } }),
        );
        ensure!(router.ask(&ask).await?.error_code() == Some(-32602) || name.is_empty());
    }
    let modern = Ask::call("raw__fine", json!({})).change(|body| {
        let client = json!({ "name": format!("\n{{}}{}", "y".repeat(5_000)), "version": "\u{1b}[31m" });
        body["params"]["_meta"]["io.modelcontextprotocol/clientInfo"] = client;
    });
    router.ask(&modern).await?;
    let records = router.records().await?;
    router.stop().await;
    let logged = log::calls(folder.path())?;
    ensure!(logged.len() == records.len() && records.len() >= 3, "{logged:?}");
    for record in logged {
        let line = record.to_string();
        ensure!(record["subject"] == "local" && line.len() < 2_000, "{} bytes: {line}", line.len());
        ensure!(record["client"].as_str().is_none_or(|client| !client.contains(['\n', '\u{1b}'])), "{record}");
    }
    ensure!(records.last().context("a record")?["asked"].as_str().is_some_and(|asked| asked == evil));
    Ok(())
}

/// A server with a tool for each way in which a call can end.
async fn server() -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
            let names = ["fine", "fails", "refuses", "denied", "late", "nonsense", "hang", "hang_up_write"];
            let tools: Vec<_> = names.iter().map(|name| json!({ "name": name, "inputSchema": schema })).collect();
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(match message.tool()?.as_str() {
            "fails" => vec![Action::result(message, r#"{"content":[],"isError":true}"#)],
            "refuses" => vec![Action::error(message, -32000, "no")],
            "nonsense" => {
                let id = message.id.as_deref().unwrap_or_default();
                vec![Action::Send(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":5}}"))]
            }
            "hang" | "late" => Vec::new(),
            "hang_up_write" => vec![Action::Drop],
            _ => vec![Action::result(message, r#"{"content":[]}"#)],
        }),
        _ => None,
    })
    .await
}

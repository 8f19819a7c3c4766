//! A downstream that hangs: who called it is told so in time, and nobody else notices.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use standins::{
    mainframe::{Mainframe, MainframeOptions},
    mcp::{McpOptions, McpServer},
};
use tests::{Ask, TestRouter, open_house};
use tokio::task::JoinSet;

const CALLERS: usize = 300;
const CONCURRENCY: usize = 8;
const LINE: usize = 40;
const OTHERS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_a_mainframe_that_hangs_are_told_so_and_nobody_else_notices() -> Result<()> {
    let hour = Duration::from_secs(3600);
    let options = MainframeOptions { delay: hour..=hour, concurrency: CONCURRENCY, ..MainframeOptions::default() };
    let mainframe = Mainframe::start("127.0.0.1:0", options).await?;
    let enrich = McpServer::new(McpOptions::default()).websocket("127.0.0.1:0").await?;
    let mut config = open_house(&[("enrich", &enrich.url)]);
    config["downstreams"]["mainframe"] = json!({
        "mainframe": { "base_url": mainframe.url, "concurrency": CONCURRENCY, "attempt_timeout": "10s" },
        "line": { "max": LINE },
        "tools": { "ask": { "effect": "read", "deadline": "5s", "request": { "path": "/orders/1/status" } } },
    });
    let router = Arc::new(TestRouter::ready(&config.to_string()).await?);
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        let router = router.clone();
        calls.spawn(async move { router.ask(&Ask::call("mainframe__ask", json!({}))).await?.result() });
    }
    // Void, unless it is as busy as it may be.
    mainframe.wait_until(|seen| seen.running == CONCURRENCY).await?;
    for _ in 0..OTHERS {
        let merchant = json!({ "merchant_id": "M-0001" });
        let answer = router.ask(&Ask::call("enrich__get_merchant", merchant)).await?.result()?;
        ensure!(answer["isError"] != true, "{answer}");
    }
    let mut told = Vec::new();
    while let Some(answer) = calls.join_next().await {
        told.push(kind(&answer??));
    }
    // Those that found the line full did not wait for the others.
    let (at_once, in_time) = told.split_at(CALLERS - CONCURRENCY - LINE);
    ensure!(at_once.iter().all(|told| *told == "full"), "{told:?}");
    // A place may be free a moment before the deadline of one that waits, and then it is its answer that does not come in time.
    ensure!(in_time.iter().all(|told| *told != "an answer"), "{in_time:?}");
    let seen = mainframe.wait_until(|seen| seen.running == 0).await?;
    ensure!((seen.over_limit, seen.running_max) == (0, CONCURRENCY), "{} {}", seen.over_limit, seen.running_max);
    let records = router.records().await?;
    let count = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
    ensure!(count("ok") == OTHERS && records.len() == CALLERS + OTHERS, "{} of {}", count("ok"), records.len());
    ensure!(
        count("timeout") >= CONCURRENCY && count("queue_full") >= at_once.len(),
        "{} {}",
        count("timeout"),
        count("queue_full")
    );
    let waited = records.iter().filter(|record| !record["queued_ms"].is_null()).count();
    ensure!(waited == LINE, "{waited}");
    Ok(())
}

fn kind(answer: &Value) -> &'static str {
    let text = answer["content"][0]["text"].as_str().unwrap_or_default();
    match text {
        _ if answer["isError"] != true => "an answer",
        _ if text.contains("this one could not start in time") => "full",
        _ => "no answer",
    }
}

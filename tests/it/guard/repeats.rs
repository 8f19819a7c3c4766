//! Which attempts are repeated, and which never.

use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    mainframe::{Mainframe, MainframeOptions},
    raw::{Action, Incoming, RawServer},
};
use tests::{TestRouter, open_house, until};

use super::{call, metric, router, sick};

fn attempts(record: &Value) -> Vec<String> {
    let attempts = record["attempts"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let one = |attempt: &Value| [&attempt["outcome"], &attempt["sent"], &attempt["because"]].map(text).join(" ");
    attempts.map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_asked_again_where_that_does_no_harm() -> Result<()> {
    for (tool, expected, not_repeated) in [
        ("get", vec!["busy yes -", "ok yes read"], json!(null)),
        ("put", vec!["busy unknown -", "ok yes idempotent"], json!(null)),
        ("write", vec!["busy unknown -"], json!("may_have_happened")),
    ] {
        let (server, ill_for) = sick("503 Service Unavailable").await?;
        ill_for.store(1, Ordering::Release);
        let router = router("sick-once", &server.url, json!({})).await?;
        let (result, record) = call(&router, &format!("sick-once__{tool}")).await?;
        ensure!(attempts(&record) == expected && record["not_repeated"] == not_repeated, "{tool}: {record}");
        ensure!(server.heard().len() == expected.len(), "{tool}: {} requests", server.heard().len());
        ensure!((result["isError"] == true) == (tool == "write"), "{tool}: {result}");
        ensure!(tool != "write" || record["outcome"] == "outcome_unknown", "{record}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_write_whose_first_attempt_is_in_doubt_stays_in_doubt() -> Result<()> {
    let (server, ill_for) = sick("503 Service Unavailable").await?;
    ill_for.store(2, Ordering::Release);
    let router = router("in-doubt", &server.url, json!({})).await?;
    let (_, record) = call(&router, "in-doubt__put").await?;
    ensure!(record["outcome"] == "outcome_unknown", "{record}");
    ensure!(attempts(&record).len() == 2 && record["not_repeated"] == "attempts_max", "{record}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_took_is_sent_again_and_done_once() -> Result<()> {
    let server = Mainframe::start("127.0.0.1:0", MainframeOptions::default()).await?;
    let submit = json!({ "effect": "write", "request": { "method": "POST", "path": "/batch/jobs", "body": { "form": { "job": "NIGHTLY" } } } });
    let settings = json!({
        "tools": { "submit": submit },
        "retries": { "attempts_max": 5, "wait_first": "4s", "wait_max": "4s", "budget_per_second": 100 },
    });
    let router = router("refusing", &server.url, settings).await?;
    server.refuse(true).await?;
    let mending = async {
        until("the first attempt failed", async || {
            let labels = [r#"downstream="refusing""#, r#"class="unreachable""#];
            Ok((metric(&router, "weir_attempts_failed_total", &labels).await? > 0.5).then_some(()))
        })
        .await?;
        ensure!(server.seen().jobs.is_empty(), "it was not refused");
        server.refuse(false).await
    };
    let (called, mended) = tokio::join!(call(&router, "refusing__submit"), mending);
    mended?;
    let (result, record) = called?;
    ensure!(result["isError"] != true, "{result}");
    ensure!(server.seen().jobs.len() == 1, "{:?}", server.seen().jobs);
    let attempts = attempts(&record);
    ensure!(attempts.len() >= 2 && attempts[0] == "unreachable no -", "{record}");
    ensure!(attempts.last().context("attempts")? == "ok yes not_sent", "{record}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_end_with_their_budget() -> Result<()> {
    let (server, _) = sick("503 Service Unavailable").await?;
    let settings = json!({
        "retries": { "budget_percent": 10, "budget_per_second": 0, "wait_first": "1ms", "wait_max": "1ms" },
        "breaker": { "failures_in_a_row": 1_000_000, "attempts_min": 1_000_000 },
    });
    let router = router("no-budget", &server.url, settings).await?;
    const CALLS: usize = 100;
    for _ in 0..CALLS {
        router.call(None, "no-budget__get", json!({})).await?;
    }
    let requests = server.heard().len();
    ensure!(requests == CALLS + CALLS / 10, "{requests} requests for {CALLS} calls");
    let labels = [r#"downstream="no-budget""#, r#"reason="budget""#];
    ensure!(metric(&router, "weir_retries_refused_total", &labels).await? as usize == CALLS - CALLS / 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_of_its_tools_lets_no_write_be_repeated_or_cached() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let id = message.id.clone()?;
            let tool = r#"{"name":"work","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true,"idempotentHint":true}}"#;
            let result = format!(r#"{{"resultType":"complete","ttlMs":60000,"cacheScope":"public","tools":[{tool}]}}"#);
            Some(vec![Action::Send(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))])
        }
        Some("tools/call") => Some(vec![Action::Drop]),
        _ => None,
    })
    .await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"]["effects"] = json!([]);
    let router = TestRouter::ready(&config.to_string()).await?;
    let (_, record) = call(&router, "raw__work").await?;
    ensure!(record["outcome"] == "outcome_unknown" && record["not_repeated"] == "may_have_happened", "{record}");
    ensure!(record["cache"].as_str().is_some_and(|cache| cache.contains("write")), "{record}");
    let calls = server.received().iter().filter(|message| message.tool().is_some()).count();
    ensure!(calls == 1, "it was called {calls} times");
    Ok(())
}

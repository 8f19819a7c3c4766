//! One deadline for everything that a call waits for.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use standins::mainframe::{Mainframe, MainframeOptions};
use tests::{Ask, until};

use super::router;
use crate::mainframe::listener::{Heard, Listener, ok};

#[tokio::test(flavor = "multi_thread")]
async fn a_downstream_is_told_how_long_it_is_waited_for() -> Result<()> {
    let server = Listener::start(|_: &Heard| ok("{}")).await?;
    let router = router("told", &server.url, json!({ "deadline": "3s" })).await?;
    router.call(None, "told__get", json!({})).await?;
    let told = server.only()?.header("x-envoy-expected-rq-timeout-ms").context("it was not told")?;
    ensure!((1..=3000).contains(&told.parse::<u64>()?), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_at_its_deadline_and_so_does_its_request() -> Result<()> {
    let options =
        MainframeOptions { delay: Duration::from_secs(600)..=Duration::from_secs(600), ..MainframeOptions::default() };
    let server = Mainframe::start("127.0.0.1:0", options).await?;
    let tools = json!({ "get": { "effect": "read", "request": { "path": "/orders/1/status" } } });
    let router = router("slow", &server.url, json!({ "deadline": "300ms", "tools": tools })).await?;
    let result = router.call(None, "slow__get", json!({})).await?.result()?;
    ensure!(result["isError"] == true, "{result}");
    server.wait_until(|seen| seen.running == 0 && seen.dropped == 1).await?;
    // A caller that goes takes its read back.
    let stream = router.knock(&Ask::call("slow__get", json!({}))).await?;
    drop(stream);
    server.wait_until(|seen| seen.running == 0).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_others_wait_for_goes_on_and_who_left_is_told_so() -> Result<()> {
    let options =
        MainframeOptions { delay: Duration::from_secs(2)..=Duration::from_secs(2), ..MainframeOptions::default() };
    let server = Mainframe::start("127.0.0.1:0", options).await?;
    let tools = json!({ "get": {
        "effect": "read", "request": { "path": "/orders/1/status" }, "cache": { "fresh_for": "10m", "partition": "shared" },
    } });
    let router = router("shared-slow", &server.url, json!({ "tools": tools })).await?;
    let hurried = router.send(
        http::Method::POST,
        "/v1/tools/call",
        &[("content-type", "application/json")],
        json!({ "name": "shared-slow__get", "arguments": {}, "timeout_ms": 200 }).to_string(),
    );
    let patient = async {
        server.wait_until(|seen| seen.running == 1).await?;
        router.call(None, "shared-slow__get", json!({})).await
    };
    let (hurried, patient) = tokio::join!(hurried, patient);
    let text = hurried?.text;
    ensure!(text.contains("It is still being asked: the same call a little later may find its answer."), "{text}");
    ensure!(patient?.result()?["isError"] != true);
    let seen = server.seen();
    ensure!(seen.requests.iter().filter(|request| request.target.starts_with("/orders")).count() == 1, "{seen:?}");
    ensure!(seen.dropped == 0, "the fetch was dropped with its starter");
    until("its answer is in the cache", async || {
        let result = router.call(None, "shared-slow__get", json!({})).await?.result()?;
        Ok((result["_meta"]["weir/cache"]["state"] == "fresh").then_some(()))
    })
    .await
}

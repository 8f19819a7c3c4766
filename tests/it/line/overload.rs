//! A process that does not keep up: some calls are refused at once, and whatever frees it or tells how it is goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use standins::mcp::{McpOptions, McpServer};
use tests::{Ask, TestRouter, open_house, until};

/// At once.
const CALLS: usize = 100;

/// All of the router runs on this one thread, and something else takes it for itself most of the time.
#[tokio::test]
async fn a_process_that_does_not_keep_up_refuses_calls_and_nothing_else() -> Result<()> {
    let enrich = McpServer::new(McpOptions::default()).websocket("127.0.0.1:0").await?;
    let router = TestRouter::ready(&open_house(&[("enrich", &enrich.url)]).to_string()).await?;
    let call = Ask::call("enrich__get_merchant", json!({ "merchant_id": "M-0001" }));
    ensure!(router.ask(&call).await?.result()?["isError"] != true);

    let busy = Arc::new(AtomicBool::new(true));
    let occupying = tokio::spawn({
        let busy = busy.clone();
        async move {
            while busy.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(120));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    // A few calls are always let in.
    let refused = until("a call is refused", async || {
        for answer in join_all((0..CALLS).map(|_| router.ask(&call))).await {
            let answer = answer?;
            if answer.result()?["isError"] == true {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    })
    .await?;
    let result = refused.result()?;
    ensure!(result["_meta"]["weir/limit"]["name"] == "Weir" && refused.headers["retry-after"] == "1", "{refused:?}");
    ensure!(result["content"][0]["text"].as_str().is_some_and(|text| text.contains("Nothing was sent")), "{result}");
    for _ in 0..5 {
        ensure!(router.ask(&Ask::modern("tools/list", json!({}))).await?.status == 200);
        ensure!(router.admin("/healthz").await?.status == 200 && router.admin("/readyz").await?.status == 200);
    }
    let headers = [("content-type", "application/json")];
    let body = r#"{"name":"enrich__get_merchant","arguments":{"merchant_id":"M-0001"}}"#;
    let refused = until("a call is refused on the plain API", async || {
        for answer in join_all((0..CALLS).map(|_| router.send(Method::POST, "/v1/tools/call", &headers, body))).await {
            let answer = answer?;
            if answer.status != 200 {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    })
    .await?;
    ensure!(refused.status == 503 && refused.headers["retry-after"] == "1", "{refused:?}");

    busy.store(false, Ordering::Relaxed);
    occupying.await?;
    until("all calls are answered", async || {
        for answer in join_all((0..CALLS / 5).map(|_| router.ask(&call))).await {
            if answer?.result()?["isError"] == true {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await?;
    let records = router.records().await?;
    let shed = records.iter().filter(|record| record["outcome"] == "overloaded").count();
    ensure!(
        shed >= 2
            && records.iter().all(|record| ["ok", "overloaded"].contains(&record["outcome"].as_str().unwrap_or("")))
    );
    Ok(())
}

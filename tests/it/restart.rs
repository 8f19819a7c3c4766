//! Start and stop: callers come back before the router knows a list, and leave calls and streams open when it ends.

mod rolling;

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, RawServer},
};
use tests::{TestRouter, open_house};
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_and_a_list_right_after_the_start_wait_for_the_first_lists() -> Result<()> {
    let ask = Arc::new(Notify::new());
    let held = ask.clone();
    let server = RawServer::start(Era::ModernOnly, move |message| match message.method.as_deref() {
        Some("tools/list") => Some(vec![
            Action::Wait(held.clone()),
            Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#),
        ]),
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await?;
    let router = TestRouter::start(&open_house(&[("raw", &server.url)]).to_string()).await?;
    let release = async {
        server.wait_until(|seen| seen.iter().any(|message| message.method.as_deref() == Some("tools/list"))).await?;
        ask.notify_one();
        anyhow::Ok(())
    };
    let (called, listed, released) =
        tokio::join!(router.call(None, "raw__work", json!({})), router.modern(None, "tools/list", json!({})), release);
    released?;
    ensure!(called?.result()?["content"] == json!([]));
    let listed = listed?.result()?;
    let names: Vec<&Value> = listed["tools"].as_array().into_iter().flatten().map(|tool| &tool["name"]).collect();
    ensure!(names == [&json!("raw__work")], "{listed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_waits_for_no_stream_and_leaves_a_record_of_what_ran_out_of_time() -> Result<()> {
    let never = Arc::new(Notify::new());
    let server = RawServer::start(Era::ModernOnly, move |message| match message.method.as_deref() {
        Some("tools/list") => {
            Some(vec![Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#)])
        }
        Some("tools/call") => Some(vec![Action::Wait(never.clone())]),
        _ => None,
    })
    .await?;
    let audit = tempfile::tempdir()?;
    for (drain, calls) in [("10m", false), ("200ms", true)] {
        let mut config = open_house(&[("raw", &server.url)]);
        config["server"] = json!({ "grace": "0s", "drain": drain });
        config["audit"] = json!({ "dir": audit.path() });
        let router = TestRouter::ready(&config.to_string()).await?;
        let session = router.session(None, "2025-11-25").await?;
        let url = router.url();
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
        let listen = http::Request::get(&url).header("accept", "text/event-stream").header("mcp-session-id", session);
        let stream = client.request(listen.body(http_body_util::Empty::<bytes::Bytes>::new())?).await?;
        ensure!(stream.status() == 200, "{stream:?}");
        if calls {
            let call = tests::Ask::call("raw__work", json!({}));
            let knock = router.knock(&call).await?;
            server
                .wait_until(|seen| seen.iter().any(|message| message.method.as_deref() == Some("tools/call")))
                .await?;
            tokio::time::timeout(tests::PATIENCE, router.drain()).await?;
            drop(knock);
        } else {
            tokio::time::timeout(tests::PATIENCE, router.drain()).await?;
        }
        drop(stream);
    }
    let records = tests::log::calls(audit.path())?;
    ensure!(records.len() == 1 && records[0]["outcome"] == "abandoned", "{records:?}");
    Ok(())
}

/// The end of the connection is what a GOAWAY comes to at a client that asks nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn over_http2_a_connection_hears_of_the_end_as_the_grace_begins_and_its_calls_finish() -> Result<()> {
    let go_on = Arc::new(Notify::new());
    let held = go_on.clone();
    let server = RawServer::start(Era::ModernOnly, move |message| match message.method.as_deref() {
        Some("tools/list") => {
            Some(vec![Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#)])
        }
        Some("tools/call") => Some(vec![Action::Wait(held.clone()), Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["server"] = json!({ "grace": "5m" });
    let (router, certificate) = tests::secure_router(config).await?;
    ensure!(router.running().catalog_ready(tests::PATIENCE).await);
    let address = router.running().callers;
    let connect = async || {
        let stream = tests::secured(address, &certificate, &[b"h2"]).await?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await?;
        anyhow::Ok((sender, tokio::spawn(connection)))
    };
    let request = |name: &str| {
        let (headers, body) = tests::modern_request(None, "tools/call", json!({ "name": name, "arguments": {} }));
        let request = http::Request::post(format!("https://localhost:{}/mcp", address.port()));
        let request = request.header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        request.body(http_body_util::Full::new(bytes::Bytes::from(body)))
    };
    let (mut sender, connection) = connect().await?;
    let call = tokio::spawn(sender.send_request(request("raw__work")?));
    server.wait_until(|seen| seen.iter().any(|message| message.method.as_deref() == Some("tools/call"))).await?;
    router.running().begin_drain();
    // Whoever comes in the grace is served, on a connection of its own.
    let (mut late, _connection) = connect().await?;
    ensure!(late.send_request(request("raw__unknown")?).await?.status() == 200);
    go_on.notify_one();
    ensure!(tests::harness::read(call.await??).await?.result()?["content"] == json!([]));
    tokio::time::timeout(tests::PATIENCE, connection).await???;
    ensure!(sender.send_request(request("raw__work")?).await.is_err());
    router.stop().await;
    Ok(())
}

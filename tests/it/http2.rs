//! Callers on HTTP/2 that do not read: each stream has a window of its own, which a caller can keep closed while its connection lives.

use std::{future::pending, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use standins::{
    Era,
    raw::{Action, RawServer},
};
use tests::{PATIENCE, TestRouter, modern_request, open_house, secure_router, secured, until};
use tokio::{sync::Notify, task::JoinHandle};

/// The window of a caller that reads next to nothing, in bytes.
const WINDOW: u32 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_at_its_deadline_though_its_caller_reads_nothing() -> Result<()> {
    let never = Arc::new(Notify::new());
    let server = server(move |message| {
        let token = message.params.as_deref().and_then(|params| params.split("\"progressToken\":").nth(1));
        let token = token.and_then(|rest| rest.split([',', '}']).next()).unwrap_or("0").to_owned();
        let progress = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
        );
        vec![Action::Send(progress), Action::Wait(never.clone())]
    })
    .await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"]["deadline"] = json!("300ms");
    let (router, _connection, answer) = deaf(config).await?;
    ensure!(answer.headers()["content-type"] == "text/event-stream", "{answer:?}");
    let record = until("the call has left its record", async || Ok(router.records().await?.into_iter().next())).await?;
    ensure!(record["outcome"] == "timeout", "{record}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_never_read_ends_the_connection() -> Result<()> {
    let large = format!("{{\"content\":[{}]}}", " ".repeat(1 << 20));
    let server = server(move |message| vec![Action::result(message, &large)]).await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["server"] = json!({ "write_timeout": "300ms" });
    let (_router, connection, answer) = deaf(config).await?;
    tokio::time::timeout(PATIENCE, connection).await.context("the connection lives on")??;
    drop(answer);
    Ok(())
}

/// A server with one tool, `work`, whose calls are answered so.
async fn server(work: impl Fn(&standins::raw::Incoming) -> Vec<Action> + Send + Sync + 'static) -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, move |message| match message.method.as_deref() {
        Some("tools/list") => {
            Some(vec![Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#)])
        }
        Some("tools/call") => Some(work(message)),
        _ => None,
    })
    .await
}

/// A router, and a call on HTTP/2 whose caller has seen the head of the answer and reads no further.
async fn deaf(config: serde_json::Value) -> Result<(TestRouter, JoinHandle<()>, Response<Incoming>)> {
    let (router, certificate) = secure_router(config).await?;
    ensure!(router.running().catalog_ready(PATIENCE).await);
    let stream = secured(router.running().callers, &certificate, &[b"h2"]).await?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(async move {
        let _ = connection.await;
    });
    let params = json!({ "name": "raw__work", "arguments": {}, "_meta": { "progressToken": "t" } });
    let (headers, body) = modern_request(None, "tools/call", params);
    let uri = format!("https://localhost:{}/mcp", router.running().callers.port());
    let request = Request::post(uri).header("content-type", "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let answer = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    // The connection must not end because nobody could ask on it any more.
    tokio::spawn(async move {
        let _asks = sender;
        pending::<()>().await;
    });
    Ok((router, connection, answer))
}

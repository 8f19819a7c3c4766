//! Servers that answer what the protocol does not allow, too much, or nothing.

use std::time::Duration;

use adapters::{ErrorClass, Sent};
use anyhow::{Context as _, Result, ensure};
use config::Effect;
use http::Response;
use serde_json::json;
use tokio::time::Instant;

use super::{complete, id_of, modern_server, spawn};
use crate::bridge::script::Script;

const DONE: &str = r#"{"resultType":"complete","content":[]}"#;
const JSON: &str = "application/json";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_named_and_a_write_behind_it_is_not_repeated() -> Result<()> {
    use ErrorClass::{Busy, Protocol, Unauthorized, Unreachable};
    use Sent::{Unknown, Yes};
    let (mut script, adapter) = modern_server(&json!({})).await?;
    let rows = [
        (202, "", "", Protocol, Yes, "HTTP 202 without a message of the protocol"),
        (204, "", "", Protocol, Yes, "HTTP 204"),
        (200, "text/html", "<p>hello</p>", Protocol, Unknown, "neither JSON nor events"),
        (200, "", "", Protocol, Unknown, "neither JSON nor events"),
        (200, JSON, "", Protocol, Unknown, "neither a result nor an error"),
        (200, JSON, "{", Protocol, Unknown, "neither a result nor an error"),
        (200, JSON, r#"{"jsonrpc":"2.0","id":424242,"result":{}}"#, Protocol, Unknown, "neither a result nor an error"),
        (200, JSON, r#"[{"jsonrpc":"2.0","id":ID,"result":{}}]"#, Protocol, Unknown, "neither a result nor an error"),
        (200, JSON, r#"{"jsonrpc":"2.0","id":ID,"result":[]}"#, Protocol, Unknown, "neither a result nor an error"),
        (200, JSON, r#"{"jsonrpc":"2.0","id":ID,"result":{"resultType":"odd"}}"#, Protocol, Unknown, "of a kind"),
        (403, JSON, r#"{"message":"no"}"#, Unauthorized, Yes, "does not accept Weir's credential (HTTP 403)"),
        (404, "text/html", "nothing here", Protocol, Yes, "HTTP 404"),
        (429, "", "", Busy, Yes, "asked too often"),
        (500, JSON, r#"{"message":"oops"}"#, Protocol, Unknown, "HTTP 500"),
        (503, "text/plain", "later", Unreachable, Unknown, "HTTP 503"),
    ];
    for (status, content_type, body, class, sent, told) in rows {
        let call = spawn(&adapter, "pay", Effect::Write);
        let asked = script.post("tools/call").await;
        let body = body.replace("ID", &id_of(&asked).to_string());
        let mut head = Response::builder().status(status).header("retry-after", "7");
        if !content_type.is_empty() {
            head = head.header("content-type", content_type);
        }
        asked.respond(head, body.clone());
        let error = call.await?.err().with_context(|| format!("{status} {body}"))?;
        ensure!((error.class, error.sent) == (class, sent), "{status} {body}: {error:?}");
        ensure!(error.message.contains(told), "{status} {body}: {error}");
        ensure!(status != 429 || error.retry_after == Some(Duration::from_secs(7)), "{error:?}");
    }
    // After the 503 the server is looked at, and nothing was repeated.
    super::answer(script.post("server/discover").await, &super::discovery(false));
    ensure!(script.is_quiet(), "nothing was repeated");
    works(&mut script, &adapter).await
}

/// A redirect is not followed, and no credential goes there.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({})).await?;
    let mut elsewhere = Script::start().await;
    for status in [301, 302, 303, 307, 308] {
        let call = spawn(&adapter, "pay", Effect::Write);
        let target = format!("http://{}/latest/meta-data", elsewhere.address);
        script.post("tools/call").await.respond(Response::builder().status(status).header("location", target), "");
        let error = call.await?.err().context("a result from elsewhere")?;
        ensure!((error.class, error.sent) == (ErrorClass::Protocol, Sent::Yes), "{error:?}");
        ensure!(error.message.contains("Weir does not follow") && !error.message.contains("127.0.0.1"), "{error}");
    }
    ensure!(elsewhere.is_quiet());
    works(&mut script, &adapter).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_behind_a_proxy_is_down() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({})).await?;
    for (status, told) in [(503, None), (502, Some("HTTP 502"))] {
        let call = spawn(&adapter, "echo", Effect::Read);
        script.post("tools/call").await.status(status);
        let error = call.await?.err().context("a result without a server")?;
        ensure!(error.class == ErrorClass::Unreachable, "{error:?}");
        // One such answer may be of that one call; the server itself is asked.
        let look = script.post("server/discover").await;
        match told {
            None => {
                super::answer(look, &super::discovery(false));
                works(&mut script, &adapter).await?;
            }
            Some(told) => {
                look.status(status);
                let state = super::until(&*adapter, adapters::Health::Down).await?;
                ensure!(state.reason.as_deref() == Some(told), "{state:?}");
            }
        }
    }
    super::answer(script.post("server/discover").await, &super::discovery(false));
    super::until(&*adapter, adapters::Health::Up).await?;
    works(&mut script, &adapter).await
}

/// What never ends is cut at the limit, and the failure says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_cut_at_the_limit() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({ "message_bytes_max": "1MiB" })).await?;
    for (content_type, first, filler) in [
        (JSON, "", b' '),
        ("text/event-stream", "data: ", b'x'),
        ("text/event-stream", ":", b'c'),
        ("text/event-stream", "data: a\n", b'\n'),
    ] {
        let call = spawn(&adapter, "echo", Effect::Read);
        let stream = script.post("tools/call").await.pieces(content_type);
        stream.raw(first).await;
        let piece = if filler == b'\n' { b"data: a\n".repeat(8 << 10) } else { vec![filler; 64 << 10] };
        let mut written = 0_usize;
        while written < 1 << 30 && stream.try_raw(piece.clone()).await {
            written += piece.len();
        }
        ensure!(written < 16 << 20, "{written} bytes were taken");
        let error = call.await?.err().context("a result without end")?;
        ensure!(error.class == ErrorClass::TooLarge, "{error:?}");
        ensure!(error.message.contains("more than 1048576 bytes"), "{error}");
    }
    works(&mut script, &adapter).await
}

/// A server that trickles is cut at the attempt's limit, one that falls silent after `idle_timeout`.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_trickles_or_falls_silent_is_cut() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({ "idle_timeout": "300ms" })).await?;
    for (content_type, text) in [(JSON, r#"{"jsonrpc":"#), ("text/event-stream", "data: {")] {
        let started = Instant::now();
        let call = spawn(&adapter, "echo", Effect::Read);
        let stream = script.post("tools/call").await.pieces(content_type);
        stream.raw(text).await;
        let error = call.await?.err().context("a result from half of it")?;
        ensure!(error.class == ErrorClass::Timeout, "{error:?}");
        ensure!(error.message.contains("fell silent for 300 ms"), "{error}");
        ensure!(started.elapsed() < Duration::from_secs(1), "after {:?}", started.elapsed());
        stream.closed().await;
    }
    // Keep-alive comments are signs of life: only the deadline ends this one.
    let started = Instant::now();
    let call = {
        let adapter = std::sync::Arc::clone(&adapter);
        let ctx = tests::contract::context(Duration::from_secs(1));
        tokio::spawn(async move { adapter.call(&ctx, super::quick()).await })
    };
    let stream = script.post("tools/call").await.events();
    while stream.try_raw(": alive\n\n").await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let error = call.await?.err().context("a result from comments")?;
    ensure!(error.class == ErrorClass::Timeout, "{error:?}");
    ensure!((1_000..1_500).contains(&started.elapsed().as_millis()), "after {:?}", started.elapsed());
    works(&mut script, &adapter).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_sending_nonsense_is_given_up() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({})).await?;
    let call = spawn(&adapter, "echo", Effect::Read);
    let stream = script.post("tools/call").await.events();
    while stream.try_raw("data: nonsense\n\n").await {}
    let error = call.await?.err().context("a result from nonsense")?;
    ensure!(error.class == ErrorClass::Protocol, "{error:?}");
    works(&mut script, &adapter).await
}

/// Afterwards calls are answered as before.
async fn works(script: &mut Script, adapter: &std::sync::Arc<dyn adapters::Adapter>) -> Result<()> {
    let call = spawn(adapter, "echo", Effect::Read);
    super::answer(script.post("tools/call").await, DONE);
    complete(call.await?).map(drop)
}

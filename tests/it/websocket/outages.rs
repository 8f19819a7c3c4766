//! A server that goes away, hangs, misbehaves, and comes back.

use std::{sync::Arc, time::Duration};

use adapters::{Adapter, ErrorClass, Health, Sent};
use anyhow::{Context as _, Result, ensure};
use config::Effect;
use serde_json::json;
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Tools},
    proxy::{Fault, FaultProxy},
    raw::{Action, Incoming, RawServer},
};
use tests::contract::context;
use tokio::time::Instant;

use super::{PATIENCE, Secrets, adapter, call, failure, request, until};

fn awkward() -> McpServer {
    McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_found_out_and_replaced() -> Result<()> {
    let server = awkward();
    let running = server.websocket("127.0.0.1:0").await?;
    let proxy = FaultProxy::start(running.addr).await?;
    let url = format!("ws://{}/mcp", proxy.addr());
    let adapter = adapter(&url, &json!({}), &json!({ "ping_every": "300ms", "connect_timeout": "300ms" }))?;
    let in_flight = spawn(&adapter, "slow", Effect::Write);
    server.wait_until(|seen| seen.called("slow") == 1).await?;

    let started = Instant::now();
    proxy.set(Fault::Blackhole).await?;
    let error = in_flight.await?.context("an answer through a black hole")?;
    ensure!((error.class, error.sent) == (ErrorClass::ConnectionLost, Sent::Unknown), "{error:?}");
    // With the default of 8 s this is 16 s.
    ensure!(started.elapsed() < Duration::from_millis(2 * 300 + 400), "found out after {:?}", started.elapsed());
    ensure!(
        error.message == "The connection to enrich ended before it answered: no answer to ping for 300 ms.",
        "{error}"
    );
    let state = until(&*adapter, Health::Down).await?;
    ensure!(state.reason.as_deref().is_some_and(|reason| reason.starts_with("no ")), "{state:?}");

    // While it is known to be down, calls fail at once, naming it.
    let asked = Instant::now();
    let error = failure(&*adapter, &context(PATIENCE), request("echo", &json!({ "token": "t" }), Effect::Read)).await?;
    ensure!(asked.elapsed() < Duration::from_millis(100), "refused after {:?}", asked.elapsed());
    ensure!((error.class, error.sent) == (ErrorClass::Unreachable, Sent::No), "{error:?}");
    ensure!(error.message.starts_with("enrich cannot be reached: no "), "{error}");

    proxy.set(Fault::Pass).await?;
    until(&*adapter, Health::Up).await?;
    call(&*adapter, "echo", &json!({ "token": "t" })).await?;
    Ok(())
}

#[tokio::test]
async fn a_silent_server_that_answers_pings_is_left_alone() -> Result<()> {
    let server = awkward();
    let running = server.websocket("127.0.0.1:0").await?;
    let adapter = adapter(&running.url, &json!({}), &json!({ "ping_every": "50ms" }))?;
    let period = json!({ "ms": 600 });
    let (answer, pinged) = tokio::join!(call(&*adapter, "slow", &period), server.wait_until(|seen| seen.pings >= 3));
    pinged?;
    answer?;
    ensure!(server.seen().connections_total == 1, "the connection was given up");
    Ok(())
}

#[tokio::test]
async fn a_server_that_ignores_pings_is_given_up() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        message.tool()?;
        Some(vec![Action::IgnorePings])
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({ "ping_every": "100ms" }))?;
    let error = failure(&*adapter, &context(PATIENCE), request("any", &json!({}), Effect::Read)).await?;
    ensure!(error.message.ends_with("no answer to ping for 100 ms."), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_closes_in_the_middle_fails_the_calls_at_once_and_is_reached_again() -> Result<()> {
    for (action, told) in [
        (Action::Close(1001), "the server closed the connection (1001)"),
        (Action::Drop, "the server closed the connection"),
    ] {
        let server = RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.tool()?.as_str() {
            "close" => Some(vec![action.clone()]),
            "wait" => Some(Vec::new()),
            _ => Some(vec![Action::result(message, "{}")]),
        })
        .await?;
        let adapter = adapter(&server.url, &json!({}), &json!({}))?;
        let waiting = spawn(&adapter, "wait", Effect::Read);
        server.wait_until(|all| all.iter().any(|message| message.tool().is_some())).await?;
        let error = failure(&*adapter, &context(PATIENCE), request("close", &json!({}), Effect::Write)).await?;
        ensure!((error.class, error.sent) == (ErrorClass::ConnectionLost, Sent::Unknown), "{error:?}");
        ensure!(error.message.starts_with("The connection to enrich ended before it answered: "), "{error}");
        let other = waiting.await?.context("no answer was due")?;
        ensure!(other.class == ErrorClass::ConnectionLost && other.message.contains("connection"), "{told}: {other:?}");
        // The connection is replaced at once, and calls wait for that instead of failing.
        call(&*adapter, "any", &json!({})).await?;
        ensure!(server.heads().len() == 2, "{} connections", server.heads().len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started_again_comes_back_by_itself() -> Result<()> {
    let server = awkward();
    let running = server.websocket("127.0.0.1:0").await?;
    let addr = running.addr;
    let adapter = adapter(&running.url, &json!({}), &json!({}))?;
    call(&*adapter, "echo", &json!({ "token": "t" })).await?;
    running.stop().await;
    let down = until(&*adapter, Health::Down).await?;
    ensure!(down.reason.is_some(), "{down:?}");
    tests::until("calls are refused at once", async || {
        let asked = Instant::now();
        let error = failure(&*adapter, &context(PATIENCE), request("echo", &json!({}), Effect::Read)).await?;
        Ok((error.message.contains("connection refused") && asked.elapsed() < Duration::from_millis(100)).then_some(()))
    })
    .await?;
    let _again = awkward().websocket(&addr.to_string()).await?;
    let up = until(&*adapter, Health::Up).await?;
    ensure!(up.reason.is_none() && up.since >= down.since, "{up:?}");
    call(&*adapter, "echo", &json!({ "token": "t" })).await?;
    Ok(())
}

#[tokio::test]
async fn a_message_without_end_is_cut_at_the_limit_and_the_connection_marked() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.tool()?.as_str() {
        "endless" => {
            let first = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}"#, message.id.as_deref()?);
            Some(vec![Action::Endless { first, filler: b' ' }])
        }
        _ => Some(vec![Action::result(message, "{}")]),
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({ "message_bytes_max": "1MiB" }))?;
    let mut events = Box::pin(until(&*adapter, Health::Down));
    ensure!(futures_util::poll!(&mut events).is_pending(), "it is not down");
    let error = failure(&*adapter, &context(PATIENCE), request("endless", &json!({}), Effect::Read)).await?;
    ensure!(error.class == ErrorClass::TooLarge, "{error:?}");
    ensure!(error.message.ends_with("the server sent a message of more than 1048576 bytes."), "{error}");
    // What the server got rid of beyond the limit lies in the buffers of two sockets.
    ensure!(server.bytes_sent() < 16 << 20, "{} bytes were taken", server.bytes_sent());
    let state = events.await?;
    ensure!(state.reason.as_deref() == Some("the server sent a message of more than 1048576 bytes"), "{state:?}");
    call(&*adapter, "any", &json!({})).await?;
    Ok(())
}

#[tokio::test]
async fn garbage_is_dropped_and_too_much_of_it_ends_the_connection() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        message.tool()?;
        let garbage =
            ["", "not json", "{", "[]", "null", "{\"id\":null}", "{\"jsonrpc\":\"2.0\",\"id\":999999,\"result\":{}}"];
        let mut actions: Vec<_> = garbage.map(|text| Action::Send(text.to_owned())).into();
        actions.push(Action::result(message, "{}"));
        Some(actions)
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    for _ in 0..3 {
        call(&*adapter, "any", &json!({})).await?;
    }
    ensure!(server.heads().len() == 1, "{} connections", server.heads().len());
    server.push(&vec![Action::Send("more of it".to_owned()); 64]);
    let state = until(&*adapter, Health::Down).await?;
    let reason = "the server keeps sending what is no message of the protocol";
    ensure!(state.reason.as_deref() == Some(reason), "{state:?}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_want_our_credential_is_down_for_that_reason() -> Result<()> {
    let bearer = Some("the-right-token".to_owned());
    let server = McpServer::new(McpOptions { bearer, ..McpOptions::default() });
    let running = server.websocket("127.0.0.1:0").await?;
    let secrets = Secrets::new("the-wrong-token")?;
    let credential = json!({ "credential": { "bearer": { "file": "token" } } });
    let adapter = secrets.adapter(&running.url, "shared", &credential)?;
    let error = failure(&*adapter, &context(PATIENCE), request("get_merchant", &json!({}), Effect::Read)).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Unauthorized, Sent::No), "{error:?}");
    let state = until(&*adapter, Health::Down).await?;
    ensure!(state.reason.as_deref().is_some_and(|reason| reason.contains("credential (HTTP 401")), "{state:?}");
    ensure!(!format!("{error:?} {state:?}").contains("the-wrong-token"), "the token is shown");
    Ok(())
}

#[tokio::test]
async fn a_server_of_the_wrong_era_is_down_with_advice() -> Result<()> {
    for (server_era, era, advice) in [
        (Era::LegacyOnly, "modern", "it does not speak MCP 2026-07-28: set `era: legacy` or `auto`"),
        (Era::ModernOnly, "legacy", "it refuses `initialize`"),
    ] {
        let server = McpServer::new(McpOptions { era: server_era, ..McpOptions::default() });
        let running = server.websocket("127.0.0.1:0").await?;
        let adapter = adapter(&running.url, &json!({ "era": era }), &json!({}))?;
        let error = failure(&*adapter, &context(PATIENCE), request("get_merchant", &json!({}), Effect::Read)).await?;
        ensure!((error.class, error.sent) == (ErrorClass::Protocol, Sent::No), "{error:?}");
        ensure!(until(&*adapter, Health::Down).await?.reason.as_deref() == Some(advice), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_legacy_server_that_hangs_up_on_the_probe_is_asked_to_initialize() -> Result<()> {
    let server = RawServer::start(Era::LegacyOnly, |message: &Incoming| match message.method.as_deref()? {
        "server/discover" => Some(vec![Action::Drop]),
        "tools/call" => Some(vec![Action::result(message, "{}")]),
        _ => None,
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    call(&*adapter, "any", &json!({})).await?;
    let methods: Vec<_> = server.received().into_iter().filter_map(|message| message.method).collect();
    ensure!(methods == ["server/discover", "initialize", "notifications/initialized", "tools/call"], "{methods:?}");
    // Once it is known, it is not probed again.
    server.drop_connections();
    until(&*adapter, Health::Down).await?;
    until(&*adapter, Health::Up).await?;
    let probes =
        server.received().iter().filter(|message| message.method.as_deref() == Some("server/discover")).count();
    ensure!(probes == 1, "{probes} probes");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_up_on_everybody_is_not_hurried() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        (message.method.as_deref() == Some("server/discover")).then(|| {
            let discovered = r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}"#;
            vec![Action::result(message, discovered), Action::Drop]
        })
    })
    .await?;
    let started = Instant::now();
    let _adapter = adapter(&server.url, &json!({}), &json!({}))?;
    server.wait_until(|all| all.iter().any(|message| message.connection == 6)).await?;
    // The second comes at once, the others after at least 50, 100, 200 and 400 ms.
    ensure!(started.elapsed() >= Duration::from_millis(750), "six connections within {:?}", started.elapsed());
    Ok(())
}

/// Starts a call and gives its error, if it ends with one.
fn spawn(
    adapter: &Arc<dyn Adapter>,
    tool: &str,
    effect: Effect,
) -> tokio::task::JoinHandle<Option<adapters::AdapterError>> {
    let (adapter, request) = (Arc::clone(adapter), request(tool, &json!({ "ms": 600_000 }), effect));
    tokio::spawn(async move { adapter.call(&context(PATIENCE), request).await.err() })
}

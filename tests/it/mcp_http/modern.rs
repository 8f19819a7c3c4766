//! What belongs to MCP 2026-07-28: headers that repeat the body, connections that cancel, subscriptions.

use std::sync::Arc;

use adapters::{ErrorClass, Health, Sent};
use anyhow::{Context as _, Result, ensure};
use config::Effect;
use serde_json::json;
use tests::contract::context;

use super::{
    Changes, PATIENCE, adapter, answer, complete, discovery, id_of, modern_server, quick, request, result_for, spawn,
    until,
};
use crate::bridge::script::Script;

const DONE: &str = r#"{"resultType":"complete","content":[]}"#;
const TOOLS: &str = r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[
    {"name":"größe","inputSchema":{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "limit":{"type":"integer","x-mcp-header":"Limit"},
        "dry":{"type":"boolean","x-mcp-header":"Dry"}}}},
    {"name":"bad","inputSchema":{"type":"object","properties":{"a":{"type":"array","x-mcp-header":"A"}}}}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_repeats_its_name_and_annotated_arguments_as_headers() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({})).await?;
    let ctx = context(PATIENCE);
    let (offer, ()) = tokio::join!(adapter.list(&ctx), async {
        let asked = script.post("tools/list").await;
        assert_eq!(asked.header("mcp-method"), Some("tools/list"));
        assert_eq!(asked.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(asked.header("mcp-name"), None);
        answer(asked, &TOOLS.replace('\n', ""));
    });
    let offer = offer?;
    ensure!(offer.tools.len() == 1 && offer.left_out.len() == 1, "{offer:?}");
    ensure!(offer.left_out[0].local_name == "bad" && offer.left_out[0].reason.contains("x-mcp-header"), "{offer:?}");

    let arguments = json!({ "region": " Zürich", "limit": 5, "dry": null });
    let call = {
        let adapter = Arc::clone(&adapter);
        let request = request("größe", &arguments, Effect::Read);
        tokio::spawn(async move { adapter.call(&context(PATIENCE), request).await })
    };
    let asked = script.post(r#""name":"größe""#).await;
    for (name, value) in [
        ("mcp-protocol-version", Some("2026-07-28")),
        ("mcp-method", Some("tools/call")),
        ("mcp-name", Some("=?base64?Z3LDtsOfZQ==?=")),
        ("mcp-param-region", Some("=?base64?IFrDvHJpY2g=?=")),
        ("mcp-param-limit", Some("5")),
        ("mcp-param-dry", None),
        ("mcp-session-id", None),
        ("content-type", Some("application/json")),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    answer(asked, DONE);
    complete(call.await?).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_headers_no_longer_fit_is_repeated_after_a_new_list() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({})).await?;
    let call = {
        let adapter = Arc::clone(&adapter);
        let request = request("größe", &json!({ "region": "eu" }), Effect::Write);
        tokio::spawn(async move { adapter.call(&context(PATIENCE), request).await })
    };
    let asked = script.post("tools/call").await;
    assert_eq!(asked.header("mcp-param-region"), None, "the list was never asked for");
    let error = r#""error":{"code":-32020,"message":"Header mismatch"}"#;
    let text = format!(r#"{{"jsonrpc":"2.0","id":{},{error}}}"#, id_of(&asked));
    let refused = http::Response::builder().status(400).header("content-type", "application/json");
    asked.respond(refused, text);
    answer(script.post("tools/list").await, &TOOLS.replace('\n', ""));
    let asked = script.post("tools/call").await;
    assert_eq!(asked.header("mcp-param-region"), Some("eu"));
    answer(asked, DONE);
    complete(call.await?).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_headers_no_longer_fit_was_not_done_also_where_the_new_list_fails() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({})).await?;
    let call = spawn(&adapter, "pay", Effect::Write);
    let asked = script.post("tools/call").await;
    let error = r#""error":{"code":-32020,"message":"Header mismatch"}"#;
    let text = format!(r#"{{"jsonrpc":"2.0","id":{},{error}}}"#, id_of(&asked));
    asked.json(&text);
    script.post("tools/list").await.status(500);
    let error = call.await?.err().context("a result of what was refused")?;
    ensure!((error.class, error.sent) == (ErrorClass::Rejected, Sent::Yes), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_cancelled_by_its_closed_connection_alone() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({})).await?;
    let ctx = context(PATIENCE);
    let cancel = ctx.cancel.clone();
    let call = {
        let adapter = Arc::clone(&adapter);
        tokio::spawn(async move { adapter.call(&ctx, quick()).await })
    };
    let events = script.post("tools/call").await.events();
    events.raw(": alive\n\n").await;
    cancel.cancel();
    let error = call.await?.err().context("a result after all")?;
    ensure!(error.class == ErrorClass::Cancelled, "{error:?}");
    events.closed().await;
    ensure!(script.is_quiet(), "no message says so besides");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_events_may_be_split_anywhere() -> Result<()> {
    let (mut script, adapter) = modern_server(&json!({})).await?;
    let kept = r#"{"resultType":"complete","content":[],"ü🦀":9007199254740993 }"#;
    for lines in ["\n", "\r\n", "\r"] {
        let call = spawn(&adapter, "echo", Effect::Read);
        let asked = script.post("tools/call").await;
        let events = [
            "\u{feff}: comment",
            "",
            "event: message",
            "data: {\"jsonrpc\":\"2.0\",",
            &format!("data:\"id\":{},\"result\":{kept}}}", id_of(&asked)),
            "",
            "",
        ]
        .join(lines);
        let stream = asked.events();
        for byte in events.into_bytes() {
            // The answer may be there before the last byte is.
            if !stream.try_raw(vec![byte]).await {
                break;
            }
        }
        drop(stream);
        let bytes = complete(call.await?)?;
        ensure!(bytes == kept, "{bytes:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_list_come_by_a_subscription_that_is_renewed() -> Result<()> {
    let mut script = Script::start().await;
    let adapter = adapter(&format!("http://{}/mcp", script.address), &json!({}), &json!({}))?;
    answer(script.post("server/discover").await, &discovery(true));
    until(&*adapter, Health::Up).await?;
    let mut changes = Changes::of(&*adapter);
    for round in 0..2 {
        let asked = script.post("subscriptions/listen").await;
        assert_eq!(asked.header("mcp-method"), Some("subscriptions/listen"));
        let id = id_of(&asked);
        let notice = |method: &str, id: u64| {
            let meta = format!(r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}"#);
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{meta}}}"#)
        };
        let events = asked.events();
        if round > 0 {
            // What changed between two subscriptions was told to nobody.
            changes.next().await?;
        }
        events.message(&notice("subscriptions/acknowledged", id)).await;
        events.message(&notice("tools/list_changed", id)).await;
        changes.next().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modern_error_of_the_handshake_is_no_reason_to_fall_back() -> Result<()> {
    let mut script = Script::start().await;
    let adapter = adapter(&format!("http://{}/mcp", script.address), &json!({}), &json!({}))?;
    let asked = script.post("server/discover").await;
    let error = r#""error":{"code":-32022,"message":"no","data":{"supported":["2027-01-01"]}}"#;
    let text = format!(r#"{{"jsonrpc":"2.0","id":{},{error}}}"#, id_of(&asked));
    asked.respond(http::Response::builder().status(400).header("content-type", "application/json"), text);
    let state = until(&*adapter, Health::Down).await?;
    let reason = state.reason.unwrap_or_default();
    ensure!(reason == r#"it speaks no version of MCP that Weir knows: "2027-01-01""#, "{reason}");
    // It is asked again, and may have learned.
    let asked = script.post("server/discover").await;
    let text = result_for(&asked, &discovery(false));
    asked.json(&text);
    until(&*adapter, Health::Up).await?;
    Ok(())
}

//! What passes through stays as it was, byte for byte.

use std::{sync::Arc, time::Duration};

use adapters::{AdapterEvent, CallContext, Deadline, ErrorClass, Health, Notice, Rejection, Reply, Sent, TraceContext};
use anyhow::{Context as _, Result, ensure};
use config::Effect;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Tools},
    raw::{Action, Incoming, RawServer},
};
use tests::contract::context;
use tokio::sync::mpsc;

use super::{PATIENCE, adapter, call, complete, failure, raw_request, request};

const DEFINITION: &str = concat!(
    "{ \"zeta\" : {\"vendor\":[1, 2.50, 1e3]},\t\"name\":\"odd tool\" , \"big\":18446744073709551615,",
    "\"inputSchema\":{\"type\":\"object\",\"x-vendor\":{\"b\":1,\"a\":2},\"properties\":{}},",
    "\"_meta\":{\"example.com/owner\":\"caf\\u00e9\"},\"execution\":{\"taskSupport\":\"optional\"}, \"description\":\"é\" }"
);
const RESULT: &str = concat!(
    "{ \"_meta\" :{\"z\":9007199254740993 , \"a\":-0.0},\"vendor\":{\"b\":[ ],\"a\":null},\n",
    "\"content\":[{\"text\":\"\\u0000 \\ud83d\\ude00 é\",\"type\":\"new-kind\",\"more\":1}] ,\"structuredContent\":{\"n\":1.10} }"
);

/// A server that lists one odd tool and answers every call with [`RESULT`].
async fn odd_server(era: Era) -> Result<RawServer> {
    RawServer::start(era, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![Action::result(message, &format!("{{\"tools\":[{DEFINITION}]}}"))]),
        Some("tools/call") => Some(vec![Action::result(message, RESULT)]),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn definitions_and_results_come_through_byte_for_byte_in_both_eras() -> Result<()> {
    for era in [Era::LegacyOnly, Era::ModernOnly] {
        let server = odd_server(era).await?;
        let adapter = adapter(&server.url, &json!({}), &json!({}))?;
        let offer = adapter.list(&context(PATIENCE)).await?;
        ensure!(offer.tools[0].definition.get() == DEFINITION, "{era:?}: {}", offer.tools[0].definition);
        let result = call(&*adapter, "odd tool", &json!({})).await?;
        ensure!(result == RESULT, "{era:?}: {result:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_the_caller_sends_arrives_byte_for_byte_but_for_the_members_of_the_hop() -> Result<()> {
    let server = odd_server(Era::ModernOnly).await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    let mut ctx = context(PATIENCE);
    ctx.trace =
        TraceContext::continued("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None).context("a trace")?;
    let params = "{ \"task\":{ },\"arguments\" : {\"id\":9007199254740993 , \"x\" : 1.0},\n\"name\":\"enrich__odd\",\"_meta\":{\"v\" : 1,\
                  \"progressToken\":\"callers\",\"baggage\":\"k=v\",\"io.modelcontextprotocol/clientInfo\":{\"name\":\"c\"}} }";
    complete(adapter.call(&ctx, raw_request("odd", params, Effect::Read)).await)?;
    server.wait_until(|all| all.iter().any(|message| message.tool().is_some())).await?;
    let received =
        server.received().into_iter().find_map(|message| message.tool().and(message.params)).context("the call")?;
    let (before, rest) = received.split_once("\"_meta\":").context("a meta")?;
    ensure!(
        before == "{ \"task\":{ },\"arguments\" : {\"id\":9007199254740993 , \"x\" : 1.0},\n\"name\":\"odd\",",
        "{before}"
    );
    ensure!(rest.ends_with("\"v\" : 1} }"), "{rest}");
    let meta: Value = serde_json::from_str::<Value>(&received)?["_meta"].clone();
    ensure!(meta["io.modelcontextprotocol/clientInfo"]["name"] == "weir", "{meta}");
    ensure!(
        meta["traceparent"].as_str().is_some_and(|trace| trace.contains("4bf92f3577b34da6a3ce929d0e0e4736")),
        "{meta}"
    );
    ensure!(meta.get("progressToken").is_none() && meta.get("baggage").is_none(), "{meta}");
    ensure!(meta["weir/deadline_ms"].as_u64().is_some_and(|ms| ms > 0 && ms <= 20_000), "{meta}");
    Ok(())
}

#[tokio::test]
async fn a_server_on_the_official_sdk_is_listed_and_called_in_both_eras() -> Result<()> {
    for era in [Era::LegacyOnly, Era::ModernOnly, Era::Both] {
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.websocket("127.0.0.1:0").await?;
        let adapter = adapter(&running.url, &json!({}), &json!({}))?;
        let offer = adapter.list(&context(PATIENCE)).await?;
        let names: Vec<_> = offer.tools.iter().map(|tool| &*tool.local_name).collect();
        for odd in
            ["get_merchant", "dots.in.name", "slash/name", "a__b", "__leading", "ünïcode", standins::mcp::LONG_NAME]
        {
            ensure!(names.contains(&odd), "{era:?}: {odd} is not among {names:?}");
        }
        ensure!(offer.left_out.is_empty() && offer.fresh_for.is_some(), "{era:?}: {:?}", offer.left_out);
        let result: Value = serde_json::from_slice(&call(&*adapter, "numbers", &json!({ "value": i64::MIN })).await?)?;
        ensure!(result["structuredContent"]["largest_unsigned"] == u64::MAX, "{result}");
        ensure!(result["structuredContent"]["value"] == i64::MIN, "{result}");
        ensure!(result["_meta"]["example.com/revision"] == 9_007_199_254_740_993_i64, "{result}");
        call(&*adapter, "ünïcode", &json!({})).await?;
        let failed: Value = serde_json::from_slice(&call(&*adapter, "fails", &json!({})).await?)?;
        ensure!(failed["isError"] == true, "an error of the tool is its answer: {failed}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_handed_up_as_it_came_whatever_its_code() -> Result<()> {
    const ERROR: &str =
        "{ \"code\":123456789012345678901234567890, \"message\" : \"no\",\"data\":{\"b\":1,\"a\":[ ]},\"vendor\":0 }";
    for era in [Era::LegacyOnly, Era::ModernOnly] {
        let server = RawServer::start(era, |message: &Incoming| {
            message.tool()?;
            let id = message.id.as_deref().unwrap_or_default();
            Some(vec![Action::Send(format!("{{\"error\":{ERROR},\"jsonrpc\":\"2.0\",\"id\":{id}}}"))])
        })
        .await?;
        let adapter = adapter(&server.url, &json!({}), &json!({}))?;
        let error = failure(&*adapter, &context(PATIENCE), request("any", &json!({}), Effect::Write)).await?;
        ensure!((error.class, error.sent) == (ErrorClass::Rejected, Sent::Yes), "{error:?}");
        ensure!(matches!(&error.rejection, Some(Rejection::Rpc(raw)) if raw == ERROR), "{error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_none_fails_its_own_call_at_once() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        let id = message.id.as_deref().unwrap_or_default();
        Some(vec![Action::Send(match message.tool()?.as_str() {
            "nan" => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"n\":NaN}}}}"),
            "neither" => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id}}}"),
            "unknown kind" => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"resultType\":\"novel\"}}}}"),
            _ => return None,
        })])
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    for tool in ["nan", "neither", "unknown kind"] {
        let error = failure(&*adapter, &context(PATIENCE), request(tool, &json!({}), Effect::Read)).await?;
        ensure!((error.class, error.sent) == (ErrorClass::Protocol, Sent::Unknown), "{tool}: {error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_kinds_of_a_modern_result_are_told_apart() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        let tool = message.tool()?;
        Some(vec![Action::result(message, &format!("{{\"requestState\":\"s\",\"resultType\":\"{tool}\"}}"))])
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    let ctx = context(PATIENCE);
    let input = adapter.call(&ctx, request("input_required", &json!({}), Effect::Read)).await?;
    ensure!(matches!(&input, Reply::InputRequired(bytes) if bytes.starts_with(b"{\"requestState\":")), "{input:?}");
    let task = adapter.call(&ctx, request("task", &json!({}), Effect::Read)).await?;
    ensure!(matches!(task, Reply::Task(_)), "{task:?}");
    Ok(())
}

#[tokio::test]
async fn progress_goes_to_the_call_that_asked_in_order_and_its_bytes_stay() -> Result<()> {
    for era in [Era::LegacyOnly, Era::ModernOnly] {
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.websocket("127.0.0.1:0").await?;
        let adapter = adapter(&running.url, &json!({}), &json!({}))?;
        let mut calls = Vec::new();
        for steps in [3_u32, 7, 5] {
            let (sender, notices) = mpsc::channel(64);
            let ctx = CallContext { notices: Some(adapters::Notices::new(sender, None)), ..context(PATIENCE) };
            let adapter = Arc::clone(&adapter);
            let call = async move {
                complete(
                    adapter
                        .call(&ctx, request("progress", &json!({ "steps": steps, "step_ms": 1 }), Effect::Read))
                        .await,
                )
            };
            calls.push((steps, tokio::spawn(call), notices));
        }
        for (steps, call, mut notices) in calls {
            call.await??;
            let mut told = Vec::new();
            while let Some(Notice::Progress(params)) = notices.recv().await {
                let params: Value = serde_json::from_slice(&params)?;
                ensure!(params["total"].as_f64() == Some(steps.into()), "{era:?}: progress of another call: {params}");
                told.push(params["progress"].as_f64().context("a number")?);
            }
            let expected: Vec<f64> = (1..=steps).map(f64::from).collect();
            ensure!(told == expected, "{era:?}: {told:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_legacy_server_tells_of_a_changed_list_unasked() -> Result<()> {
    let server = RawServer::start(Era::LegacyOnly, |_: &Incoming| None).await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    let mut events = adapter.events();
    super::until(&*adapter, Health::Up).await?;
    let change = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    server.push(&[Action::Send(change.to_owned())]);
    until_list_changed(&mut events).await
}

#[tokio::test]
async fn a_modern_server_is_listened_to_for_changes_of_its_list() -> Result<()> {
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref()? {
        "server/discover" => {
            let capabilities = r#"{"tools":{"listChanged":true}}"#;
            let result = format!(r#"{{"supportedVersions":["2026-07-28"],"capabilities":{capabilities}}}"#);
            Some(vec![Action::result(message, &result)])
        }
        "subscriptions/listen" => {
            let id = message.id.as_deref()?;
            let meta = format!(r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{{}}}}"#);
            let tell =
                |method: &str| format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{meta}}}"#);
            Some(vec![Action::Send(tell("subscriptions/acknowledged")), Action::Send(tell("tools/list_changed"))])
        }
        _ => None,
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    until_list_changed(&mut adapter.events()).await?;
    let listened =
        server.received().into_iter().find(|message| message.method.as_deref() == Some("subscriptions/listen"));
    let params: Value = serde_json::from_str(&listened.and_then(|message| message.params).context("no listen")?)?;
    ensure!(params["notifications"] == json!({ "toolsListChanged": true }), "{params}");
    ensure!(params["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28", "{params}");
    Ok(())
}

async fn until_list_changed(events: &mut (impl futures_util::Stream<Item = AdapterEvent> + Unpin)) -> Result<()> {
    let wait = async {
        while let Some(event) = events.next().await {
            if event == AdapterEvent::ListChanged {
                return Ok(());
            }
        }
        anyhow::bail!("the events ended")
    };
    tokio::time::timeout(PATIENCE, wait).await.context("no change was told")?
}

#[tokio::test]
async fn lists_are_read_to_their_last_page_and_a_bad_tool_is_left_out_alone() -> Result<()> {
    let server = RawServer::start(Era::LegacyOnly, |message: &Incoming| {
        (message.method.as_deref() == Some("tools/list")).then(|| {
            let second = message.params.as_deref().is_some_and(|params| params.contains(r#""cursor":"p\"2""#));
            vec![Action::result(
                message,
                if second {
                    r#"{"tools":[{"name":"b","inputSchema":{}},{"name":"a","inputSchema":{}}]}"#
                } else {
                    r#"{"tools":[{"name":"a","inputSchema":{}},{"name":"bad"},7],"nextCursor":"p\"2"}"#
                },
            )]
        })
    })
    .await?;
    let adapter = adapter(&server.url, &json!({ "list_refresh": "7s" }), &json!({}))?;
    let offer = adapter.list(&context(PATIENCE)).await?;
    let names: Vec<_> = offer.tools.iter().map(|tool| &*tool.local_name).collect();
    ensure!(names == ["a", "b"], "{names:?}");
    let left_out: Vec<_> = offer.left_out.iter().map(|out| (out.local_name.as_str(), out.reason.as_str())).collect();
    let twice = "the server lists this name twice; the first one counts";
    ensure!(
        left_out == [("bad", "it has no `inputSchema`"), ("", "it is no JSON object"), ("a", twice)],
        "{left_out:?}"
    );
    ensure!(offer.fresh_for == Some(Duration::from_secs(7)), "{:?}", offer.fresh_for);
    Ok(())
}

#[tokio::test]
async fn a_list_without_end_is_cut_and_says_so() -> Result<()> {
    let server = RawServer::start(Era::LegacyOnly, |message: &Incoming| {
        (message.method.as_deref() == Some("tools/list")).then(|| {
            let id = message.id.as_deref().unwrap_or_default();
            let page = format!(r#"{{"tools":[{{"name":"t{id}","inputSchema":{{}}}}],"nextCursor":"{id}"}}"#);
            vec![Action::result(message, &page)]
        })
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    let ctx = CallContext { deadline: Deadline::after(PATIENCE), ..context(PATIENCE) };
    let offer = adapter.list(&ctx).await?;
    ensure!(offer.tools.len() == 100, "{} tools", offer.tools.len());
    let reason = &offer.left_out.last().context("nothing says that it was cut")?.reason;
    ensure!(reason == "the list goes on after 100 tools and was cut there", "{reason}");
    Ok(())
}

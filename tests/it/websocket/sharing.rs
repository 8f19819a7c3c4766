//! Who shares a connection, and who does not.

use std::{sync::Arc, time::Duration};

use adapters::{
    Adapter, AdapterError, CallContext, Caller, CallerInput, CallerInputs, Deadline, ErrorClass, Notice, Principal,
    Sent,
};
use anyhow::{Context as _, Result, ensure};
use config::Effect;
use futures_util::{StreamExt as _, future};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Tools},
    raw::{Action, Incoming, RawServer},
};
use tests::contract::context;
use tokio::sync::mpsc;

use super::{PATIENCE, adapter, call, complete, failure, request};

fn as_caller(subject: &str) -> CallContext {
    let mut caller = Caller::local(&[]);
    caller.principal = Principal { subject: subject.into(), ..caller.principal };
    CallContext { caller: Arc::new(caller), ..context(PATIENCE) }
}

/// A server that says over which connection a call came, except to `wait`, which it never answers.
async fn numbered() -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, |message: &Incoming| {
        let answer = Action::result(message, &format!("{{\"connection\":{}}}", message.connection));
        Some(if message.tool()? == "wait" { Vec::new() } else { vec![answer] })
    })
    .await
}

async fn connection(adapter: &dyn Adapter, ctx: &CallContext) -> Result<u64> {
    let bytes = complete(adapter.call(ctx, request("which", &json!({}), Effect::Read)).await)?;
    serde_json::from_slice::<Value>(&bytes)?["connection"].as_u64().context("a number")
}

#[tokio::test]
async fn each_way_of_sharing_says_what_of_the_caller_counts() -> Result<()> {
    let server = McpServer::new(McpOptions::default());
    let running = server.websocket("127.0.0.1:0").await?;
    for (sharing, expected) in [
        ("shared", CallerInputs::Known(vec![])),
        ("per_caller", CallerInputs::Known(vec![CallerInput::Principal])),
        ("per_call", CallerInputs::Unknown),
    ] {
        let adapter = adapter(&running.url, &json!({ "sharing": sharing }), &json!({}))?;
        let offer = adapter.list(&context(PATIENCE)).await?;
        ensure!(offer.tools.iter().all(|tool| tool.caller_inputs == expected), "{sharing}");
    }
    Ok(())
}

#[tokio::test]
async fn callers_have_a_connection_each_and_keep_it() -> Result<()> {
    let server = numbered().await?;
    let adapter = adapter(&server.url, &json!({ "sharing": "per_caller" }), &json!({}))?;
    let (ann, bob) = (as_caller("ann"), as_caller("bob"));
    let of_ann = connection(&*adapter, &ann).await?;
    let of_bob = connection(&*adapter, &bob).await?;
    ensure!(of_ann != of_bob, "both came over connection {of_ann}");
    let calls = (0..20).map(|turn| connection(&*adapter, if turn % 2 == 0 { &ann } else { &bob }));
    let again = future::try_join_all(calls).await?;
    ensure!(again.chunks(2).all(|pair| pair == [of_ann, of_bob]), "{again:?}");
    Ok(())
}

#[tokio::test]
async fn a_caller_too_many_takes_an_idle_connection_and_waits_for_no_busy_one() -> Result<()> {
    let server = numbered().await?;
    let adapter = adapter(&server.url, &json!({ "sharing": "per_caller" }), &json!({ "connections_max": 2 }))?;
    let (ann, bob, cid) = (as_caller("ann"), as_caller("bob"), as_caller("cid"));
    let first = connection(&*adapter, &ann).await?;
    connection(&*adapter, &bob).await?;
    connection(&*adapter, &cid).await?;
    let again = connection(&*adapter, &ann).await?;
    ensure!(again != first, "a third connection was opened and none closed");
    // Now ann and cid have the two: with both busy, bob is told so at once.
    let wait = || request("wait", &json!({}), Effect::Read);
    let busy: Vec<_> = [ann.clone(), cid.clone()]
        .into_iter()
        .map(|ctx| {
            let (adapter, request) = (Arc::clone(&adapter), wait());
            tokio::spawn(async move { adapter.call(&ctx, request).await.map(drop) })
        })
        .collect();
    server
        .wait_until(|all| all.iter().filter(|message| message.tool().as_deref() == Some("wait")).count() == 2)
        .await?;
    let error = failure(&*adapter, &bob, wait()).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Busy, Sent::No), "{error:?}");
    ensure!(error.message.contains("all of its 2 connections in use"), "{}", error.message);
    busy.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

#[tokio::test]
async fn each_call_has_a_connection_of_its_own_and_waits_its_turn() -> Result<()> {
    let server = McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() });
    let running = server.websocket("127.0.0.1:0").await?;
    let adapter = adapter(&running.url, &json!({ "sharing": "per_call" }), &json!({ "connections_max": 3 }))?;
    adapter.list(&context(PATIENCE)).await?;
    let calls = (0..9).map(|turn| {
        let adapter = Arc::clone(&adapter);
        async move { call(&*adapter, "slow", &json!({ "ms": 20 + turn })).await }
    });
    future::try_join_all(calls).await?;
    // Nine for the calls, and the one that lists.
    server.wait_until(|seen| seen.connections_total == 10 && seen.connections_open == 1).await?;
    let hung = CallContext { deadline: Deadline::after(Duration::from_millis(300)), ..context(PATIENCE) };
    let slow = || request("slow", &json!({ "ms": 600_000 }), Effect::Read);
    let hanging = (0..4).map(|_| failure(&*adapter, &hung, slow()));
    let errors = future::try_join_all(hanging).await?;
    // A slot that comes free in the last moment is of no use.
    let in_vain = |error: &&AdapterError| matches!(error.class, ErrorClass::Busy | ErrorClass::Timeout);
    let busy = errors.iter().filter(in_vain).filter(|error| error.sent == Sent::No).count();
    let late = errors.iter().filter(|error| (error.class, error.sent) == (ErrorClass::Timeout, Sent::Unknown)).count();
    ensure!((busy, late) == (1, 3), "{errors:?}");
    server.wait_until(|seen| seen.cancelled == 3 && seen.connections_open == 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_log_message_is_handed_up_where_one_call_has_the_connection_and_nowhere_else() -> Result<()> {
    const MESSAGE: &str = r#"{ "level":"info","data":{"b":1,"a":2} }"#;
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        message.tool()?;
        let log = format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{MESSAGE}}}"#);
        Some(vec![Action::Send(log), Action::result(message, "{}")])
    })
    .await?;
    for (sharing, expected) in [("shared", 0), ("per_caller", 0), ("per_call", 1)] {
        let adapter = adapter(&server.url, &json!({ "sharing": sharing }), &json!({}))?;
        let (sender, mut notices) = mpsc::channel(8);
        let ctx = CallContext { notices: Some(adapters::Notices::new(sender, None)), ..context(PATIENCE) };
        complete(adapter.call(&ctx, request("any", &json!({}), Effect::Read)).await)?;
        drop(ctx);
        let mut told = Vec::new();
        while let Some(notice) = notices.recv().await {
            told.push(notice);
        }
        ensure!(told.len() == expected, "{sharing}: {told:?}");
        ensure!(told.iter().all(|notice| matches!(notice, Notice::Message(raw) if raw == MESSAGE)), "{told:?}");
    }
    Ok(())
}

#[tokio::test]
async fn questions_of_a_legacy_server_are_refused_and_hold_nobody_up() -> Result<()> {
    let server = RawServer::start(Era::LegacyOnly, |message: &Incoming| {
        message.tool()?;
        let ask = r#"{"jsonrpc":"2.0","id":"q-1","method":"elicitation/create","params":{"message":"who?"}}"#;
        let ping = r#"{"jsonrpc":"2.0","id":"q-2","method":"ping"}"#;
        Some(vec![Action::Send(ask.to_owned()), Action::Send(ping.to_owned()), Action::result(message, "{}")])
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    call(&*adapter, "any", &json!({})).await?;
    server.wait_until(|all| all.iter().any(|message| message.id.as_deref() == Some(r#""q-2""#))).await?;
    let received = server.received();
    let answer =
        |id: &str| received.iter().find(|message| message.id.as_deref() == Some(id)).map(|answer| &*answer.text);
    ensure!(answer(r#""q-1""#).is_some_and(|text| text.contains(r#""code":-32601"#)), "{received:?}");
    ensure!(answer(r#""q-2""#) == Some(r#"{"jsonrpc":"2.0","id":"q-2","result":{}}"#), "{received:?}");
    let initialize = received.iter().find(|message| message.method.as_deref() == Some("initialize"));
    let params: Value =
        serde_json::from_str(initialize.and_then(|message| message.params.as_deref()).unwrap_or("null"))?;
    ensure!(params["capabilities"] == json!({}), "nothing is offered: {params}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_adapter_closes_its_connections_and_leaves_no_task() -> Result<()> {
    let server = McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() });
    let running = server.websocket("127.0.0.1:0").await?;
    for sharing in ["shared", "per_caller", "per_call"] {
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let adapter = adapter(&running.url, &json!({ "sharing": sharing }), &json!({}))?;
        let mut events = adapter.events();
        call(&*adapter, "echo", &json!({ "token": "t" })).await?;
        drop(adapter);
        server.wait_until(|seen| seen.connections_open == 0).await.with_context(|| sharing.to_owned())?;
        let ended = tokio::time::timeout(PATIENCE, async { while events.next().await.is_some() {} }).await;
        ended.context("the events go on")?;
        tests::until("no task is left", async || {
            Ok((tokio::runtime::Handle::current().metrics().num_alive_tasks() <= before).then_some(()))
        })
        .await?;
    }
    Ok(())
}

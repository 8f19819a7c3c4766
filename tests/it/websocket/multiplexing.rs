//! Many callers on one connection: no answer goes astray, and what one caller does touches nobody else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use adapters::{Adapter, CallContext, ErrorClass, Sent};
use anyhow::{Context as _, Result, bail, ensure};
use config::Effect;
use futures_util::future;
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Tools},
    raw::{Action, Incoming, RawServer},
};
use tests::contract::context;
use tokio::sync::Notify;

use super::{PATIENCE, adapter, complete, failure, request};

const CALLERS: u64 = 200;
const CALLS: u64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_share_one_connection_and_no_answer_goes_astray() -> Result<()> {
    // Answers each call with its own token after a while of its own, also calls that were taken back long ago.
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        message.tool()?;
        let params: Value = serde_json::from_str(message.params.as_deref()?).ok()?;
        let token = params["arguments"]["token"].as_u64()?;
        let due = Arc::new(Notify::new());
        let (notify, wait_ms) = (Arc::clone(&due), mixed(token) % 12);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            notify.notify_one();
        });
        let result = Action::result(message, &format!("{{\"content\":[],\"token\":{token}}}"));
        let again = result.clone();
        // Some answers come twice.
        let actions = if token.is_multiple_of(17) {
            vec![Action::Wait(due), result, again]
        } else {
            vec![Action::Wait(due), result]
        };
        Some(actions)
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    let answered = Arc::new(AtomicU64::new(0));
    let next = Arc::new(AtomicU64::new(0));
    let callers = (0..CALLERS).map(|_| {
        let (adapter, next, answered) = (Arc::clone(&adapter), Arc::clone(&next), Arc::clone(&answered));
        tokio::spawn(async move {
            loop {
                let token = next.fetch_add(1, Ordering::Relaxed);
                if token >= CALLS {
                    return anyhow::Ok(());
                }
                if one_call(&*adapter, token).await? {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    for caller in future::join_all(callers).await {
        caller??;
    }
    let answered = answered.load(Ordering::Relaxed);
    ensure!(answered > CALLS / 2, "only {answered} of {CALLS} calls were answered");
    ensure!(server.heads().len() == 1, "{} connections", server.heads().len());
    Ok(())
}

/// One call; one in five is cancelled or dropped on the way. An answer to another call is an error, `false` means none came.
async fn one_call(adapter: &dyn Adapter, token: u64) -> Result<bool> {
    let ctx = context(PATIENCE);
    let call = adapter.call(&ctx, request("echo", &json!({ "token": token }), Effect::Read));
    let give_up = tokio::time::sleep(Duration::from_millis(mixed(token ^ 0xABCD) % 8));
    let reply = match token % 10 {
        0 => {
            let (reply, ()) = tokio::join!(call, async {
                give_up.await;
                ctx.cancel.cancel();
            });
            reply
        }
        1 => match tokio::time::timeout(Duration::from_millis(mixed(token) % 8), call).await {
            Ok(reply) => reply,
            Err(_) => return Ok(false),
        },
        _ => call.await,
    };
    match reply {
        Err(error) if error.class == ErrorClass::Cancelled && token.is_multiple_of(10) => Ok(false),
        reply => {
            let answer: Value = serde_json::from_slice(&complete(reply)?)?;
            if answer["token"] != token {
                bail!("the answer {answer} came to call {token}");
            }
            Ok(true)
        }
    }
}

/// Numbers in no order, the same in each run.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    number ^ (number >> 29)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_two_hundred_is_answered_first_by_the_official_sdk() -> Result<()> {
    for era in [Era::LegacyOnly, Era::ModernOnly] {
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.websocket("127.0.0.1:0").await?;
        let adapter = adapter(&running.url, &json!({}), &json!({}))?;
        let calls = (0..CALLERS).map(|caller| {
            let adapter = Arc::clone(&adapter);
            async move {
                let token = format!("caller {caller}");
                let arguments = json!({ "token": token, "together": CALLERS });
                let result = super::call(&*adapter, "echo", &arguments).await?;
                let result: Value = serde_json::from_slice(&result)?;
                ensure!(result["structuredContent"]["token"] == token, "{token} got {result}");
                Ok(())
            }
        });
        future::try_join_all(calls).await.with_context(|| format!("{era:?}"))?;
        ensure!(server.seen().connections_total == 1, "{} connections", server.seen().connections_total);
    }
    Ok(())
}

#[tokio::test]
async fn what_one_caller_takes_back_touches_nobody_else_and_stops_in_the_server() -> Result<()> {
    for era in [Era::LegacyOnly, Era::ModernOnly] {
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.websocket("127.0.0.1:0").await?;
        let adapter = adapter(&running.url, &json!({}), &json!({}))?;
        let stays = tokio::spawn({
            let adapter = Arc::clone(&adapter);
            async move { super::call(&*adapter, "slow", &json!({ "ms": 400 })).await }
        });
        let ctx = context(PATIENCE);
        let slow = request("slow", &json!({ "ms": 600_000 }), Effect::Read);
        let (error, seen) = tokio::join!(failure(&*adapter, &ctx, slow), async {
            server.wait_until(|seen| seen.called("slow") == 2).await?;
            ctx.cancel.cancel();
            server.wait_until(|seen| seen.cancelled == 1).await
        });
        seen?;
        let error = error?;
        ensure!((error.class, error.sent) == (ErrorClass::Cancelled, Sent::Unknown), "{error:?}");
        stays.await?.with_context(|| format!("{era:?}: the other caller"))?;
        ensure!(server.seen().connections_total == 1, "the connection was given up");
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_runs_into_its_time_limit_is_taken_back() -> Result<()> {
    let server = McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() });
    let running = server.websocket("127.0.0.1:0").await?;
    let adapter = adapter(&running.url, &json!({ "attempt_timeout": "200ms" }), &json!({}))?;
    let error =
        failure(&*adapter, &context(PATIENCE), request("slow", &json!({ "ms": 600_000 }), Effect::Write)).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Timeout, Sent::Unknown), "{error:?}");
    ensure!(error.message.starts_with("`slow` of enrich gave no answer within 2"), "{}", error.message);
    server.wait_until(|seen| seen.cancelled == 1).await?;
    Ok(())
}

#[tokio::test]
async fn several_messages_in_one_write_and_one_message_in_several_frames_are_all_read() -> Result<()> {
    let held = std::sync::Mutex::new(Vec::<String>::new());
    let server = RawServer::start(Era::ModernOnly, move |message: &Incoming| {
        let tool = message.tool()?;
        let Action::Send(answer) = Action::result(message, &format!("{{\"content\":[],\"tool\":\"{tool}\"}}")) else {
            return None;
        };
        if tool == "pieces" {
            let pieces = answer.as_bytes().chunks(7).map(|piece| String::from_utf8_lossy(piece).into_owned());
            return Some(vec![Action::Fragments(pieces.collect())]);
        }
        let mut held = held.lock().ok()?;
        held.push(answer);
        Some(if held.len() == 3 { vec![Action::SendTogether(std::mem::take(&mut held))] } else { Vec::new() })
    })
    .await?;
    let adapter = adapter(&server.url, &json!({}), &json!({}))?;
    let tools = ["one", "two", "three"];
    let empty = json!({});
    let answers = future::try_join_all(tools.map(|tool| super::call(&*adapter, tool, &empty))).await?;
    for (tool, answer) in
        tools.into_iter().zip(answers).chain([("pieces", super::call(&*adapter, "pieces", &empty).await?)])
    {
        let answer: Value = serde_json::from_slice(&answer)?;
        ensure!(answer["tool"] == tool, "{tool} got {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_write_that_was_withdrawn_at_its_gate_never_reaches_the_server() -> Result<()> {
    let server = McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() });
    let running = server.websocket("127.0.0.1:0").await?;
    let adapter = adapter(&running.url, &json!({}), &json!({}))?;
    let write = || {
        request("log_transaction_enrichment", &json!({ "transaction_id": "T-0000001", "category": "x" }), Effect::Write)
    };
    let ctx: CallContext = context(PATIENCE);
    ensure!(ctx.gate.withdraw(), "it is the first to decide");
    let error = failure(&*adapter, &ctx, write()).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Cancelled, Sent::No), "{error:?}");
    let ctx = context(PATIENCE);
    complete(adapter.call(&ctx, write()).await)?;
    ensure!(ctx.gate.passed(), "the gate was not asked");
    let writes = server.seen().writes;
    ensure!(writes.len() == 1 && writes[0].client.as_deref() == Some("weir"), "{writes:?}");
    Ok(())
}

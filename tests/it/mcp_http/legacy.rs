//! What belongs to the era of `initialize`: sessions, streams that are taken up again, messages that cancel.

use std::sync::Arc;

use adapters::{Adapter, CallContext, Caller, Deadline, ErrorClass, Health, Notice, Principal, Sent};
use anyhow::{Context as _, Result, ensure};
use config::Effect;
use http::Method;
use serde_json::{Value, json};
use tests::contract::context;
use tokio::sync::mpsc;

use super::{Changes, PATIENCE, adapter, answer, complete, id_of, quick, request, result_for, spawn, until};
use crate::bridge::script::{Asked, Script, soon};

const DONE: &str = r#"{"content":[]}"#;

/// Answers `initialize` with a session of this id, and takes the end of the handshake.
async fn handshake(script: &mut Script, session: &str, list_changed: bool) {
    let asked = script.post(r#""method":"initialize""#).await;
    assert_eq!(asked.header("mcp-session-id"), None, "a new session begins without the old one");
    let capabilities = format!(r#"{{"tools":{{"listChanged":{list_changed}}}}}"#);
    let result =
        format!(r#"{{"protocolVersion":"2025-06-18","capabilities":{capabilities},"serverInfo":{{"name":"s"}}}}"#);
    let text = result_for(&asked, &result);
    asked.with(&[("mcp-session-id", session)], &text);
    let asked = script.post("notifications/initialized").await;
    assert_eq!(of_session(&asked), (Some("2025-06-18"), Some(session)));
    asked.status(202);
}

fn of_session(asked: &Asked) -> (Option<&str>, Option<&str>) {
    (asked.header("mcp-protocol-version"), asked.header("mcp-session-id"))
}

async fn server(mcp: &Value, list_changed: bool) -> Result<(Script, Arc<dyn Adapter>)> {
    let mut script = Script::start().await;
    let adapter = adapter(&format!("http://{}/mcp", script.address), mcp, &json!({}))?;
    script.post("server/discover").await.status(400);
    handshake(&mut script, "one", list_changed).await;
    Ok((script, adapter))
}

#[tokio::test]
async fn a_call_carries_version_and_session_and_its_stream_is_heard_to_the_answer() -> Result<()> {
    let (mut script, adapter) = server(&json!({}), false).await?;
    let (notices, mut told) = mpsc::channel(8);
    let ctx = CallContext { notices: Some(adapters::Notices::new(notices, None)), ..context(PATIENCE) };
    let calling = {
        let adapter = Arc::clone(&adapter);
        tokio::spawn(async move { adapter.call(&ctx, quick()).await })
    };
    let asked = script.post("tools/call").await;
    assert_eq!(of_session(&asked), (Some("2025-06-18"), Some("one")));
    assert_eq!(asked.header("mcp-method"), None);
    assert_eq!(asked.header("accept"), Some("application/json, text/event-stream"));
    let (id, result) = (id_of(&asked), result_for(&asked, r#"{"content":[],"big":9007199254740993,"ü" : 1}"#));
    let events = asked.events();
    for progress in [1, 2, 2] {
        let params = format!(r#"{{"progressToken":{id},"progress":{progress}}}"#);
        events.message(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#)).await;
    }
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#).await;
    events.message(r#"{"jsonrpc":"2.0","id":"q","method":"ping"}"#).await;
    let pong = script.post(r#""id":"q","result":{}"#).await;
    assert_eq!(of_session(&pong), (Some("2025-06-18"), Some("one")));
    pong.status(202);
    events.message(r#"{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{}}"#).await;
    script.post(r#""id":7,"error":{"code":-32601"#).await.status(202);
    events.message(r#"{"jsonrpc":"2.0","id":999,"result":{"of":"another request"}}"#).await;
    events.message(&result).await;
    let bytes = complete(calling.await?)?;
    ensure!(bytes == r#"{"content":[],"big":9007199254740993,"ü" : 1}"#, "{bytes:?}");
    let mut kinds = Vec::new();
    while let Ok(notice) = told.try_recv() {
        kinds.push(matches!(notice, Notice::Progress(_)));
    }
    ensure!(kinds == [true, true, false], "progress rises, and the log message comes: {kinds:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_that_find_their_session_lost_make_one_new_one_and_are_repeated() -> Result<()> {
    const CALLS: usize = 20;
    let (mut script, adapter) = server(&json!({}), false).await?;
    let calls: Vec<_> = (0..CALLS).map(|_| spawn(&adapter, "pay", Effect::Write)).collect();
    let mut waiting = Vec::new();
    for _ in 0..CALLS {
        waiting.push(script.post("tools/call").await);
    }
    for asked in waiting {
        assert_eq!(of_session(&asked).1, Some("one"));
        asked.status(404);
    }
    handshake(&mut script, "two", false).await;
    for _ in 0..CALLS {
        let asked = script.post("tools/call").await;
        assert_eq!(of_session(&asked).1, Some("two"));
        answer(asked, DONE);
    }
    for call in calls {
        complete(call.await?)?;
    }
    ensure!(script.is_quiet());
    Ok(())
}

/// What servers of the common SDKs say after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_about_the_session_means_that_it_is_lost() -> Result<()> {
    let (mut script, adapter) = server(&json!({}), false).await?;
    for (number, message) in
        ["Bad Request: Server not initialized", "Bad Request: No valid session ID provided"].iter().enumerate()
    {
        let call = spawn(&adapter, "pay", Effect::Write);
        let text = format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32000,"message":"{message}"}}}}"#);
        let head = || http::Response::builder().status(400).header("content-type", "application/json");
        script.post("tools/call").await.respond(head(), text);
        let session = format!("another-{number}");
        handshake(&mut script, &session, false).await;
        let asked = script.post("tools/call").await;
        assert_eq!(of_session(&asked).1, Some(session.as_str()));
        answer(asked, DONE);
        complete(call.await?)?;
        // About the request itself it is the request's own failure.
        let call = spawn(&adapter, "pay", Effect::Write);
        let asked = script.post("tools/call").await;
        let error = r#""error":{"code":-32602,"message":"No such session of yoga"}"#;
        let text = format!(r#"{{"jsonrpc":"2.0","id":{},{error}}}"#, id_of(&asked));
        asked.respond(head(), text);
        let error = call.await?.err().context("a result after a refusal")?;
        ensure!((error.class, error.sent) == (ErrorClass::Rejected, Sent::Yes), "{error:?}");
    }
    ensure!(script.is_quiet());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_repeated_once_alone() -> Result<()> {
    let (mut script, adapter) = server(&json!({}), false).await?;
    let call = spawn(&adapter, "pay", Effect::Write);
    script.post("tools/call").await.status(404);
    handshake(&mut script, "two", false).await;
    script.post("tools/call").await.status(404);
    let error = call.await?.err().context("a result without a session")?;
    ensure!((error.class, error.sent) == (ErrorClass::ConnectionLost, Sent::No), "{error:?}");
    ensure!(error.message.contains("forgets sessions"), "{error}");
    // For the next call there is a session again.
    handshake(&mut script, "three", false).await;
    let call = spawn(&adapter, "pay", Effect::Write);
    answer(script.post("tools/call").await, DONE);
    complete(call.await?).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_no_longer_needed_is_ended() -> Result<()> {
    let (mut script, adapter) = server(&json!({}), false).await?;
    until(&*adapter, Health::Up).await?;
    drop(adapter);
    let asked = script.bare(Method::DELETE).await;
    assert_eq!(of_session(&asked), (Some("2025-06-18"), Some("one")));
    asked.status(405);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_is_taken_up_again_where_the_server_gave_ids() -> Result<()> {
    let (mut script, adapter) = server(&json!({}), false).await?;
    let call = spawn(&adapter, "pay", Effect::Write);
    let asked = script.post("tools/call").await;
    let result = result_for(&asked, DONE);
    let events = asked.events();
    events.raw("id: first\nretry: 10\ndata:\n\n").await;
    drop(events);
    for id in ["first", "second"] {
        let resumed = script.bare(Method::GET).await;
        assert_eq!(resumed.header("last-event-id"), Some(id));
        assert_eq!(of_session(&resumed), (Some("2025-06-18"), Some("one")));
        let events = resumed.events();
        if id == "first" {
            events.raw("id: second\ndata:\n\n").await;
        } else {
            events.message(&result).await;
        }
    }
    complete(call.await?)?;
    ensure!(script.is_quiet());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_without_the_answer_leaves_a_write_unknown() -> Result<()> {
    let (mut script, adapter) = server(&json!({}), false).await?;
    for (effect, resumable) in [(Effect::Read, false), (Effect::Write, false), (Effect::Write, true)] {
        let call = spawn(&adapter, "pay", effect);
        let events = script.post("tools/call").await.events();
        events.raw(if resumable { "id: a\ndata:\n\n" } else { "data:\n\n" }).await;
        drop(events);
        if resumable {
            script.bare(Method::GET).await.status(405);
        }
        let error = call.await?.err().context("a result without an answer")?;
        ensure!((error.class, error.sent) == (ErrorClass::ConnectionLost, Sent::Unknown), "{error:?}");
    }
    ensure!(script.is_quiet(), "nothing is repeated");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_cancelled_by_a_message_of_its_session() -> Result<()> {
    let (mut script, adapter) = server(&json!({}), false).await?;
    let ctx = context(PATIENCE);
    let cancel = ctx.cancel.clone();
    let calling = {
        let adapter = Arc::clone(&adapter);
        tokio::spawn(async move { adapter.call(&ctx, quick()).await })
    };
    let mut asked = script.post("tools/call").await;
    cancel.cancel();
    let error = calling.await?.err().context("a result after all")?;
    ensure!(error.class == ErrorClass::Cancelled, "{error:?}");
    asked.abandoned().await;
    let told = script.post(r#""method":"notifications/cancelled""#).await;
    ensure!(told.body.contains(&format!(r#""requestId":{}"#, id_of(&asked))), "{}", told.body);
    assert_eq!(of_session(&told), (Some("2025-06-18"), Some("one")));
    told.status(202);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_list_come_by_a_stream_that_is_taken_up_again() -> Result<()> {
    const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let (mut script, adapter) = server(&json!({}), true).await?;
    let mut changes = Changes::of(&*adapter);
    let stream = script.bare(Method::GET).await;
    assert_eq!((stream.header("accept"), stream.header("last-event-id")), (Some("text/event-stream"), None));
    assert_eq!(of_session(&stream), (Some("2025-06-18"), Some("one")));
    let events = stream.events();
    events.message(CHANGED).await;
    changes.next().await?;
    events.message(r#"{"jsonrpc":"2.0","id":"q","method":"ping"}"#).await;
    script.post(r#""id":"q","result":{}"#).await.status(202);
    events.raw(format!("id: 5\ndata: {CHANGED}\n\n")).await;
    changes.next().await?;
    drop(events);
    let stream = script.bare(Method::GET).await;
    assert_eq!(stream.header("last-event-id"), Some("5"));
    // The server forgot the session meanwhile: a new one is made, and whatever changed is asked for.
    stream.status(404);
    handshake(&mut script, "two", true).await;
    changes.next().await?;
    let stream = script.bare(Method::GET).await;
    assert_eq!((stream.header("last-event-id"), of_session(&stream).1), (None, Some("two")));
    stream.status(405);
    // A server without such a stream is left alone.
    let call = spawn(&adapter, "echo", Effect::Read);
    answer(script.post("tools/call").await, DONE);
    complete(call.await?)?;
    ensure!(script.is_quiet());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_has_a_session_where_that_is_wanted() -> Result<()> {
    let (mut script, adapter) = server(&json!({ "sharing": "per_caller" }), false).await?;
    let call = |who: &str| {
        let mut caller = Caller::local(&[]);
        caller.principal = Principal { subject: who.into(), ..caller.principal };
        let ctx = CallContext::new(Arc::new(caller), Deadline::after(PATIENCE));
        let adapter = Arc::clone(&adapter);
        tokio::spawn(async move { adapter.call(&ctx, quick()).await })
    };
    for (who, session, new) in [("ann", "of-ann", true), ("bob", "of-bob", true), ("ann", "of-ann", false)] {
        let call = call(who);
        if new {
            handshake(&mut script, session, false).await;
        }
        let asked = script.post("tools/call").await;
        assert_eq!(of_session(&asked).1, Some(session));
        answer(asked, DONE);
        complete(call.await?)?;
    }
    drop(adapter);
    let mut ended = Vec::new();
    for _ in 0..3 {
        let asked = script.bare(Method::DELETE).await;
        ended.push(of_session(&asked).1.unwrap_or_default().to_owned());
        asked.status(200);
    }
    ended.sort();
    ensure!(ended == ["of-ann", "of-bob", "one"], "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_a_session_where_that_is_wanted() -> Result<()> {
    let (mut script, adapter) = server(&json!({ "sharing": "per_call" }), false).await?;
    for session in ["two", "three"] {
        let call = spawn(&adapter, "echo", Effect::Read);
        handshake(&mut script, session, false).await;
        let asked = script.post("tools/call").await;
        assert_eq!(of_session(&asked).1, Some(session));
        answer(asked, DONE);
        complete(soon("the answer", call).await?)?;
        let asked = script.bare(Method::DELETE).await;
        assert_eq!(of_session(&asked).1, Some(session));
        asked.status(200);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_weir_waits_until_every_session_is_ended() -> Result<()> {
    let (mut script, adapter) = server(&json!({ "sharing": "per_caller" }), false).await?;
    let call = spawn(&adapter, "echo", Effect::Read);
    handshake(&mut script, "own", false).await;
    answer(script.post("tools/call").await, DONE);
    complete(call.await?)?;
    let closing = Arc::clone(&adapter);
    let closing = tokio::spawn(async move { closing.close().await });
    let goodbyes = [script.bare(Method::DELETE).await, script.bare(Method::DELETE).await];
    let mut ended: Vec<_> = goodbyes.iter().map(|asked| of_session(asked).1).collect();
    ended.sort_unstable();
    ensure!(ended == [Some("one"), Some("own")], "{ended:?}");
    ensure!(!closing.is_finished());
    goodbyes.into_iter().for_each(|asked| asked.status(204));
    soon("the end", closing).await?;
    let error = spawn(&adapter, "echo", Effect::Read).await?.err().context("a result after the end")?;
    ensure!((error.class, error.sent) == (ErrorClass::Unreachable, Sent::No), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_a_legacy_answer_is_read() -> Result<()> {
    let (mut script, adapter) = server(&json!({}), false).await?;
    let calling = {
        let adapter = Arc::clone(&adapter);
        tokio::spawn(async move { adapter.call(&context(PATIENCE), request("echo", &json!({}), Effect::Read)).await })
    };
    let asked = script.post("tools/call").await;
    let text = format!(r#"[{{"jsonrpc":"2.0","method":"x"}},{}]"#, result_for(&asked, DONE));
    asked.json(&text);
    ensure!(complete(calling.await?)? == DONE);
    Ok(())
}

//! Messages of the legacy era (2025-11-25 and before) through the bridge.

use http::Method;

use super::script::{Asked, Client, INITIALIZE, INITIALIZE_ANSWER, INITIALIZED, Script, soon};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn call(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"t{id}"}}}}"#)
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

fn in_session(asked: &Asked, session: &str) {
    assert_eq!(asked.header("mcp-session-id"), Some(session));
    assert_eq!(
        asked.header("mcp-protocol-version"),
        Some("2025-06-18"),
        "the version that was negotiated, not the one asked for"
    );
}

#[tokio::test]
async fn a_session_runs_from_its_handshake_to_its_end() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    // All at once: what follows the handshake must not overtake it.
    client.send(INITIALIZE).await;
    client.send(INITIALIZED).await;
    client.send(LIST).await;
    let asked = router.post("initialize").await;
    assert_eq!(asked.body, INITIALIZE);
    assert_eq!(
        (asked.header("mcp-session-id"), asked.header("mcp-protocol-version"), asked.header("mcp-method")),
        (None, None, None)
    );
    let events = Asked::events(asked);
    assert!(router.is_quiet());
    events.message(INITIALIZE_ANSWER).await;
    assert_eq!(client.line().await, INITIALIZE_ANSWER);
    drop(events);

    let asked = router.post("initialized").await;
    assert_eq!(asked.body, INITIALIZED);
    assert_eq!(
        (asked.header("mcp-session-id"), asked.header("mcp-protocol-version")),
        (None, Some("2025-06-18")),
        "no id was given"
    );
    assert!(router.is_quiet());
    asked.status(202);
    let (first, second) = (router.next().await, router.next().await);
    let (list, stream) = if first.method == Method::POST { (first, second) } else { (second, first) };
    assert_eq!(list.body, LIST);
    list.json(&result(1));
    assert_eq!(client.line().await, result(1));

    assert_eq!((stream.method.as_str(), stream.header("accept")), ("GET", Some("text/event-stream")));
    let unasked = stream.events();
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    unasked.message(changed).await;
    assert_eq!(client.line().await, changed);
    assert!(client.finish().await.is_empty());
    unasked.closed().await;
    assert!(router.is_quiet(), "without an id there is no session to end");
}

#[tokio::test]
async fn the_session_is_named_everywhere_and_ended() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    router.handshake(&mut client, "s-1").await;
    client.send(LIST).await;
    let asked = router.post(LIST).await;
    in_session(&asked, "s-1");
    asked.json(&result(1));
    client.line().await;
    client.close();
    let asked = router.bare(Method::DELETE).await;
    in_session(&asked, "s-1");
    asked.status(405);
    assert!(client.finish().await.is_empty());
}

#[tokio::test]
async fn questions_of_the_server_reach_the_client_and_answers_the_server() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    router.handshake(&mut client, "s-1").await;
    client.send(&call(1)).await;
    let events = router.post("t1").await.events();
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"sure?"}}"#;
    events.message(question).await;
    assert_eq!(client.line().await, question);
    let answer = r#"{"jsonrpc":"2.0","id":"q", "result":{"action":"accept"}}"#;
    client.send(answer).await;
    let asked = router.post("accept").await;
    assert_eq!(asked.body, answer);
    in_session(&asked, "s-1");
    asked.status(202);
    events.message(&result(1)).await;
    assert_eq!(client.line().await, result(1));
}

#[tokio::test]
async fn a_forgotten_session_is_renewed_without_the_client_noticing() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    router.handshake(&mut client, "s-1").await;
    client.send(&call(1)).await;
    client.send(&call(2)).await;
    let (first, second) = (router.next().await, router.next().await);
    first.status(404);
    second.status(404);

    // One renewal serves both.
    let asked = router.post("initialize").await;
    assert_eq!(asked.body, INITIALIZE);
    assert_eq!(asked.header("mcp-session-id"), None);
    asked.with(&[("mcp-session-id", "s-2")], INITIALIZE_ANSWER);
    let asked = router.post("initialized").await;
    assert_eq!(asked.body, INITIALIZED);
    in_session(&asked, "s-2");
    asked.status(202);
    let mut calls = Vec::new();
    for _ in 0..3 {
        let asked = router.next().await;
        in_session(&asked, "s-2");
        if asked.method == Method::GET {
            asked.status(405);
        } else {
            calls.push(asked.body.clone());
            let id = if asked.body == call(1) { 1 } else { 2 };
            asked.json(&result(id));
        }
    }
    calls.sort();
    assert_eq!(calls, [call(1), call(2)]);
    let mut lines = [client.line().await, client.line().await];
    lines.sort();
    assert_eq!(lines, [result(1), result(2)]);

    // A router that forgets at once is not asked for ever.
    client.send(&call(3)).await;
    router.post("t3").await.status(404);
    router.post("initialize").await.with(&[("mcp-session-id", "s-3")], INITIALIZE_ANSWER);
    router.post("initialized").await.status(202);
    for _ in 0..2 {
        router.next().await.status(404);
    }
    assert!(client.error().await.2.contains("404"));
}

#[tokio::test]
async fn after_a_restart_the_stream_of_the_server_comes_back_with_a_new_session() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    let with_changes = INITIALIZE_ANSWER.replace(r#""tools":{}"#, r#""tools":{"listChanged":true}"#);
    client.send(INITIALIZE).await;
    router.post("initialize").await.with(&[("mcp-session-id", "s-1")], &with_changes);
    client.line().await;
    client.send(INITIALIZED).await;
    router.post("initialized").await.status(202);
    let unasked = router.bare(Method::GET).await.events();
    unasked.raw("id: 41\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/a\"}\n\n").await;
    client.line().await;

    drop(unasked);
    let asked = router.bare(Method::GET).await;
    assert_eq!(asked.header("last-event-id"), Some("41"), "a stream that only broke is taken up where it was");
    let unasked = asked.events();
    unasked.message(r#"{"jsonrpc":"2.0","method":"notifications/b"}"#).await;
    client.line().await;

    router.kill().await;
    router.open().await;
    router.bare(Method::GET).await.status(404);
    router.post("initialize").await.with(&[("mcp-session-id", "s-2")], &with_changes);
    router.post("initialized").await.status(202);
    assert_eq!(client.line().await, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    let asked = router.bare(Method::GET).await;
    in_session(&asked, "s-2");
    assert_eq!(asked.header("last-event-id"), None);
    let unasked = asked.events();
    unasked.message(r#"{"jsonrpc":"2.0","method":"notifications/c"}"#).await;
    assert_eq!(client.line().await, r#"{"jsonrpc":"2.0","method":"notifications/c"}"#);
}

#[tokio::test]
async fn a_cancellation_is_passed_on_and_nothing_late_is_written() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    router.handshake(&mut client, "s-1").await;
    client.send(&call(1)).await;
    let events = router.post("t1").await.events();
    let cancelled = r#"{"jsonrpc":"2.0",  "method":"notifications/cancelled","params":{"requestId":1.0}}"#;
    client.send(cancelled).await;
    let asked = router.post("cancelled").await;
    assert_eq!(asked.body, cancelled);
    in_session(&asked, "s-1");
    // Until the message has arrived the stream stays: to a legacy server its end would mean nothing.
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#).await;
    client.send(&call(2)).await;
    router.post("t2").await.json(&result(2));
    assert_eq!(client.line().await, result(2), "what belongs to the cancelled request is kept back");
    asked.status(202);
    events.closed().await;
    client.send(&call(3)).await;
    router.post("t3").await.json(&result(3));
    assert_eq!(client.line().await, result(3));
}

#[tokio::test]
async fn when_the_input_ends_running_requests_are_cancelled_and_the_session_ends() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    router.handshake(&mut client, "s-1").await;
    client.send(&call(1)).await;
    let running = router.post("t1").await;
    client.close();
    let asked = router.post("notifications/cancelled").await;
    assert!(asked.body.contains(r#""requestId":1"#), "{}", asked.body);
    in_session(&asked, "s-1");
    asked.status(202);
    let asked = router.bare(Method::DELETE).await;
    in_session(&asked, "s-1");
    // A server that does not answer holds nothing up.
    assert!(client.finish().await.is_empty());
    drop((asked, running));
}

#[tokio::test]
async fn a_batch_goes_as_it_is_and_each_request_in_it_is_answered() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    router.handshake(&mut client, "s-1").await;
    let batch = format!(r#"[ {}, {},{{"jsonrpc":"2.0","method":"notifications/x"}}]"#, call(1), call(2));
    client.send(&batch).await;
    let asked = router.post("t1").await;
    assert_eq!(asked.body, batch);
    let answer = format!("[{}, {}]", result(2), result(1));
    asked.json(&answer);
    assert_eq!(client.line().await, answer);

    client.send(&batch).await;
    let events = router.post("t1").await.events();
    events.message(&result(2)).await;
    assert_eq!(client.line().await, result(2));
    drop(events);
    assert_eq!(client.error().await.0, "1", "only the one without an answer");

    let notifications = r#"[{"jsonrpc":"2.0","method":"notifications/x"}]"#;
    client.send(notifications).await;
    router.post(notifications).await.status(202);
}

#[tokio::test]
async fn a_broken_stream_is_resumed_where_the_server_can() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    router.handshake(&mut client, "s-1").await;
    client.send(&call(1)).await;
    let events = router.post("t1").await.events();
    events.raw("id: e-1\nretry: 1\ndata:\n\n").await;
    drop(events);
    let asked = router.bare(Method::GET).await;
    in_session(&asked, "s-1");
    assert_eq!(asked.header("last-event-id"), Some("e-1"));
    let events = asked.events();
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#).await;
    client.line().await;
    drop(events);
    let asked = router.bare(Method::GET).await;
    assert_eq!(asked.header("last-event-id"), Some("e-1"));
    asked.events().message(&result(1)).await;
    assert_eq!(soon("the answer", client.line()).await, result(1));
}

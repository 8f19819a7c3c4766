//! Messages of the modern era (2026-07-28) through the bridge.

use std::time::Duration;

use http::Method;

use super::script::{Client, Script, settings};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn call(id: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{{META},{params}}}}}"#)
}

#[tokio::test]
async fn every_byte_of_a_message_and_of_its_answer_stays() {
    let mut router = Script::start().await;
    let mut client = Client::start_with(router.url(), Some("weir_key"), settings());
    let request = call(
        "12345678901234567890",
        r#" "name" : "crm__get","z":1,"a":9007199254740993,"arguments":{"text":"ä\u00e4\n  😀"}"#,
    );
    client.send(&request).await;
    let asked = router.post("crm__get").await;
    assert_eq!(asked.body, request);
    assert_eq!(asked.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(asked.header("mcp-method"), Some("tools/call"));
    assert_eq!(asked.header("mcp-name"), Some("crm__get"));
    assert_eq!(asked.header("authorization"), Some("Bearer weir_key"));
    assert_eq!(asked.header("accept"), Some("application/json, text/event-stream"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("mcp-session-id"), None);
    let answer = r#"{"z" :1, "jsonrpc":"2.0","id":12345678901234567890,"result":{"resultType":"complete","n":18446744073709551616,"n":1.0,"t":"\n"}}"#;
    asked.json(answer);
    assert_eq!(client.line().await, answer);
    assert!(client.finish().await.is_empty());
    assert!(router.is_quiet(), "a modern client has no session to end");
}

#[tokio::test]
async fn in_memory_everything_is_the_same() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.connector());
    let large = call("1", &format!(r#""name":"a","arguments":{{"text":"{}"}}"#, "x".repeat(100_000)));
    client.send(&large).await;
    let asked = router.post("").await;
    assert_eq!((asked.body.as_str(), asked.header("host")), (large.as_str(), Some("localhost")));
    let events = asked.events();
    events.message(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#).await;
    assert_eq!(client.line().await, r#"{"jsonrpc":"2.0","method":"notifications/message"}"#);
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#).await;
    events.closed().await;
    assert!(client.finish().await.is_empty());
}

#[tokio::test]
async fn events_become_lines_even_when_their_json_is_pretty() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    client.send(&call("1", r#""name":"slow""#)).await;
    let events = router.post("slow").await.events();
    events.raw(": keep-alive\n\nretry: 10\n").await;
    events.raw("\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"par").await;
    events.raw("ams\":{\"progressToken\":1,\"progress\":1}}\r").await;
    events.raw("\n\r\ndata: {\ndata:   \"jsonrpc\": \"2.0\", \"id\": 1,\ndata:   \"result\": { \"a\": \"b\\nc  d\" }\ndata: }\n\n").await;
    assert_eq!(
        client.line().await,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#
    );
    assert_eq!(client.line().await, r#"{  "jsonrpc": "2.0", "id": 1,  "result": { "a": "b\nc  d" }}"#);
    assert!(client.finish().await.is_empty());
}

#[tokio::test]
async fn an_error_of_the_router_passes_with_its_status() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found","data":{"z":1,"a":2}}}"#;
    client.send(&call("1", r#""name":"a""#)).await;
    router
        .post("")
        .await
        .respond(http::Response::builder().status(404).header("content-type", "application/json"), error);
    assert_eq!(client.line().await, error);
    client.send(&call("2", r#""name":"a""#)).await;
    let unnamed = r#"{"jsonrpc":"2.0","error":{ "code":-32000,"message":"bad origin" }}"#;
    router.post("").await.respond(http::Response::builder().status(403), unnamed);
    assert_eq!(client.line().await, r#"{"jsonrpc":"2.0","id":2,"error":{ "code":-32000,"message":"bad origin" }}"#);
}

#[tokio::test]
async fn cancelling_closes_the_stream_and_nothing_late_is_written() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    client.send(&call("1", r#""name":"one""#)).await;
    let streaming = router.post("one").await.events();
    client.send(&call(r#""2""#, r#""name":"two""#)).await;
    let mut waiting = router.post("two").await;
    client.send(&call("3", r#""name":"three""#)).await;
    let untouched = router.post("three").await;
    client
        .send(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":1,{META}}}}}"#))
        .await;
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"2","reason":"enough"}}"#)
        .await;
    streaming.closed().await;
    waiting.abandoned().await;
    waiting.json(r#"{"jsonrpc":"2.0","id":"2","result":{}}"#);
    untouched.json(r#"{"jsonrpc":"2.0","id":3,"result":{}}"#);
    assert_eq!(client.line().await, r#"{"jsonrpc":"2.0","id":3,"result":{}}"#);
    assert!(client.finish().await.is_empty());
    assert!(router.is_quiet(), "on HTTP no message tells of a cancellation");
}

#[tokio::test]
async fn a_client_that_waits_with_a_token_hears_signs_of_life() {
    let mut router = Script::start().await;
    let short = Duration::from_millis(40);
    let mut client =
        Client::start_with(router.url(), None, router::bridge::Settings { keepalive_every: short, ..settings() });
    let meta = META.replace(r#""_meta":{"#, r#""_meta":{"progressToken":"tok\u0065n","#);
    client
        .send(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{meta},"name":"mainframe__slow"}}}}"#
        ))
        .await;
    let events = router.post("slow").await.events();
    let mut last = 0.0;
    let mut rises = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(
            (&message["method"], &message["params"]["progressToken"]),
            (&"notifications/progress".into(), &"token".into())
        );
        let progress = message["params"]["progress"].as_f64().expect("a number");
        assert!(progress > last, "{progress} after {last}");
        last = progress;
        message["params"]["message"].as_str().unwrap_or_default().to_owned()
    };
    for _ in 0..2 {
        assert!(rises(&client.line().await).starts_with("still waiting for mainframe__slow ("));
    }
    // A first progress of 0 would fall behind what has been said.
    events
        .message(
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"token","progress":0}}"#,
        )
        .await;
    let real = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"token","progress":50,"total":100}}"#;
    events.message(real).await;
    let lines = [client.line().await, client.line().await, client.line().await];
    for line in &lines {
        rises(line);
    }
    assert!(lines.iter().any(|line| line == real), "{lines:?}");
    let last_real = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"token","progress":100,"total":100}}"#;
    events.message(last_real).await;
    while client.line().await != last_real {}
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    events.message(answer).await;
    assert_eq!(client.line().await, answer, "nothing is added beyond the total");
    assert!(client.finish().await.is_empty(), "and nothing behind the answer");
}

#[tokio::test]
async fn annotated_arguments_travel_as_headers() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"sql","inputSchema":{"properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}}"#;
    let call = call("2", r#""name":"sql","arguments":{"region":"Zürich"}"#);

    // A client that kept the list of an earlier run calls at once. The router misses the header; the bridge asks for the list itself.
    client.send(&call).await;
    let asked = router.post("Zürich").await;
    assert_eq!(asked.header("mcp-param-region"), None);
    let mismatch = r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32020,"message":"Header mismatch"}}"#;
    asked.respond(http::Response::builder().status(400), mismatch);
    let asked = router.post(r#""method":"tools/list""#).await;
    assert_eq!(
        (asked.header("mcp-method"), asked.header("mcp-protocol-version")),
        (Some("tools/list"), Some("2026-07-28"))
    );
    asked.json(list);
    let asked = router.post("Zürich").await;
    assert_eq!(
        (asked.body.as_str(), asked.header("mcp-param-region")),
        (call.as_str(), Some("=?base64?WsO8cmljaA==?="))
    );
    asked.json(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);
    assert_eq!(client.line().await, r#"{"jsonrpc":"2.0","id":2,"result":{}}"#);

    // A list that passes through teaches as well: here that the annotation is gone. A mismatch in spite of it goes to the client.
    client.send(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{META}}}}}"#)).await;
    router.post("tools/list").await.json(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#);
    client.line().await;
    client.send(&call).await;
    let asked = router.post("Zürich").await;
    assert_eq!(asked.header("mcp-param-region"), None);
    asked.respond(http::Response::builder().status(400), mismatch);
    router.post("tools/list").await.json(list);
    router.post("Zürich").await.respond(http::Response::builder().status(400), mismatch);
    assert_eq!(client.line().await, mismatch);
}

#[tokio::test]
async fn a_subscription_outlives_a_restart_of_the_router() {
    let mut router = Script::start().await;
    let endless = router::bridge::Settings { closing_grace: Duration::from_secs(3600), ..settings() };
    let mut client = Client::start_with(router.url(), None, endless);
    let listen = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{{{META},"notifications":{{"toolsListChanged":true}}}}}}"#
    );
    let acknowledged = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7},"notifications":{"toolsListChanged":true}}}"#;
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}"#;
    client.send(&listen).await;
    let events = router.post("listen").await.events();
    events.message(acknowledged).await;
    assert_eq!(client.line().await, acknowledged);

    router.kill().await;
    router.open().await;
    let events = router.post("listen").await.events();
    events.message(acknowledged).await;
    assert_eq!(client.line().await, changed, "it is not acknowledged twice, but the tools may have changed");
    events.message(changed).await;
    assert_eq!(client.line().await, changed);

    let ended = r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete"}}"#;
    events.message(ended).await;
    assert_eq!(client.line().await, ended);
    client.send(&listen).await;
    let events = router.post("listen").await.events();
    assert!(client.finish().await.is_empty(), "an open subscription holds nothing up");
    events.closed().await;
}

#[tokio::test]
async fn when_the_input_ends_running_calls_get_a_moment_and_are_then_dropped() {
    let mut router = Script::start().await;
    let mut client = Client::start(router.url());
    client.send(&call("1", r#""name":"quick""#)).await;
    client.send_raw(call("2", r#""name":"slow""#).as_bytes()).await;
    let quick = router.post("quick").await;
    client.close();
    // The last line had no newline: the end of the input completes it.
    let mut slow = router.post("slow").await;
    quick.json(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(client.finish().await, [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#]);
    slow.abandoned().await;
    assert!(router.is_quiet());
}

#[tokio::test]
async fn no_more_messages_than_allowed_are_on_their_way_and_none_is_lost() {
    let mut router = Script::start().await;
    let mut client =
        Client::start_with(router.url(), None, router::bridge::Settings { in_flight_max: 4, ..settings() });
    for id in 0..20 {
        client.send(&call(&id.to_string(), r#""name":"x""#)).await;
    }
    // Cancelled while it waits for its turn: the router never hears of it.
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":19}}"#).await;
    let mut open = Vec::new();
    let mut answered = Vec::new();
    for turn in 0..19 {
        if turn >= 4 {
            assert!(router.is_quiet(), "a fifth message was sent");
            let asked: super::script::Asked = open.remove(0);
            let id = serde_json::from_str::<serde_json::Value>(&asked.body).expect("JSON")["id"].to_string();
            asked.json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
            assert_eq!(client.line().await, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
            answered.push(id);
        }
        let asked = router.next().await;
        assert_eq!(asked.method, Method::POST);
        open.push(asked);
    }
    assert_eq!(answered.len(), 15);
    assert!(client.finish().await.is_empty());
}

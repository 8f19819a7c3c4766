//! What is a request on this surface, and what its answers look like.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, open_house, speak};

use super::{call, config, post, server};

#[tokio::test(flavor = "multi_thread")]
async fn a_result_comes_as_the_downstream_gave_it() -> Result<()> {
    let server = server().await?;
    let router = TestRouter::ready(&config(&server).to_string()).await?;
    let answer = call(&router, "raw__fine", &json!({ "n": 1 })).await?;
    let result = r#"{"content":[{"type":"text","text":"9007199254740993"}], "x":1.0}"#;
    let start = format!("{{\"status\":\"ok\",\"result\":{result},\"_meta\":{{\"weir/request_id\":\"");
    ensure!(answer.text.starts_with(&start), "{answer:?}");
    ensure!(answer.headers["content-type"] == "application/json" && answer.headers["cache-control"] == "no-store");
    let record = &router.records().await?[0];
    ensure!(record["request_id"] == answer.json()?["_meta"]["weir/request_id"] && record["surface"] == "plain");

    // What is judged is what is sent: spelling, order and numbers of the arguments stay.
    let arguments = r#"{ "n":1 ,"e":1.50e+3,"s":"\u00e9\/" }"#;
    post(&router, None, format!(r#"{{"arguments":{arguments},"name":"raw__f\u0069ne"}}"#)).await?;
    let received = server.received();
    let sent = received.last().and_then(|message| message.params.clone()).unwrap_or_default();
    ensure!(sent.contains(&format!("\"arguments\":{arguments}")), "{sent}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_methods_and_members_that_there_are_do_something() -> Result<()> {
    let server = server().await?;
    let router = TestRouter::ready(&config(&server).to_string()).await?;
    let json_type = [("content-type", "application/json")];
    for (path, allowed) in [("/v1/tools", "GET"), ("/v1/tools/call", "POST")] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
            if method == allowed {
                continue;
            }
            let method = Method::from_bytes(method.as_bytes())?;
            let answer = router.send(method, path, &json_type, r#"{"name":"raw__fine"}"#).await?;
            ensure!(answer.status == 405 && answer.headers["allow"] == allowed, "{path}: {answer:?}");
            ensure!(answer.headers["cache-control"] == "no-store");
        }
    }
    for path in
        ["/v1", "/v1/", "/v1/tools/", "/v1/tools/call/", "/v1/Tools", "//v1/tools", "/v2/tools", "/v1/tools%2fcall"]
    {
        ensure!(router.send(Method::GET, path, &[], "").await?.status == 404, "{path}");
    }
    for query in ["format=openai", "format=anthropic&cursor=x", "limit=5", "format=anthropic&format=mcp"] {
        let answer = router.send(Method::GET, &format!("/v1/tools?{query}"), &[], "").await?;
        ensure!(answer.status == 400 && answer.text.contains("anthropic"), "{query}: {answer:?}");
    }
    let deep = format!("{{\"name\":\"raw__fine\",\"arguments\":{{\"a\":{}{}}}}}", "[".repeat(200), "]".repeat(200));
    for (body, status, told) in [
        ("", 400, "not JSON"),
        ("{}", 400, "`name` is missing"),
        ("[]", 400, "JSON object"),
        ("\u{feff}{}", 400, "not JSON"),
        (r#"{"name":"raw__fine"}{}"#, 400, "not JSON"),
        (r#"{"name":"raw__fine","name":"raw__fine"}"#, 400, "stands twice"),
        (r#"{"name":"raw__fine","arguments":{"n":1,"\u006e":2}}"#, 400, "stands twice"),
        (r#"{"name":"raw__fine","arguments":{"n":"\ud800"}}"#, 400, "not JSON"),
        (&deep, 400, "nest deeper"),
        (r#"{"name":"raw__fine","arguments":[]}"#, 400, "`arguments` is an object"),
        (r#"{"name":"raw__fine","timeout":50}"#, 400, "only `name`, `arguments`, `timeout_ms` and `idempotency_key`"),
        (r#"{"name":"raw__fine","timeout_ms":"50"}"#, 400, "whole number of milliseconds"),
        (r#"{"name":"raw__fine","idempotency_key":"k 1"}"#, 400, "visible ASCII"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"raw__fine"}}"#, 400, "jsonrpc"),
    ] {
        let answer = post(&router, None, body.to_owned()).await?;
        ensure!(answer.status == status && answer.json()?["detail"].to_string().contains(told), "{body}: {answer:?}");
        ensure!(answer.headers["content-type"] == "application/problem+json", "{answer:?}");
        ensure!(answer.json()?["status"] == status, "{answer:?}");
    }
    let fine = r#"{"name":"raw__fine"}"#;
    for (path, headers, status) in [
        ("/v1/tools/call", &[("content-type", "text/plain")][..], 415),
        ("/v1/tools/call", &[], 415),
        ("/v1/tools/call", &[("content-type", "application/json"), ("content-type", "text/plain")], 415),
        ("/v1/tools/call", &[("content-type", "application/json"), ("content-encoding", "gzip")], 415),
        ("/v1/tools/call", &[("content-type", "application/json"), ("accept", "text/event-stream")], 406),
        ("/v1/tools/call", &[("content-type", "application/json"), ("idempotency-key", "\"k1")], 400),
        ("/v1/tools/call", &[("content-type", "application/json"), ("origin", "http://evil.example")], 403),
        ("/v1/tools/call", &[("content-type", "application/json"), ("host", "evil.example")], 403),
        ("/v1/tools/call?timeout_ms=5", &[("content-type", "application/json")], 400),
    ] {
        let answer = router.send(Method::POST, path, headers, fine).await?;
        ensure!(answer.status == status, "{path} {headers:?}: {answer:?}");
    }
    let over_mcp = Ask::call("raw__fine", json!({}));
    let in_meta = over_mcp.clone().change(|body| body["params"]["_meta"]["weir/idempotency_key"] = json!("k1"));
    let wrong = over_mcp.clone().change(|body| body["params"]["_meta"]["weir/idempotency_key"] = json!(1));
    for ask in [wrong, over_mcp.header("idempotency-key", "k 1"), in_meta.header("idempotency-key", "k2")] {
        let answer = router.ask(&ask).await?;
        ensure!(answer.error_code() == Some(-32602) && answer.text.contains("Nothing was sent"), "{answer:?}");
    }
    ensure!(server.received().iter().all(|message| message.tool().is_none()), "something was sent");
    ensure!(router.records().await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_before_more_than_the_limit_is_read() -> Result<()> {
    let server = server().await?;
    let router = TestRouter::ready(&config(&server).to_string()).await?;
    let own = router.authority();
    let head = |rest: &str| {
        format!("POST /v1/tools/call HTTP/1.1\r\nhost: {own}\r\ncontent-type: application/json\r\n{rest}\r\n")
            .into_bytes()
    };
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x1_0000], b"\r\n"].concat();
    // Of what is declared not a byte of the body is sent; of what has no end, the limit and one piece more.
    for (what, bytes, status) in [
        ("100 MiB declared", head("content-length: 104857600\r\n"), 413),
        ("one byte too many", head(&format!("content-length: {}\r\n", (4 << 20) + 1)), 413),
        ("endless chunks", [head("transfer-encoding: chunked\r\n"), chunk.repeat(65)].concat(), 413),
        ("a gzip bomb", head("content-encoding: gzip\r\ncontent-length: 104857600\r\n"), 415),
        ("an endless gzip bomb", head("content-encoding: gzip\r\ntransfer-encoding: chunked\r\n"), 415),
    ] {
        let answer = speak(router.running().callers, &bytes).await?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
    let mut largest = r#"{"name":"raw__fine"}"#.to_owned();
    largest.push_str(&" ".repeat((4 << 20) - largest.len()));
    ensure!(post(&router, None, largest).await?.status == 200, "the limit itself is allowed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_for_the_messages_api_holds_what_that_api_takes() -> Result<()> {
    let tools = json!([
        { "name": "plain", "description": "Does it.", "inputSchema": { "type": "object", "properties": { "a": {} } },
          "outputSchema": { "type": "object" }, "annotations": { "readOnlyHint": true }, "_meta": { "x": 1 } },
        { "name": "with.dots/and more", "inputSchema": { "type": "object" } },
        { "name": "odd", "inputSchema": { "type": "object", "anyOf": [{ "required": ["a"] }, { "required": ["b"] }],
          "properties": { "a": {}, "b": {}, "filter[id]": { "type": "string" } } } },
    ]);
    let server = RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())]),
        _ => None,
    })
    .await?;
    let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
    let answer = router.send(Method::GET, "/v1/tools?format=anthropic", &[], "").await?;
    let listed = answer.json()?;
    let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(listed.len() == 3 && answer.headers["vary"] == "authorization", "{answer:?}");
    let freshness = answer.headers["cache-control"].to_str()?;
    let seconds = freshness.strip_prefix("private, max-age=").and_then(|seconds| seconds.parse::<u64>().ok());
    ensure!(seconds.is_some_and(|seconds| seconds <= 60), "{freshness}");
    for tool in listed {
        let members: Vec<_> = tool.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        ensure!(members.iter().all(|key| ["name", "description", "input_schema"].contains(key)), "{tool}");
        let name = tool["name"].as_str().unwrap_or_default();
        let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        ensure!((1..=64).contains(&name.len()) && name.chars().all(is_legal), "{tool}");
        let schema = &tool["input_schema"];
        ensure!(schema["type"] == "object" && schema.get("anyOf").is_none(), "{tool}");
    }
    let odd = listed.iter().find(|tool| tool["name"] == "raw__odd").cloned().unwrap_or_default();
    ensure!(odd["input_schema"]["properties"] == json!({ "a": {}, "b": {} }), "{odd}");
    ensure!(
        odd["description"].as_str().is_some_and(|text| text.contains("filter[id]") && text.contains("anyOf")),
        "{odd}"
    );
    let whole: Value = router.send(Method::GET, "/v1/tools", &[], "").await?.json()?;
    ensure!(whole["tools"].as_array().map(Vec::len) == Some(3) && whole["tools"][0].get("inputSchema").is_some());
    Ok(())
}

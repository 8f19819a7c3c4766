mod client;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use super::{Faults, LONG_NAME, McpOptions, McpServer, Running, Tools};
use crate::Era;
use crate::customers::{CUSTOMERS, SEED};
use client::{Client, WebSocket, initialize, modern_meta};

fn awkward() -> McpServer {
    McpServer::new(McpOptions { tools: Tools::Awkward, ..McpOptions::default() })
}

async fn websocket(server: &McpServer) -> (Running, Client) {
    let running = server.websocket("127.0.0.1:0").await.expect("it listens");
    let client = Client::websocket(&running.url).await;
    (running, client)
}

/// What each transport answers to the era of the question, for a server of each kind.
#[tokio::test]
async fn every_transport_lists_and_calls_in_the_eras_that_it_speaks() {
    for era in [Era::Both, Era::LegacyOnly, Era::ModernOnly] {
        let server = McpServer::new(McpOptions { era, ..McpOptions::default() });
        let websocket = server.websocket("127.0.0.1:0").await.expect("it listens");
        let http = server.http("127.0.0.1:0").await.expect("it listens");
        for transport in ["websocket", "http", "lines"] {
            let connect = || async {
                match transport {
                    "websocket" => Client::websocket(&websocket.url).await,
                    "http" => Client::http(http.addr).await,
                    _ => Client::lines(server.clone()),
                }
            };
            let here = format!("{era:?} over {transport}");

            let mut client = connect().await;
            let discovered = client.ask("server/discover", json!({ "_meta": modern_meta() })).await;
            match (era.speaks_modern(), transport) {
                (true, _) => {
                    assert!(
                        discovered["result"]["supportedVersions"].to_string().contains("2026-07-28"),
                        "{here}: {discovered}"
                    );
                    list_and_call(&mut client, json!({ "_meta": modern_meta() }), &here).await;
                }
                (false, "http") => assert_eq!(client.status(), 400, "{here}: {discovered}"),
                (false, _) => assert_eq!(discovered["error"]["code"], -32601, "{here}: {discovered}"),
            }

            // On the same connection, as a client does that has tried the other era first. rmcp fixes the era of a
            // connection that has served a modern request, so that one is asked afresh.
            if era.speaks_modern() {
                client = connect().await;
            }
            let initialized = client.ask("initialize", initialize()).await;
            if era.speaks_legacy() {
                assert_eq!(initialized["result"]["protocolVersion"], "2025-11-25", "{here}: {initialized}");
                client.tell("notifications/initialized", json!({})).await;
                list_and_call(&mut client, json!({}), &here).await;
            } else {
                assert_eq!(initialized["error"]["code"], -32022, "{here}: {initialized}");
                assert_eq!(initialized["error"]["data"]["supported"], json!(["2026-07-28"]), "{here}: {initialized}");
                list_and_call(&mut client, json!({ "_meta": modern_meta() }), &here).await;
            }
        }
        http.stop().await;
        websocket.stop().await;
    }
}

async fn list_and_call(client: &mut Client, params: Value, here: &str) {
    let listed = client.ask("tools/list", params.clone()).await;
    let names: Vec<&str> =
        listed["result"]["tools"].as_array().expect("tools").iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(
        names,
        ["get_merchant", "get_customer_history", "check_fraud_patterns", "log_transaction_enrichment"],
        "{here}"
    );
    let mut call = json!({ "name": "get_merchant", "arguments": { "merchant_id": "M-0042" } });
    call.as_object_mut().expect("an object").extend(params.as_object().expect("an object").clone());
    let called = client.ask("tools/call", call).await;
    assert_eq!(called["result"]["structuredContent"]["id"], "M-0042", "{here}: {called}");
}

#[tokio::test]
async fn a_websocket_needs_the_subprotocol_and_the_token() {
    let server = McpServer::new(McpOptions { bearer: Some("secret".into()), ..McpOptions::default() });
    assert!(!format!("{server:?}").contains("secret"), "a token in Debug");
    let running = server.websocket("127.0.0.1:0").await.expect("it listens");
    for (headers, status) in [
        (vec![("sec-websocket-protocol", "mcp")], 401),
        (vec![("sec-websocket-protocol", "mcp"), ("authorization", "Bearer wrong")], 401),
        (vec![("authorization", "Bearer secret")], 400),
    ] {
        match client::upgrade(&running.url, &headers).await.err() {
            Some(Error::Http(response)) => assert_eq!(response.status(), status, "{headers:?}"),
            other => panic!("{headers:?}: {other:?}"),
        }
    }
    let upgraded =
        client::upgrade(&running.url, &[("sec-websocket-protocol", "x, mcp"), ("authorization", "Bearer secret")])
            .await;
    let mut client = Client::from(upgraded.expect("it is let in"));
    client.initialize().await;

    client.call("log_transaction_enrichment", json!({ "transaction_id": "T-0000001", "category": "rent" })).await;
    let [write] = &server.seen().writes[..] else { panic!("one write: {:?}", server.seen()) };
    assert_eq!(write.authorization.as_deref(), Some("Bearer secret"));
    assert_eq!(write.client.as_deref(), Some("raw"));
    assert_eq!(write.arguments["category"], "rent");
}

#[tokio::test]
async fn a_cancelled_call_is_noticed_and_not_answered() {
    let server = awkward();
    let (_running, mut client) = websocket(&server).await;
    client.initialize().await;
    let slow = client.send("tools/call", json!({ "name": "slow", "arguments": { "ms": 60_000 } })).await;
    server.wait_until(|seen| seen.called("slow") == 1).await.expect("the call began");
    client.tell("notifications/cancelled", json!({ "requestId": slow })).await;
    server.wait_until(|seen| seen.cancelled == 1).await.expect("the call was cancelled");
    let echoed = client.call("echo", json!({ "token": "after" })).await;
    assert_eq!(echoed["structuredContent"]["token"], "after", "the next message is the next answer");

    client.send("tools/call", json!({ "name": "slow", "arguments": { "ms": 60_000 } })).await;
    server.wait_until(|seen| seen.called("slow") == 2).await.expect("the call began");
    drop(client);
    let seen =
        server.wait_until(|seen| seen.cancelled == 2 && seen.connections_open == 0).await.expect("its caller is gone");
    assert_eq!((seen.finished, seen.connections_total), (1, 1));
}

#[tokio::test]
async fn connections_can_be_dropped_without_a_word_and_come_back() {
    let server = awkward();
    let (running, mut client) = websocket(&server).await;
    client.initialize().await;
    client.send("tools/call", json!({ "name": "slow", "arguments": { "ms": 60_000 } })).await;
    server.wait_until(|seen| seen.called("slow") == 1).await.expect("the call began");
    running.drop_connections();
    assert_eq!(client.next().await, None, "neither an answer nor a farewell");
    server.wait_until(|seen| seen.cancelled == 1 && seen.connections_open == 0).await.expect("all is cleared up");

    let mut client = Client::websocket(&running.url).await;
    client.initialize().await;
    client.call("echo", json!({ "token": 1 })).await;
}

#[tokio::test]
async fn calls_that_wait_for_each_other_are_answered_last_first() {
    let server = awkward();
    let (_running, mut client) = websocket(&server).await;
    client.initialize().await;
    let mut asked = Vec::new();
    for token in 0..20 {
        asked.push(
            client.send("tools/call", json!({ "name": "echo", "arguments": { "token": token, "together": 20 } })).await,
        );
        server.wait_until(|seen| seen.called("echo") == token + 1).await.expect("the call began");
    }
    let mut answered = Vec::new();
    for _ in 0..20 {
        let answer = client.next().await.expect("an answer");
        assert_eq!(
            answer["id"],
            asked[answer["result"]["structuredContent"]["token"].as_u64().expect("a token") as usize]
        );
        answered.push(answer["id"].clone());
    }
    asked.reverse();
    assert_eq!(answered, asked);
}

#[tokio::test]
async fn progress_is_reported_before_the_answer() {
    let (_running, mut client) = websocket(&awkward()).await;
    client.initialize().await;
    let call = json!({ "name": "progress", "arguments": { "steps": 3 }, "_meta": { "progressToken": "mine" } });
    let id = client.send("tools/call", call).await;
    for step in 1..=3 {
        let notification = client.next().await.expect("a step");
        assert_eq!(notification["method"], "notifications/progress");
        assert_eq!(notification["params"]["progressToken"], "mine");
        assert_eq!(notification["params"]["progress"].as_f64(), Some(f64::from(step)));
    }
    assert_eq!(client.next().await.expect("the answer")["id"], id);
}

#[tokio::test]
async fn awkward_tools_are_as_awkward_as_they_say() {
    let (_running, mut client) = websocket(&awkward()).await;
    client.initialize().await;
    assert_eq!(LONG_NAME.len(), 75);
    for name in ["dots.in.name", "slash/name", "a__b", "__leading", "ünïcode", "CaseTwin", "casetwin", LONG_NAME] {
        assert_eq!(client.call(name, json!({})).await["content"][0]["text"], name);
    }
    let big = client.call("big_result", json!({ "bytes": 1_000_000 })).await;
    assert_eq!(big["content"][0]["text"].as_str().map(str::len), Some(1_000_000));
    assert_eq!(client.call("fails", json!({ "message": "no" })).await["isError"], true);
    assert_eq!(
        client.call("slow", json!({ "ms": "soon" })).await["isError"],
        true,
        "wrong arguments are an error of the tool"
    );
    let numbers = client.call("numbers", json!({ "value": 9_007_199_254_740_993_i64 })).await;
    assert_eq!(numbers["structuredContent"]["value"], 9_007_199_254_740_993_i64);
    assert_eq!(numbers["structuredContent"]["largest_unsigned"], u64::MAX);
    assert_eq!(numbers["_meta"]["example.com/revision"], 9_007_199_254_740_993_i64);

    let id = client
        .send("tools/call", json!({ "name": "protocol_error", "arguments": { "code": -31_000, "message": "no" } }))
        .await;
    let error = client.next().await.expect("an answer");
    assert_eq!(
        (&error["id"], &error["error"]["code"], &error["error"]["message"]),
        (&id, &json!(-31_000), &json!("no"))
    );
    let unknown = client.ask("tools/call", json!({ "name": "nothing" })).await;
    assert_eq!(unknown["error"]["code"], -32602);
}

#[tokio::test]
async fn faults_can_be_switched_on_and_off() {
    let server = awkward();
    let (_running, mut client) = websocket(&server).await;
    client.initialize().await;
    server.faults(Faults { fail_next: 1, ..Faults::default() });
    assert_eq!(client.call("echo", json!({ "token": 1 })).await["isError"], true);
    assert_eq!(client.call("echo", json!({ "token": 1 })).await["structuredContent"]["token"], 1);

    server.faults(Faults { hang: true, ..Faults::default() });
    let hung = client.send("tools/call", json!({ "name": "echo", "arguments": { "token": 2 } })).await;
    server.wait_until(|seen| seen.called("echo") == 3).await.expect("the call began");
    server.faults(Faults::default());
    assert_eq!(client.call("echo", json!({ "token": 3 })).await["structuredContent"]["token"], 3);
    client.tell("notifications/cancelled", json!({ "requestId": hung })).await;
    server.wait_until(|seen| seen.cancelled == 1).await.expect("a hung call can be taken back");
}

#[tokio::test]
async fn histories_belong_to_the_customers_and_stolen_cards_are_found() {
    let server = McpServer::new(McpOptions::default());
    let (_running, mut client) = websocket(&server).await;
    client.initialize().await;
    let mut verdicts = std::collections::BTreeMap::<String, usize>::new();
    for number in 1..=300 {
        let customer_id = format!("C-{number:05}");
        let checked =
            client.call("check_fraud_patterns", json!({ "customer_id": customer_id })).await["structuredContent"]
                .take();
        *verdicts.entry(checked["verdict"].as_str().expect("a verdict").to_owned()).or_default() += 1;
        let history = client.call("get_customer_history", json!({ "customer_id": customer_id, "limit": 100 })).await["structuredContent"].take();
        let ids: Vec<&Value> = history["payments"]
            .as_array()
            .expect("payments")
            .iter()
            .map(|payment| &payment["transaction_id"])
            .collect();
        assert_eq!(ids.len() as u64, history["payments_total"].as_u64().expect("a number"));
        for pattern in checked["patterns"].as_array().expect("patterns") {
            assert!(
                pattern["transaction_ids"].as_array().expect("ids").iter().all(|id| ids.contains(&id)),
                "{customer_id}: {pattern}"
            );
        }
    }
    assert!(verdicts["block"] > 0 && verdicts["clear"] > 200, "{verdicts:?}");

    let nobody = client.call("get_customer_history", json!({ "customer_id": format!("C-{:05}", CUSTOMERS + 1) })).await;
    assert_eq!(nobody["isError"], true);
    let same = McpServer::new(McpOptions { seed: SEED, ..McpOptions::default() });
    assert_eq!(
        format!("{:?}", same.0.payments.history("C-00042")),
        format!("{:?}", server.0.payments.history("C-00042"))
    );
}

impl From<WebSocket> for Client {
    fn from(socket: WebSocket) -> Self {
        Self::over(socket)
    }
}

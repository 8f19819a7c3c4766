//! The bridge before the real router, with a real MCP server behind it.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Result;
use router::{
    Router, Running,
    bridge::{Settings, Target},
};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Tools},
};
use tests::harness;

use super::script::{Client, settings};

/// An MCP server with awkward tools, and the config of a router before it.
struct House {
    server: McpServer,
    _server: standins::mcp::Running,
    yaml: String,
}

impl House {
    async fn new() -> Result<Self> {
        let server = McpServer::new(McpOptions { era: Era::Both, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.websocket("127.0.0.1:0").await?;
        let yaml = format!(
            "identity: {{ local: {{ roles: [all] }} }}\n\
             downstreams: {{ odd: {{ mcp: {{ websocket: {{ url: '{}' }} }}, effects: [ {{ match: '*', effect: read }} ] }} }}\n\
             policy: {{ roles: {{ all: {{ allow: ['*'] }} }} }}\n",
            running.url
        );
        Ok(Self { server, _server: running, yaml })
    }

    /// A router at `listen`, with a master secret of its own: it knows no session of another one.
    async fn router(&self, listen: SocketAddr) -> Result<Running> {
        let mut loaded = harness::parse(&self.yaml, Path::new("."))?;
        (loaded.config.server.listen, loaded.config.server.admin) = (listen, ([127, 0, 0, 1], 0).into());
        let surroundings = loaded.surroundings().map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let running = router::start(loaded, surroundings).await?;
        tools_of(&running.router()).await?;
        Ok(running)
    }

    /// A router in this process.
    async fn in_memory(&self) -> Result<Target> {
        let loaded = harness::parse(&self.yaml, Path::new("."))?;
        let surroundings = loaded.surroundings().map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let router = Router::new(&loaded, &surroundings)?;
        tools_of(&router).await?;
        Ok(Target::Memory(Arc::new(move || {
            let (near, far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(router::serve_io(Arc::clone(&router), far));
            near
        })))
    }
}

/// Waits until the router knows the tools of the downstream.
async fn tools_of(router: &Router) -> Result<()> {
    harness::until("the tools are listed", async || Ok((!router.tools().is_empty()).then_some(()))).await
}

fn somewhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn target(router: &Running) -> Target {
    format!("http://{}/mcp", router.callers).parse().expect("a URL")
}

fn modern(id: u32, method: &str, mut params: Value) -> String {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn legacy(id: u32, method: &str, params: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

/// The next line as JSON.
async fn read(client: &mut Client) -> Value {
    serde_json::from_str(&client.line().await).expect("JSON")
}

/// The answer to request `id`; what comes before it is left aside.
async fn answer(client: &mut Client, id: u32) -> Value {
    loop {
        let message = read(client).await;
        if message["id"] == id {
            return message;
        }
    }
}

async fn handshake(client: &mut Client) -> Value {
    let params =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    client.send(&legacy(0, "initialize", &params)).await;
    let answer = read(client).await;
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    answer
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_eras_use_the_tools_over_http_and_in_memory() -> Result<()> {
    let house = House::new().await?;
    let router = house.router(somewhere()).await?;
    for target in [target(&router), house.in_memory().await?] {
        let mut client = Client::start(target.clone());
        client.send(&modern(1, "server/discover", json!({}))).await;
        assert!(read(&mut client).await["result"]["supportedVersions"].is_array());
        client.send(&modern(2, "tools/list", json!({}))).await;
        let tools = answer(&mut client, 2).await;
        assert!(
            tools["result"]["tools"]
                .as_array()
                .is_some_and(|tools| tools.iter().any(|tool| tool["name"] == "odd__echo"))
        );
        client.send(&modern(3, "tools/call", json!({ "name": "odd__echo", "arguments": { "token": "ä 😀" } }))).await;
        assert!(text(&answer(&mut client, 3).await).contains("ä 😀"));
        client.send(&modern(4, "no/such/method", json!({}))).await;
        assert_eq!(answer(&mut client, 4).await["error"]["code"], -32_601);
        assert!(client.finish().await.is_empty());

        let mut client = Client::start(target);
        assert_eq!(handshake(&mut client).await["result"]["protocolVersion"], "2025-11-25");
        client.send(&legacy(1, "ping", &json!({}))).await;
        assert_eq!(answer(&mut client, 1).await["result"], json!({}));
        client.send(&legacy(2, "tools/call", &json!({ "name": "odd__numbers", "arguments": {} }))).await;
        let line = client.line().await;
        assert!(line.contains("9223372036854775807"), "{line}");
        assert!(client.finish().await.is_empty());
    }
    router.stop_now().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_router_goes_unnoticed() -> Result<()> {
    let house = House::new().await?;
    let router = house.router(somewhere()).await?;
    let address = router.callers;
    let mut old = Client::start(target(&router));
    handshake(&mut old).await;
    let mut new = Client::start(target(&router));
    let echo = json!({ "name": "odd__echo", "arguments": { "token": "before" } });
    old.send(&legacy(1, "tools/call", &echo)).await;
    new.send(&modern(1, "tools/call", echo.clone())).await;
    assert!(text(&answer(&mut old, 1).await).contains("before"));
    assert!(text(&answer(&mut new, 1).await).contains("before"));

    // Sent while nobody listens, answered by the next router, to which the session means nothing.
    router.stop_now().await;
    old.send(&legacy(2, "ping", &json!({}))).await;
    new.send(&modern(2, "server/discover", json!({}))).await;
    let router = house.router(address).await?;
    assert_eq!(answer(&mut old, 2).await["result"], json!({}));
    assert!(answer(&mut new, 2).await["result"]["supportedVersions"].is_array());
    let echo = json!({ "name": "odd__echo", "arguments": { "token": "after" } });
    old.send(&legacy(3, "tools/call", &echo)).await;
    new.send(&modern(3, "tools/call", echo)).await;
    assert!(text(&answer(&mut old, 3).await).contains("after"));
    assert!(text(&answer(&mut new, 3).await).contains("after"));
    for client in [old, new] {
        client.finish().await;
    }
    router.stop_now().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_reaches_the_downstream_in_both_eras() -> Result<()> {
    let house = House::new().await?;
    let router = house.router(somewhere()).await?;
    let slow = json!({ "name": "odd__slow", "arguments": { "ms": 600_000 } });
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#;
    for (cancelled, era) in (1..).zip(["modern", "legacy"]) {
        let mut client = Client::start(target(&router));
        if era == "modern" {
            client.send(&modern(7, "tools/call", slow.clone())).await;
        } else {
            handshake(&mut client).await;
            client.send(&legacy(7, "tools/call", &slow)).await;
        }
        house.server.wait_until(|seen| seen.called("slow") == cancelled).await?;
        client.send(cancel).await;
        house.server.wait_until(|seen| seen.cancelled == cancelled).await?;
        assert!(client.finish().await.is_empty(), "{era}");
    }
    router.stop_now().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_call_shows_signs_of_life_and_real_progress_passes() -> Result<()> {
    let house = House::new().await?;
    let router = house.router(somewhere()).await?;
    let often = Settings { keepalive_every: Duration::from_millis(20), ..settings() };
    let mut client = Client::start_with(target(&router), None, often);
    let mut progress = json!({ "name": "odd__progress", "arguments": { "steps": 3, "step_ms": 100 } });
    progress["_meta"]["progressToken"] = "t".into();
    client.send(&modern(1, "tools/call", progress)).await;
    let (mut last, mut signs, mut steps) = (0.0, 0, 0);
    loop {
        let message = read(&mut client).await;
        if message["id"] == 1 {
            break;
        }
        let params = &message["params"];
        assert_eq!(params["progressToken"], "t");
        let value = params["progress"].as_f64().expect("a number");
        assert!(value > last, "{message} after {last}");
        last = value;
        let is_sign =
            params["message"].as_str().is_some_and(|text| text.starts_with("still waiting for odd__progress"));
        *(if is_sign { &mut signs } else { &mut steps }) += 1;
    }
    assert!(signs > 0 && steps == 3, "{signs} signs of life, {steps} steps");
    assert!(client.finish().await.is_empty());
    router.stop_now().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_at_once_find_their_own_answers() -> Result<()> {
    let house = House::new().await?;
    let router = house.router(somewhere()).await?;
    let mut client = Client::start(target(&router));
    for id in 0..300 {
        let arguments = json!({ "token": format!("token-{id}."), "delay_ms": (id * 7) % 50 });
        client.send(&modern(id, "tools/call", json!({ "name": "odd__echo", "arguments": arguments }))).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let message = read(&mut client).await;
        assert!(text(&message).contains(&format!("token-{}.", message["id"])), "{message}");
        seen.insert(message["id"].as_u64());
    }
    assert_eq!(seen.len(), 300);
    assert!(client.finish().await.is_empty());
    router.stop_now().await;
    Ok(())
}

//! The legacy era, as a caller sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, Events, TestRouter, keys, open_house};

const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// All of what a call of `raw__work` gives.
fn worked() -> serde_json::Value {
    let provenance = json!({ "downstream": "raw", "tool": "raw__work", "trust": "untrusted" });
    json!({ "content": [], "_meta": { "weir/provenance": provenance } })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_revision_is_agreed_on_by_initialize_and_any_other_becomes_the_newest() -> Result<()> {
    let scene = Scene::new().await?;
    for (asked, agreed) in VERSIONS.into_iter().map(|version| (version, version)).chain([
        ("2026-07-28", "2025-11-25"),
        ("2099-01-01", "2025-11-25"),
        ("1.0", "2025-11-25"),
        ("", "2025-11-25"),
    ]) {
        for initialize in [initialize(asked), initialize(asked).header("mcp-protocol-version", "2025-11-25")] {
            let answer = scene.router.ask(&initialize).await?;
            let result = answer.result()?;
            ensure!(answer.status == 200 && result["protocolVersion"] == agreed, "{asked}: {answer:?}");
            ensure!(result["capabilities"] == json!({ "tools": { "listChanged": true } }), "{result}");
            ensure!(result["serverInfo"]["name"] == "weir" && result.get("resultType").is_none(), "{result}");
            let session = answer.headers["mcp-session-id"].to_str()?.to_owned();
            ensure!(session.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) && session.len() > 40, "{session}");
            ensure!(!session.contains("local") && !session.contains(agreed), "a session id says nothing: {session}");
            let initialized = Ask::notification("notifications/initialized", &json!({})).session(&session);
            let initialized = scene.router.ask(&initialized.header("mcp-protocol-version", agreed)).await?;
            ensure!(initialized.status == 202 && initialized.text.is_empty(), "{initialized:?}");
            let call = scene.router.ask(&Ask::legacy_call("raw__work", &json!({})).session(&session)).await?;
            ensure!(call.result()? == worked(), "{call:?}");
            ensure!(scene.router.records().await?[0]["protocol"] == agreed);
        }
    }
    for params in [json!({}), json!({ "protocolVersion": 5 })] {
        let answer = scene.router.ask(&Ask::legacy("initialize", &params)).await?;
        ensure!(answer.error_code() == Some(-32602) && answer.headers.get("mcp-session-id").is_none(), "{answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn small_requests_are_answered_exactly_and_unknown_ones_politely() -> Result<()> {
    let scene = Scene::new().await?;
    let session = scene.router.session(None, "2025-06-18").await?;
    for params in [json!({}), json!({ "_meta": { "progressToken": 1 } })] {
        for ask in [Ask::legacy("ping", &params), Ask::legacy("ping", &params).session(&session)] {
            let answer = scene.router.ask(&ask.id("p")).await?;
            ensure!(answer.text == r#"{"jsonrpc":"2.0","id":"p","result":{}}"#, "{answer:?}");
        }
    }
    ensure!(scene.router.ask(&Ask::text(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)).await?.result()? == json!({}));
    for method in ["resources/list", "prompts/get", "logging/setLevel", "server/nothing", "subscriptions/listen"] {
        let answer = scene.router.ask(&Ask::legacy(method, &json!({})).session(&session)).await?;
        ensure!(answer.status == 200 && answer.error_code() == Some(-32601), "{method}: {answer:?}");
    }
    let response = Ask::text(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).session(&session);
    ensure!(scene.router.ask(&response).await?.status == 202);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_session_is_served_all_the_same() -> Result<()> {
    let scene = Scene::new().await?;
    for call in [
        Ask::legacy_call("raw__work", &json!({})),
        Ask::legacy_call("raw__work", &json!({})).header("mcp-protocol-version", "2025-06-18"),
    ] {
        ensure!(scene.router.ask(&call).await?.result()? == worked());
    }
    ensure!(
        scene.router.ask(&Ask::legacy("tools/list", &json!({}))).await?.result()?["tools"][0]["name"] == "raw__work"
    );
    for method in [Method::GET, Method::DELETE] {
        let answer = scene.router.send(method, "/mcp", &[("accept", "text/event-stream")], "").await?;
        ensure!(answer.status == 405 && answer.headers["allow"] == "POST", "{answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_belongs_to_its_principal_and_ends_for_good() -> Result<()> {
    let (server, dir) = (work(Arc::default()).await?, tempfile::tempdir()?);
    let keys = keys(dir.path(), &[("ann", &["all"]), ("bob", &["all"])])?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let (ann, bob) = (&keys[0], &keys[1]);
    let session = router.session(Some(ann), "2025-06-18").await?;
    let call = Ask::legacy_call("raw__work", &json!({}));
    ensure!(router.ask(&call.clone().key(ann).session(&session)).await?.status == 200);

    let mut flipped = session.clone().into_bytes();
    flipped[30] = if flipped[30] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped)?;
    for (key, id) in [
        (bob, session.as_str()),
        (ann, &flipped),
        (ann, &session[1..]),
        (ann, &format!("{session}A")),
        (ann, "00000000-0000-0000-0000-000000000000"),
        (ann, ""),
        (ann, "x"),
    ] {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", &*authorization), ("mcp-session-id", id), ("accept", "text/event-stream")];
        for method in [Method::GET, Method::DELETE] {
            let answer = router.send(method, "/mcp", &headers, "").await?;
            ensure!(answer.status == 404, "{id}: {answer:?}");
        }
        let answer = router.ask(&call.clone().key(key).session(id)).await?;
        ensure!(answer.status == 404 && !answer.text.contains("ann"), "{id}: {answer:?}");
    }
    let before = router.records().await?.len();
    ensure!(before == 1, "a refused session leaves no call: {before}");

    let authorization = format!("Bearer {ann}");
    let headers = [("authorization", &*authorization), ("mcp-session-id", &*session), ("accept", "text/event-stream")];
    let ended = router.send(Method::DELETE, "/mcp", &headers, "").await?;
    ensure!(ended.status == 204 && ended.text.is_empty(), "{ended:?}");
    for method in [Method::DELETE, Method::GET] {
        ensure!(router.send(method, "/mcp", &headers, "").await?.status == 404);
    }
    ensure!(router.ask(&call.key(ann).session(&session)).await?.status == 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_session_tells_that_the_tools_changed_and_ends_with_it() -> Result<()> {
    let scene = Scene::new().await?;
    let session = scene.router.session(None, "2025-11-25").await?;
    let open = || async { Events::of(scene.router.listen(&session).await?) };
    let mut replaced = open().await?;
    let mut events = open().await?;
    ensure!(replaced.next().await?.is_none(), "a session has one stream, the newest");
    for changed in [true, false] {
        scene.changed.store(changed, Ordering::Relaxed);
        let notice = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }).to_string();
        scene.server.push(&[Action::Send(notice.clone())]);
        let told = events.next().await?.context("the stream ended")?;
        ensure!(told == serde_json::from_str::<Value>(&notice)?, "{told}");
        let list = scene.router.ask(&Ask::legacy("tools/list", &json!({})).session(&session)).await?.result()?;
        ensure!(list["tools"].as_array().map(Vec::len) == Some(if changed { 2 } else { 1 }), "{list}");
    }
    let headers = [("mcp-session-id", &*session)];
    ensure!(scene.router.send(Method::DELETE, "/mcp", &headers, "").await?.status == 204);
    ensure!(events.next().await?.is_none(), "the stream ends with its session");
    let unreadable = scene.router.session(None, "2025-11-25").await?;
    let headers = [("mcp-session-id", &*unreadable), ("accept", "application/json")];
    let answer = scene.router.send(Method::GET, "/mcp", &headers, "").await?;
    ensure!(answer.status == 406, "{answer:?}");
    Ok(())
}

fn initialize(version: &str) -> Ask {
    Ask::legacy("initialize", &json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "t" } }))
}

/// A router in front of a server with the tool `work`, and one more while `changed` is set.
struct Scene {
    router: TestRouter,
    server: RawServer,
    changed: Arc<AtomicBool>,
}

impl Scene {
    async fn new() -> Result<Self> {
        let changed = Arc::<AtomicBool>::default();
        let server = work(changed.clone()).await?;
        let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
        Ok(Self { router, server, changed })
    }
}

async fn work(changed: Arc<AtomicBool>) -> Result<RawServer> {
    RawServer::start(Era::LegacyOnly, move |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let tool = |name: &&str| json!({ "name": name, "inputSchema": {} });
            let names = if changed.load(Ordering::Relaxed) { &["work", "new"][..] } else { &["work"] };
            let tools: Vec<_> = names.iter().map(tool).collect();
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await
}

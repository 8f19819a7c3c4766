use std::sync::Arc;

use bytes::Bytes;
use config::downstream::Era;
use tokio::sync::watch;

use super::{Patience, Server, settle};
use crate::{
    ErrorClass,
    mcp::{
        failure::Failure,
        peer::{Outbox, Peer},
    },
};

const MODERN: Server = Server { modern: true, version: "2026-07-28", tools: true, list_changed: true };
const LEGACY: Server = Server { modern: false, version: "2025-06-18", tools: true, list_changed: false };
const INITIALIZED: &str = r#""result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{}}"#;
const DISCOVERED: &str =
    r#""result":{"supportedVersions":["2027-01-01","2026-07-28"],"capabilities":{"tools":{"listChanged":true}}}"#;

/// Settles the era with a server that answers each method as `answers` says, and not at all where it says nothing.
async fn settled(era: Era, answers: &'static [(&'static str, &'static str)]) -> (Result<Server, Failure>, Vec<String>) {
    let (peer, outbox) = Peer::new("enrich".into(), false, watch::Sender::new(0));
    let serving = tokio::spawn(serve(Arc::clone(&peer), outbox, answers));
    let settled = settle(&peer, era, Patience::default()).await;
    tokio::task::yield_now().await;
    peer.end(Failure::lost("the test is over"));
    (settled, serving.await.expect("no panic"))
}

async fn serve(peer: Arc<Peer>, mut outbox: Outbox, answers: &[(&str, &str)]) -> Vec<String> {
    let mut methods = Vec::new();
    loop {
        let text = tokio::select! {
            biased;
            text = outbox.next() => text,
            _ = peer.ended() => return methods,
        };
        let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let method = message["method"].as_str().expect("a request").to_owned();
        if let Some((_, answer)) = answers.iter().find(|(name, _)| *name == method) {
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{},{answer}}}"#, message["id"]);
            peer.receive(&Bytes::from(answer)).expect("an answer");
        }
        methods.push(method);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_discover_is_modern() {
    let (server, methods) = settled(Era::Auto, &[("server/discover", DISCOVERED)]).await;
    assert_eq!(server.expect("modern"), MODERN);
    assert_eq!(methods, ["server/discover"]);
}

#[tokio::test(start_paused = true)]
async fn any_error_that_is_not_a_modern_one_and_silence_mean_legacy() {
    let refusals = [
        r#""error":{"code":-32601,"message":"Method not found"}"#,
        r#""error":{"code":-32602,"message":"Invalid params"}"#,
        r#""error":{"code":-32000,"message":"Not initialized"}"#,
        r#""error":{"code":99999999999999999999999,"message":"odd"}"#,
        r#""error":{"code":"text"}"#,
        r#""error":{"code":-32022,"message":"no","data":{"supported":["2025-11-25"]}}"#,
        r#""result":{"supportedVersions":["2025-11-25"]}"#,
        r#""result":[]"#,
    ];
    for refusal in refusals {
        let answers = vec![("server/discover", refusal), ("initialize", INITIALIZED)];
        let (server, methods) = settled(Era::Auto, answers.leak()).await;
        assert_eq!(server.expect(refusal), LEGACY, "{refusal}");
        assert_eq!(methods, ["server/discover", "initialize", "notifications/initialized"], "{refusal}");
    }
    let (server, methods) = settled(Era::Auto, &[("initialize", INITIALIZED)]).await;
    assert_eq!(server.expect("silence means legacy"), LEGACY);
    assert_eq!(methods, ["server/discover", "initialize", "notifications/initialized"]);
}

#[tokio::test(start_paused = true)]
async fn a_modern_server_without_a_common_version_is_not_asked_to_initialize() {
    for refusal in [
        r#""error":{"code":-32022,"message":"no","data":{"supported":["2027-01-01"]}}"#,
        r#""error":{"code":-32022,"message":"no"}"#,
        r#""error":{"code":-32021,"message":"sampling wanted"}"#,
        r#""result":{"supportedVersions":["2027-01-01"]}"#,
    ] {
        let answers = vec![("server/discover", refusal), ("initialize", INITIALIZED)];
        let (server, methods) = settled(Era::Auto, answers.leak()).await;
        assert_eq!(server.expect_err(refusal).class, ErrorClass::Protocol, "{refusal}");
        assert_eq!(methods, ["server/discover"], "{refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_versions_of_a_stranger_are_repeated_in_short_and_on_one_line() {
    let versions =
        format!(r#""result":{{"supportedVersions":["1\nforged","{}"{}]}}"#, "x".repeat(1000), r#","y""#.repeat(1000));
    let answers = vec![("server/discover", &*versions.leak())];
    let reason = settled(Era::Auto, answers.leak()).await.0.expect_err("no common version").reason();
    let shown = format!(r#""1\nforged", "{}", "y", "y", "y""#, "x".repeat(20));
    assert_eq!(reason, format!("it speaks no version of MCP that Weir knows: {shown}"));
}

#[tokio::test(start_paused = true)]
async fn a_configured_era_is_not_probed() {
    let (server, methods) = settled(Era::Legacy, &[("initialize", INITIALIZED), ("server/discover", DISCOVERED)]).await;
    assert_eq!(server.expect("legacy"), LEGACY);
    assert_eq!(methods, ["initialize", "notifications/initialized"]);
    let (server, methods) = settled(Era::Modern, &[("initialize", INITIALIZED)]).await;
    assert_eq!(server.expect_err("no modern server").class, ErrorClass::Protocol);
    assert_eq!(methods, ["server/discover"]);
}

#[tokio::test(start_paused = true)]
async fn a_legacy_server_of_an_unknown_version_or_without_a_word_is_an_error() {
    for answers in [
        &[("initialize", r#""result":{"protocolVersion":"1999-01-01","capabilities":{}}"#)][..],
        &[("initialize", r#""result":{"capabilities":{}}"#)],
        &[("initialize", r#""error":{"code":1,"message":"no"}"#)],
        &[("initialize", r#""result":7"#)],
        &[],
    ] {
        settled(Era::Legacy, answers).await.0.expect_err("no usable server");
    }
}

//! Sessions with MCP servers that are shown who calls: each belongs to one caller and one token.

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Issuer, TestRouter, open_house, until};

use super::{CLIENT_SECRET, Door, Heard, client, said, subject_of, token};

/// The header of a request with this name.
fn header<'a>(heard: &'a Heard, name: &str) -> Option<&'a str> {
    heard.head.lines().find_map(|line| {
        let (is, value) = line.split_once(": ")?;
        is.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// A server of the legacy era, whose sessions are named after the token that they were begun with.
fn legacy(heard: &Heard) -> (u16, String, Value) {
    if !heard.head.starts_with("POST") {
        return (405, "/".to_owned(), json!({}));
    }
    let asked: Value = serde_json::from_str(&heard.body).unwrap_or_default();
    let result = |result: Value| json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
    match asked["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let session = format!("/\r\nMcp-Session-Id: of-{}", heard.authorization().replace("Bearer ", ""));
            let info = json!({ "name": "crm", "version": "1" });
            let agreed =
                json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": info });
            (200, session, result(agreed))
        }
        "tools/list" => said(result(json!({ "tools": [{ "name": "look", "inputSchema": { "type": "object" } }] }))),
        "tools/call" => said(result(json!({ "content": [], "structuredContent": { "shown": heard.authorization() } }))),
        _ => (202, "/".to_owned(), json!({})),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_never_carries_a_call_with_another_credential() -> Result<()> {
    let issuer = Issuer::start().await?;
    let tokens = Door::at_once(|heard| match subject_of(&heard.body) {
        Some(subject) => token(&format!("{subject}-{}", heard.body.len()), 600),
        None => token("service", 600),
    })
    .await?;
    let server = Door::at_once(legacy).await?;
    let client = client(&tokens);
    let exchange = json!({ "client": client, "catalog": { "client_credentials": { "client": client } } });
    let http = json!({ "url": format!("{}/mcp", server.url), "credential": { "token_exchange": exchange } });
    let mut config = open_house(&[]);
    config["server"] = json!({ "public_url": "http://weir.test" });
    config["limits"] = json!([{ "name": "many", "per": "address", "rate": "1000/s" }]);
    config["identity"] = json!({ "jwt": [{ "issuer": issuer.url(), "scopes": { "crm.read": ["all"] } }] });
    config["downstreams"] = json!({ "crm": {
        "mcp": { "era": "legacy", "http": http }, "effects": [{ "match": "*", "effect": "read" }],
    } });
    let folder = tempfile::tempdir()?;
    tests::private_file(folder.path().join("client-secret"), CLIENT_SECRET)?;
    let router = TestRouter::ready_in(folder, &config.to_string()).await?;
    // The second token of ann is another one of the same person.
    let own: Vec<String> =
        [json!({ "sub": "ann" }), json!({ "sub": "bob" }), json!({ "sub": "ann", "extra": "x".repeat(40) })]
            .into_iter()
            .map(|claims| issuer.token(claims))
            .collect();
    until("the tool is there", async || {
        let answer = router.call(Some(&own[0]), "crm__look", json!({})).await?;
        Ok((answer.status == 200 && answer.result().is_ok()).then_some(()))
    })
    .await?;
    let calls = (0..30).map(|turn| router.call(Some(&own[turn % 3]), "crm__look", json!({})));
    for (turn, answer) in join_all(calls).await.into_iter().enumerate() {
        let result = answer?.result()?;
        let shown = result["structuredContent"]["shown"].as_str().unwrap_or_default().to_owned();
        let subject = ["ann", "bob", "ann"][turn % 3];
        ensure!(shown.starts_with(&format!("Bearer {subject}-")), "{subject}: {result}");
    }
    let (mut sessions, mut calls) = (std::collections::BTreeSet::new(), 0);
    for heard in server.heard() {
        ensure!(own.iter().all(|own| !heard.head.contains(own.as_str())), "a caller's own token was passed on");
        let Some(session) = header(&heard, "mcp-session-id") else { continue };
        let begun_with = session.trim_start_matches("of-");
        ensure!(heard.authorization() == format!("Bearer {begun_with}"), "{heard:?}");
        let is_call = heard.body.contains("tools/call");
        ensure!(!is_call || begun_with != "service", "the service's session carried a call");
        calls += usize::from(is_call);
        sessions.insert(session.to_owned());
    }
    ensure!(calls >= 30 && sessions.len() == 4, "{calls} calls in the sessions {sessions:?}");
    Ok(())
}

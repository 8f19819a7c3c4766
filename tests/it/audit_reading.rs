//! The audit log as its readers use it: the commands of `weir audit` on a log that a router writes, and collectors of the same records.

mod commands;
mod evidence;
mod forwarding;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, open_house, until};

use crate::cli::binary::{Finished, command, finish};

/// A server with a tool that reads and one that writes.
async fn server() -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let tools =
                ["get_thing", "put_thing"].map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }));
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await
}

/// A config with this `audit` section, for that server.
fn config(server: &RawServer, audit: Value) -> Value {
    let mut config = open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"]["effects"] =
        json!([{ "match": "put_*", "effect": "write" }, { "match": "*", "effect": "read" }]);
    config["audit"] = audit;
    config
}

/// Calls a tool, which answers.
async fn call(router: &TestRouter, tool: &str) -> Result<()> {
    until("it answers", async || {
        let answer = router.ask(&Ask::call(&format!("raw__{tool}"), json!({ "note": "for ada@example.com" }))).await?;
        Ok((answer.result()?["isError"] != true).then_some(()))
    })
    .await
}

/// `weir audit …` in this folder.
async fn weir(folder: &Path, words: &[&str]) -> Finished {
    let words: Vec<&str> = ["audit"].iter().chain(words).copied().collect();
    finish(command(&words).current_dir(folder)).await
}

/// A log of some calls and writes, of two starts, sealed, with an anchor; its identity is in `identity.txt`.
async fn written(folder: &Path) -> Result<()> {
    let recipient = weir(folder, &["keygen", "--identity", "identity.txt"]).await.with_code(0).stdout;
    let server = server().await?;
    let audit = json!({ "dir": folder.join("audit"), "recipient": recipient.trim(), "anchor": folder.join("anchor") });
    for _ in 0..2 {
        let router = TestRouter::ready(&config(&server, audit.clone()).to_string()).await?;
        for tool in ["get_thing", "put_thing", "get_thing"] {
            call(&router, tool).await?;
        }
        let unknown = router.ask(&Ask::call("raw__nobody", json!({}))).await?;
        ensure!(unknown.error_code().is_some());
        router.stop().await;
    }
    Ok(())
}

/// The segments of the log in this folder, in their order.
fn segments(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder.join("audit")).context("the log")? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "audit") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

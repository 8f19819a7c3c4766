//! Right after its start the router knows no list yet, and its callers come back at that very moment.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, RawServer},
};
use tests::{TestRouter, open_house};
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_and_a_list_right_after_the_start_wait_for_the_first_lists() -> Result<()> {
    let ask = Arc::new(Notify::new());
    let held = ask.clone();
    let server = RawServer::start(Era::ModernOnly, move |message| match message.method.as_deref() {
        Some("tools/list") => Some(vec![
            Action::Wait(held.clone()),
            Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#),
        ]),
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await?;
    let router = TestRouter::start(&open_house(&[("raw", &server.url)]).to_string()).await?;
    let release = async {
        server.wait_until(|seen| seen.iter().any(|message| message.method.as_deref() == Some("tools/list"))).await?;
        ask.notify_one();
        anyhow::Ok(())
    };
    let (called, listed, released) =
        tokio::join!(router.call(None, "raw__work", json!({})), router.modern(None, "tools/list", json!({})), release);
    released?;
    ensure!(called?.result()?["content"] == json!([]));
    let listed = listed?.result()?;
    let names: Vec<&Value> = listed["tools"].as_array().into_iter().flatten().map(|tool| &tool["name"]).collect();
    ensure!(names == [&json!("raw__work")], "{listed}");
    Ok(())
}

//! What becomes of calls while no record can be written.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::raw::RawServer;
use tests::{TestRouter, log, open_house, until};

fn config(url: &str, audit: Value) -> Value {
    let mut config = open_house(&[("raw", url)]);
    config["downstreams"]["raw"]["effects"] =
        json!([{ "match": "f*", "effect": "write" }, { "match": "*", "effect": "read" }]);
    config["audit"] = audit;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_a_record_is_refused_before_it_is_sent_and_its_key_stays_free() -> Result<()> {
    let (server, folder) = (super::server().await?, tempfile::tempdir()?);
    let (dir, away) = (folder.path().join("audit"), folder.path().join("away"));
    let audit = json!({ "dir": dir, "segment_bytes_max": "64KiB", "write_timeout": "200ms" });
    let router = TestRouter::ready(&config(&server.url, audit).to_string()).await?;
    let write = async |key: &str| {
        let arguments = json!({ "text": "x".repeat(6_000) });
        let params = json!({ "name": "raw__fine", "arguments": arguments, "_meta": { "weir/idempotency_key": key } });
        router.modern(None, "tools/call", params).await
    };
    ensure!(write("first").await?.result()?["isError"] != true);

    // The segment that is open goes on; the next one finds no folder.
    fs::rename(&dir, &away)?;
    let mut made = 1;
    let refused = loop {
        let key = format!("key-{made}");
        let result = write(&key).await?.result()?;
        if result["isError"] == true {
            break (key, result);
        }
        made += 1;
        ensure!(made < 100, "the fault does not bite");
    };
    let (key, result) = refused;
    let text = result["content"][0]["text"].as_str().context("a text")?;
    ensure!(text.contains("can write no audit record") && result["_meta"]["weir/limit"]["name"] == "audit", "{result}");
    ensure!(sent(&server) == made, "{} were sent, {made} were answered", sent(&server));
    let plain = json!({ "name": "raw__fine", "arguments": {} });
    let plain = plain_call(&router, &plain).await?;
    ensure!(plain.status == 503 && plain.json()?["outcome"] == "unaudited", "{plain:?}");
    ensure!(plain.headers.contains_key("retry-after"), "{plain:?}");
    ensure!(router.call(None, "raw__denied", json!({})).await?.text.contains("result"), "reads go on");
    let ready = router.admin("/readyz").await?;
    ensure!(ready.status == 200 && ready.text.contains("audit records cannot be written"), "{}", ready.text);
    let metrics = router.admin("/metrics").await?.text;
    ensure!(
        metrics.contains("weir_audit_errors_total{place=\"disk\"}")
            && metrics.contains("weir_audit_refused_total{calls=\"write\"}")
    );
    ensure!(sent(&server) == made, "something was sent");

    fs::rename(&away, &dir)?;
    until("it recovers alone", async || {
        let ready = router.admin("/readyz").await?.text;
        Ok((!ready.contains("audit records cannot be written")).then_some(()))
    })
    .await?;
    let again = write(&key).await?.result()?;
    ensure!(again["isError"] != true, "{again}");
    ensure!(sent(&server) == made + 1, "the same key is made once");
    let in_memory = router.records().await?.len();
    router.stop().await;
    let calls = log::calls(&dir)?;
    ensure!(calls.len() == in_memory, "{} in the log, {in_memory} in memory", calls.len());
    ensure!(calls.iter().filter(|record| record["outcome"] == "unaudited").count() == 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_refused_too_where_the_config_says_so() -> Result<()> {
    let (server, folder) = (super::server().await?, tempfile::tempdir()?);
    let (dir, away) = (folder.path().join("audit"), folder.path().join("away"));
    let audit = json!({ "dir": dir, "segment_bytes_max": "64KiB", "write_timeout": "200ms", "unwritable": "refuse" });
    let router = TestRouter::ready(&config(&server.url, audit).to_string()).await?;
    let read = async || router.call(None, "raw__denied", json!({ "text": "x".repeat(6_000) })).await?.result();
    ensure!(read().await?["isError"] != true);
    fs::rename(&dir, &away)?;
    let refused = until("reads are refused", async || {
        let result = read().await?;
        Ok((result["isError"] == true).then_some(result))
    })
    .await?;
    ensure!(refused["_meta"]["weir/limit"]["name"] == "audit", "{refused}");
    fs::rename(&away, &dir)?;
    until("it recovers alone", async || Ok((read().await?["isError"] != true).then_some(()))).await?;
    router.stop().await;
    Ok(())
}

/// How many calls of the tool that writes arrived.
fn sent(server: &RawServer) -> usize {
    server.received().iter().filter(|message| message.tool().as_deref() == Some("fine")).count()
}

async fn plain_call(router: &TestRouter, body: &Value) -> Result<tests::Answer> {
    let url = router.url().replace("/mcp", "/v1/tools/call");
    let request = http::Request::post(url).header("content-type", "application/json");
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let body = http_body_util::Full::<bytes::Bytes>::from(body.to_string());
    tests::harness::read(client.request(request.body(body)?).await?).await
}

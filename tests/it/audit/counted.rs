//! Every request that nginx passed on is in the log once: in the record of a call, or in a count.

use std::{fs, net::SocketAddr};

use anyhow::{Result, ensure};
use serde_json::json;
use standins::nginx::PrivateNginx;
use tests::{Ask, TestRouter, log, open_house, until};

fn site(address: SocketAddr, router: SocketAddr, log: &std::path::Path) -> String {
    format!(
        "log_format passed '$upstream_status $request_uri';\n\
         server {{ listen {address}; access_log {} passed; client_max_body_size 0;\n\
         location / {{ proxy_pass http://{router}; proxy_http_version 1.1; }} }}",
        log.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_count_what_nginx_counts() -> Result<()> {
    let (server, folder, logs) = (super::server().await?, tempfile::tempdir()?, tempfile::tempdir()?);
    let keys = tests::keys(folder.path(), &[("alice", &["all"])])?;
    let (dir, passed) = (logs.path().join("audit"), logs.path().join("passed"));
    let mut config = open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["policy"]["roles"]["all"]["deny"] = json!(["raw__denied"]);
    config["limits"] = json!([{ "name": "few", "per": "caller", "match": "raw__refuses", "rate": "1/h" }]);
    config["server"] = json!({ "body_bytes_max": "64KiB" });
    config["audit"] = json!({ "dir": dir });
    let router = TestRouter::ready_in(folder, &config.to_string()).await?;
    let callers = router.running().callers;
    let nginx = PrivateNginx::start(&[], |address| site(address, callers, &passed)).await?;
    let url = format!("http://{}", nginx.addr());
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let send = async |method: &str, path: &str, key: Option<&str>, body: String| {
        let mut request = http::Request::builder().method(method).uri(format!("{url}{path}"));
        for (name, value) in [("content-type", "application/json"), ("accept", "application/json, text/event-stream")] {
            request = request.header(name, value);
        }
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = http_body_util::Full::<bytes::Bytes>::from(body);
        tests::harness::read(client.request(request.body(body)?).await?).await
    };
    let key = Some(keys[0].as_str());
    let call = |name: &str| json!({ "name": format!("raw__{name}"), "arguments": {} }).to_string();
    let rpc = |id: u64, method: &str, params: serde_json::Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let legacy_call = |id| rpc(id, "tools/call", json!({ "name": "raw__fine", "arguments": {} }));
    let initialize = rpc(
        1,
        "initialize",
        json!({
            "protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" },
        }),
    );
    let batch = json!([legacy_call(1), legacy_call(2), legacy_call(3)]).to_string();
    let plain = "/v1/tools/call";
    for (method, path, key, body) in [
        ("POST", plain, key, call("fine")),
        ("POST", plain, key, call("denied")),
        ("POST", plain, key, call("nobody")),
        ("POST", plain, key, call("refuses")),
        ("POST", plain, key, call("refuses")),
        ("POST", plain, None, call("fine")),
        ("POST", plain, Some("wrong"), call("fine")),
        ("POST", "/mcp", key, "{ this is no JSON".to_owned()),
        ("POST", plain, key, "[1,".to_owned()),
        ("POST", plain, key, "x".repeat(100 << 10)),
        ("PUT", plain, key, String::new()),
        ("GET", "/nowhere", key, String::new()),
        ("GET", "/v1/tools", key, String::new()),
        ("POST", "/mcp", key, initialize.to_string()),
        ("POST", "/mcp", key, rpc(2, "tools/list", json!({})).to_string()),
        ("POST", "/mcp", key, rpc(3, "ping", json!({})).to_string()),
        ("POST", "/mcp", key, legacy_call(4).to_string()),
        ("POST", "/mcp", key, batch),
    ] {
        send(method, path, key, body).await?;
    }
    let strange = Ask::call("raw__fine", json!({}));
    let _ = router.ask(&strange).await?;

    let lines = until("nginx has told all", async || {
        let text = fs::read_to_string(&passed)?;
        let lines: Vec<String> = text.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
        Ok((lines.len() == 18).then_some(lines))
    })
    .await?;
    router.drain().await;
    let records = log::all(&dir, None)?;
    let calls: u64 = records.iter().filter_map(|record| record["http"].as_u64()).sum();
    let counted: u64 =
        log::of_kind(records.clone(), "counted").iter().filter_map(|record| record["count"].as_u64()).sum();
    // One request came past nginx.
    ensure!(calls + counted == lines.len() as u64 + 1, "{calls} calls, {counted} counted, {lines:?}\n{records:#?}");
    let reasons: Vec<String> =
        log::of_kind(records, "counted").iter().map(|record| record["reason"].to_string()).collect();
    ensure!(
        reasons.iter().any(|reason| reason == "\"not_found\"")
            && reasons.iter().any(|reason| reason == "\"too_large\""),
        "{reasons:?}"
    );
    Ok(())
}

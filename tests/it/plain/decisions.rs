//! The plain API and MCP decide alike, and leave the same audit records.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use tests::{Answer, Ask, TestRouter, hang_up, keys};

use super::{call, config, server};

/// What differs from one call to the next, or from one surface to the other.
const OWN: [&str; 7] = ["time", "request_id", "trace_id", "took_ms", "surface", "protocol", "client"];

#[tokio::test(flavor = "multi_thread")]
async fn the_same_calls_have_the_same_fate_on_both_surfaces() -> Result<()> {
    let server = server().await?;
    let router = TestRouter::ready(&config(&server).to_string()).await?;
    let fits = json!({ "n": 9_007_199_254_740_993_u64 });
    for (tool, arguments, outcome, status) in [
        ("raw__fine", fits.clone(), "ok", 200),
        ("raw__fine", json!({}), "ok", 200),
        ("raw__fine", json!({ "other": [1, { "deep": null }] }), "ok", 200),
        ("raw__fails", fits.clone(), "tool_error", 200),
        ("raw__refuses", fits.clone(), "rejected", 502),
        ("raw__misfits", fits.clone(), "rejected", 422),
        ("raw__denied", fits.clone(), "denied", 404),
        ("raw__denied", json!({ "n": "x" }), "denied", 404),
        ("raw__nobody", fits.clone(), "unknown_tool", 404),
        ("nobody__fine", fits.clone(), "unknown_tool", 404),
        ("RAW__FINE", fits.clone(), "unknown_tool", 404),
        ("raw__fine ", fits.clone(), "unknown_tool", 404),
        ("raw__\u{ff46}ine", fits.clone(), "unknown_tool", 404),
        ("", fits.clone(), "unknown_tool", 404),
        ("raw__fine", json!({ "n": "x" }), "invalid_arguments", 422),
        ("raw__fine", json!({ "n": 1.5 }), "invalid_arguments", 422),
        ("raw__fine", json!({ "n": null }), "invalid_arguments", 422),
        ("raw__late", fits.clone(), "timeout", 504),
        ("raw__nonsense", fits.clone(), "protocol", 502),
        ("raw__asks", fits.clone(), "input_required", 501),
        ("raw__goes_on", fits.clone(), "task", 501),
        ("raw__hang_up_write", fits.clone(), "outcome_unknown", 502),
    ] {
        let up = async || router.downstreams_until(|all| all[0]["health"] == "up").await;
        up().await?;
        let before = server.received().len();
        // A modern request repeats the name in a header, which has no form for every text.
        let has_header = !tool.is_empty() && tool.bytes().all(|byte| byte.is_ascii_graphic());
        let ask = if has_header { Ask::call(tool, arguments.clone()) } else { Ask::legacy_call(tool, &arguments) };
        let over_mcp = router.ask(&ask).await?;
        let sent_by_mcp = sent(&server, before);
        up().await?;
        let before = server.received().len();
        let plain = call(&router, tool, &arguments).await?;
        ensure!(sent(&server, before) == sent_by_mcp, "{tool} {arguments}: the downstream got something else");
        let [record, other] = last_two(&router).await?;
        ensure!(record == other && record["outcome"] == outcome, "{tool} {arguments}: {record} {other}");
        ensure!(plain.status == status, "{tool} {arguments}: {plain:?}");
        told_alike(&over_mcp, &plain)?;
    }
    let metrics = router.admin("/metrics").await?.text;
    for surface in ["mcp", "plain"] {
        let line =
            format!("weir_calls_total{{surface=\"{surface}\",downstream=\"raw\",tool=\"raw__fine\",outcome=\"ok\"}}");
        ensure!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_downstream_refuses_both_alike() -> Result<()> {
    let server = server().await?;
    let mut config = config(&server);
    config["downstreams"]["raw"]["calls_max"] = json!(1);
    config["downstreams"]["raw"]["line"] = json!({ "max": 0 });
    let router = TestRouter::ready(&config.to_string()).await?;
    let hanging = router.knock(&Ask::call("raw__hang", json!({}))).await?;
    server.wait_until(|all| all.iter().any(|message| message.tool().is_some())).await?;
    let over_mcp = router.ask(&Ask::call("raw__fine", json!({}))).await?;
    let plain = call(&router, "raw__fine", &json!({})).await?;
    ensure!(plain.status == 503 && plain.headers["retry-after"] == "1", "{plain:?}");
    ensure!(plain.json()?["_meta"]["weir/limit"] == over_mcp.result()?["_meta"]["weir/limit"], "{plain:?}");
    told_alike(&over_mcp, &plain)?;
    let [record, other] = last_two(&router).await?;
    ensure!(record == other && record["outcome"] == "queue_full", "{record} {other}");
    hang_up(hanging).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_counts_and_refuses_both_alike() -> Result<()> {
    for per in ["caller", "tool"] {
        let server = server().await?;
        let mut config = config(&server);
        config["limits"] = json!([{ "name": "few", "per": per, "rate": "4/d" }]);
        config["downstreams"]["raw"]["tools"]["fails"] = json!({ "cost": 9 });
        let router = TestRouter::ready(&config.to_string()).await;
        ensure!(router.is_err(), "it costs more than there ever is");
        config["downstreams"]["raw"]["tools"]["fails"] = json!({ "cost": 3 });
        let router = TestRouter::ready(&config.to_string()).await?;
        for _ in 0..2 {
            ensure!(router.ask(&Ask::call("raw__fine", json!({}))).await?.result()?["isError"].is_null());
            ensure!(call(&router, "raw__fine", &json!({})).await?.status == 200, "one count for both");
        }
        let over_mcp = router.ask(&Ask::call("raw__fine", json!({}))).await?;
        let plain = call(&router, "raw__fine", &json!({})).await?;
        let meta = &over_mcp.result()?["_meta"]["weir/limit"];
        ensure!(plain.status == 429 && over_mcp.status == 200 && meta["name"] == "few", "{plain:?} {over_mcp:?}");
        ensure!(plain.json()?["_meta"]["weir/limit"]["name"] == "few", "{plain:?}");
        for header in ["retry-after", "ratelimit", "ratelimit-policy"] {
            ensure!(plain.headers.contains_key(header) && over_mcp.headers.contains_key(header), "{header}: {plain:?}");
        }
        ensure!(plain.headers["ratelimit-policy"] == over_mcp.headers["ratelimit-policy"], "{plain:?} {over_mcp:?}");
        // The second is told to wait a little less.
        let start = |text: &Value| text.as_str().and_then(|text| text.split("Try again").next().map(str::to_owned));
        let (said, detail) = (start(&over_mcp.result()?["content"][0]["text"]), start(&plain.json()?["detail"]));
        ensure!(said == detail && said.is_some(), "{said:?} {detail:?}");
        let [record, other] = last_two(&router).await?;
        ensure!(record == other && record["outcome"] == "limited" && record["limited_by"] == "few", "{record} {other}");
        ensure!(sent(&server, 0).len() == 4, "what is refused is not sent");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_is_told_alike_and_each_sees_its_own_tools() -> Result<()> {
    let (server, dir) = (server().await?, tempfile::tempdir()?);
    let made = keys(dir.path(), &[("alice", &["all"]), ("bob", &["few"])])?;
    let mut config = config(&server);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["policy"]["roles"]["few"] = json!({ "allow": ["raw__f*"] });
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let wrong = format!("{}x", made[0]);
    for (key, status) in
        [(None, 401), (Some(wrong.as_str()), 401), (Some(made[0].as_str()), 200), (Some(made[1].as_str()), 200)]
    {
        let authorization = key.map(|key| format!("Bearer {key}")).unwrap_or_default();
        let mut headers = vec![("accept", "application/json")];
        headers.extend(key.map(|_| ("authorization", authorization.as_str())));
        let list = router.send(Method::GET, "/v1/tools", &headers, "").await?;
        ensure!(list.status == status, "{list:?}");
        let body = json!({ "name": "raw__fine" }).to_string();
        ensure!(super::post(&router, key, body).await?.status == status);
        if status == 401 {
            ensure!(list.headers.contains_key("www-authenticate") && list.headers["cache-control"] == "no-store");
            continue;
        }
        let over_mcp = router.modern(key, "tools/list", json!({})).await?.result()?;
        ensure!(list.json()?["tools"] == over_mcp["tools"], "{list:?}");
    }
    let [plain, _] = last_two(&router).await?;
    ensure!(plain["subject"] == "bob" && plain["rule"].is_string(), "{plain}");
    let unseen = super::post(&router, Some(&made[1]), json!({ "name": "raw__nonsense" }).to_string()).await?;
    let unknown = super::post(&router, Some(&made[1]), json!({ "name": "raw__nobody" }).to_string()).await?;
    let text = |answer: &Answer| answer.text.replace("nonsense", "nobody");
    let without_id = |answer: &Answer| text(answer).split("\"_meta\"").next().map(str::to_owned);
    ensure!(unseen.status == 404 && without_id(&unseen) == without_id(&unknown), "{unseen:?} {unknown:?}");
    Ok(())
}

/// What the downstream got since then, without what every call has of its own.
fn sent(server: &standins::raw::RawServer, since: usize) -> Vec<Value> {
    let calls = server.received().into_iter().skip(since).filter(|message| message.tool().is_some());
    let params = calls.filter_map(|message| serde_json::from_str(message.params.as_deref()?).ok());
    params
        .map(|mut params: Value| {
            if let Some(meta) = params["_meta"].as_object_mut() {
                meta.retain(|key, _| !["traceparent", "weir/deadline_ms"].contains(&key.as_str()));
            }
            params
        })
        .collect()
}

/// The last two records without what is each call's own; the newest first.
async fn last_two(router: &TestRouter) -> Result<[Value; 2]> {
    let mut records = router.records().await?.into_iter().map(|mut record| {
        if let Some(members) = record.as_object_mut() {
            members.retain(|key, _| !OWN.contains(&key.as_str()));
            for attempt in members.get_mut("attempts").and_then(Value::as_array_mut).into_iter().flatten() {
                attempt["took_ms"].take();
            }
        }
        record
    });
    Ok([records.next().context("no record")?, records.next().context("one record")?])
}

/// Both say the same words, or give the same result.
fn told_alike(over_mcp: &Answer, plain: &Answer) -> Result<()> {
    let (over_mcp, plain) = (over_mcp.json()?, plain.json()?);
    if plain["result"].is_object() {
        let mut result = over_mcp["result"].clone();
        let members = result.as_object_mut().context("a result")?;
        members.shift_remove("resultType");
        // What Weir says of a result stands in it over MCP, and beside it here.
        if let Some(meta) = members.get_mut("_meta").and_then(Value::as_object_mut) {
            ensure!(meta.shift_remove("weir/provenance").as_ref() == plain["_meta"].get("weir/provenance"), "{plain}");
            if meta.is_empty() {
                members.shift_remove("_meta");
            }
        }
        ensure!(plain["result"] == result, "{plain} {over_mcp}");
        let failed = result["isError"] == true;
        ensure!(plain["status"] == if failed { "error" } else { "ok" }, "{plain}");
        return Ok(());
    }
    let said = [&over_mcp["error"]["message"], &over_mcp["result"]["content"][0]["text"]];
    let said = said.iter().find_map(|text| text.as_str());
    let detail = plain["detail"].as_str().context("no detail")?;
    // What this API cannot express has words of its own; operation ids and waits differ.
    let own = ["input_required", "task"].iter().any(|outcome| plain["outcome"] == *outcome);
    let start = |text: &str| {
        text.split(" within ").next().and_then(|text| text.split("Operation id").next().map(str::to_owned))
    };
    let alike = |said: &str| start(detail).zip(start(said)).is_some_and(|(detail, said)| detail.contains(&said));
    ensure!(own || said.is_some_and(alike), "{plain} {over_mcp}");
    Ok(())
}

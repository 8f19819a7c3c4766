//! The modern era, as a caller sees it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer},
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, open_house};

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT: &str = "io.modelcontextprotocol/clientInfo";

#[tokio::test(flavor = "multi_thread")]
async fn discovery_says_what_is_offered() -> Result<()> {
    let router = enrichment().await?;
    let answer = router.ask(&Ask::modern("server/discover", json!({}))).await?;
    let result = answer.result()?;
    ensure!(answer.status == 200 && answer.headers.get("mcp-session-id").is_none(), "{answer:?}");
    let versions = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
    ensure!(result["supportedVersions"] == json!(versions) && result["resultType"] == "complete", "{result}");
    ensure!(result["capabilities"] == json!({ "tools": {} }), "what is not served is not offered: {result}");
    ensure!(result["ttlMs"].as_u64().is_some() && result["cacheScope"] == "private", "{result}");
    ensure!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "weir", "{result}");
    ensure!(result["instructions"].as_str().is_some_and(|text| !text.is_empty()), "{result}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_must_carry_their_version_and_capabilities() -> Result<()> {
    let router = enrichment().await?;
    type Change = fn(&mut Value);
    let changes: [Change; 9] = [
        |params| *params = json!({}),
        |params| params["_meta"] = json!({}),
        |params| params["_meta"] = json!([]),
        |params| params["_meta"] = json!(null),
        |params| drop(params["_meta"].as_object_mut().and_then(|meta| meta.remove(VERSION))),
        |params| params["_meta"][VERSION] = json!(20_260_728),
        |params| drop(params["_meta"].as_object_mut().and_then(|meta| meta.remove(CAPABILITIES))),
        |params| params["_meta"][CAPABILITIES] = json!(null),
        |params| params["_meta"][CAPABILITIES] = json!("{}"),
    ];
    for method in ["server/discover", "tools/list", "tools/call", "prompts/list", "initialize"] {
        for change in changes {
            let ask = Ask::modern(method, json!({})).id("x").change(|body| change(&mut body["params"]));
            let answer = router.ask(&ask).await?;
            ensure!(answer.status == 400 && answer.error_code() == Some(-32602), "{ask:?}: {answer:?}");
            ensure!(answer.json()?["id"] == "x", "{answer:?}");
        }
    }
    let anonymous = Ask::modern("tools/list", json!({}))
        .change(|body| drop(body["params"]["_meta"].as_object_mut().and_then(|meta| meta.remove(CLIENT))));
    ensure!(router.ask(&anonymous).await?.result()?["tools"].is_array(), "who it is need not be said");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_not_spoken_are_refused_with_those_that_are() -> Result<()> {
    let router = enrichment().await?;
    for version in ["v999.0.0", "2027-01-01", "2026-07-28 ", "2025-11-25", ""] {
        let ask = Ask::modern("tools/list", json!({}))
            .with("mcp-protocol-version", version)
            .change(|body| body["params"]["_meta"][VERSION] = json!(version.trim_end()));
        if version.trim_end() == "2026-07-28" {
            continue;
        }
        let answer = router.ask(&ask).await?;
        let error = answer.json()?["error"].clone();
        ensure!(answer.status == 400 && error["code"] == -32022, "{version}: {answer:?}");
        let supported = error["data"]["supported"].as_array().context("versions")?;
        ensure!(supported.contains(&json!("2026-07-28")) && error["data"]["requested"] == version, "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_era_has_not_is_not_found() -> Result<()> {
    let router = enrichment().await?;
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "subscriptions/listen",
        "prompts/list",
        "resources/list",
        "completion/complete",
        "no/such",
        "",
        "tools/List",
        "tools/list ",
    ] {
        let answer = router.ask(&Ask::modern(method, json!({})).with("mcp-method", method).id(3)).await?;
        if method == "tools/list " {
            // White space around a header's value is no part of it, so the two differ.
            ensure!(answer.status == 400 && answer.error_code() == Some(-32020), "{answer:?}");
            continue;
        }
        ensure!(answer.status == 404 && answer.error_code() == Some(-32601), "{method}: {answer:?}");
        ensure!(answer.json()?["id"] == 3, "{answer:?}");
    }
    for (method, path) in [("GET", "/mcp"), ("DELETE", "/mcp"), ("PUT", "/mcp"), ("OPTIONS", "/mcp"), ("HEAD", "/mcp")]
    {
        let headers = [("accept", "text/event-stream"), ("mcp-protocol-version", "2026-07-28")];
        let answer = router.send(method.parse()?, path, &headers, "").await?;
        ensure!(answer.status == 405 && answer.headers.contains_key("allow"), "{method}: {answer:?}");
    }
    for path in ["/", "/mcp/", "/mcp/other", "/MCP", "/admin/tools", "/metrics", "/healthz", "//mcp", "/mcp%2f"] {
        let answer = router.send("POST".parse()?, path, &[], "{}").await?;
        ensure!(answer.status == 404, "{path}: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_taken_and_answers_are_not() -> Result<()> {
    let router = enrichment().await?;
    let notification =
        Ask::notification("notifications/cancelled", &json!({ "requestId": 1, "_meta": { VERSION: "2026-07-28" } }));
    let answer = router.ask(&notification.header("mcp-protocol-version", "2026-07-28")).await?;
    ensure!(answer.status == 202 && answer.text.is_empty(), "{answer:?}");
    let call = json!({ "name": "pay__get_merchant", "arguments": { "merchant_id": "M-0001" } });
    let answer =
        router.ask(&Ask::notification("tools/call", &call).header("mcp-protocol-version", "2026-07-28")).await?;
    ensure!(answer.status == 202 && router.records().await?.is_empty(), "a call without an id is none: {answer:?}");
    let response = Ask::text(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).header("mcp-protocol-version", "2026-07-28");
    ensure!(router.ask(&response).await?.status == 400);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_comes_in_pages_that_hold_each_tool_once_and_in_order() -> Result<()> {
    const COUNT: usize = 1203;
    let server = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        let tool = |index: usize| json!({ "name": format!("t{index:04}"), "inputSchema": {} });
        (message.method.as_deref() == Some("tools/list")).then(|| {
            let tools: Vec<_> = (0..COUNT).rev().map(tool).collect();
            vec![Action::result(message, &json!({ "tools": tools }).to_string())]
        })
    })
    .await?;
    let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
    for modern in [true, false] {
        let list =
            |params: Value| if modern { Ask::modern("tools/list", params) } else { Ask::legacy("tools/list", &params) };
        let (mut names, mut cursors, mut params) = (Vec::new(), Vec::new(), json!({}));
        loop {
            let page = router.ask(&list(params.clone())).await?.result()?;
            let tools = page["tools"].as_array().context("tools")?;
            ensure!(tools.len() <= 500 && !tools.is_empty(), "{} tools", tools.len());
            names.extend(tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)));
            if modern {
                ensure!(page["resultType"] == "complete" && page["cacheScope"] == "private", "{page}");
                ensure!(page["ttlMs"].as_u64().is_some(), "{page}");
            } else {
                ensure!(page.get("resultType").or(page.get("ttlMs")).or(page.get("cacheScope")).is_none(), "{page}");
            }
            let Some(cursor) = page["nextCursor"].as_str() else { break };
            cursors.push(cursor.to_owned());
            params = json!({ "cursor": cursor });
        }
        ensure!(names == (0..COUNT).map(|index| format!("raw__t{index:04}")).collect::<Vec<_>>(), "{names:?}");
        ensure!(cursors.len() == 2, "{cursors:?}");
        for cursor in [json!("not base64!"), json!("/w"), json!("_w"), json!(5), json!(null), json!({}), json!("a b")] {
            let answer = router.ask(&list(json!({ "cursor": cursor }))).await?;
            ensure!(answer.error_code() == Some(-32602), "{cursor}: {answer:?}");
        }
    }
    Ok(())
}

async fn enrichment() -> Result<TestRouter> {
    let server = McpServer::new(McpOptions::default());
    let running = server.websocket("127.0.0.1:0").await?;
    let router = TestRouter::ready(&open_house(&[("pay", &running.url)]).to_string()).await;
    // What was listed stays listed, so nothing here needs the server any longer.
    drop(running);
    router
}

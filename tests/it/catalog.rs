//! The merged list: no downstream hides or delays another, and none is lost for having been away.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Running},
    proxy::{Fault, FaultProxy},
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, open_house};

#[tokio::test(flavor = "multi_thread")]
async fn what_never_answers_hides_and_delays_nothing() -> Result<()> {
    let good = Payments::new().await?;
    let (silent, half_open) = (tokio::net::TcpListener::bind("127.0.0.1:0").await?, good.proxy().await?);
    half_open.set(Fault::Blackhole).await?;
    let never_lists = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        (message.method.as_deref() == Some("tools/list")).then(Vec::new)
    })
    .await?;
    let refuses = RawServer::start(Era::ModernOnly, |message: &Incoming| {
        (message.method.as_deref() == Some("tools/list")).then(|| vec![Action::error(message, -32000, "not today")])
    })
    .await?;
    let nonsense = RawServer::start(Era::LegacyOnly, |message: &Incoming| {
        (message.method.as_deref() == Some("tools/list")).then(|| vec![Action::result(message, "{\"tools\":5}")])
    })
    .await?;
    let urls = [
        ("nobody", "ws://127.0.0.1:1/mcp".to_owned()),
        ("silent", format!("ws://{}/mcp", silent.local_addr()?)),
        ("half-open", format!("ws://{}/mcp", half_open.addr())),
        ("never-lists", never_lists.url.clone()),
        ("refuses", refuses.url.clone()),
        ("nonsense", nonsense.url.clone()),
        ("pay", good.running.url.clone()),
    ];
    let urls: Vec<_> = urls.iter().map(|(name, url)| (*name, url.as_str())).collect();
    let router = TestRouter::start(&open_house(&urls).to_string()).await?;
    // Served at once, before anything is known.
    ensure!(router.ask(&Ask::modern("tools/list", json!({}))).await?.result()?["tools"].is_array());
    let all = router
        .downstreams_until(|all| {
            let health = |name: &str, health: &str| one(all, name)["health"] == health;
            health("pay", "up")
                && one(all, "pay")["tools"] == 4
                && health("nobody", "down")
                && health("silent", "down")
                && health("half-open", "down")
        })
        .await?;
    for name in ["nobody", "silent", "half-open"] {
        ensure!(one(&all, name)["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{all}");
        ensure!(one(&all, name)["since"].as_str().is_some(), "{all}");
    }
    ensure!(names(&router).await?.iter().all(|name| name.starts_with("pay__")) && names(&router).await?.len() == 4);
    let call = Ask::call("pay__get_merchant", json!({ "merchant_id": "M-0001" }));
    ensure!(router.ask(&call).await?.result()?["isError"] != true);
    let ready = router.admin("/readyz").await?;
    ensure!(ready.status == 200 && ready.text.contains("nobody is down"), "{ready:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downstream_that_dies_keeps_its_tools_says_why_and_comes_back_by_itself() -> Result<()> {
    let (good, other) = (Payments::new().await?, Payments::new().await?);
    let proxy = good.proxy().await?;
    let urls = [("pay", &*format!("ws://{}/mcp", proxy.addr())), ("other", &*other.running.url)];
    let router = TestRouter::ready(&open_house(&urls).to_string()).await?;
    let before = names(&router).await?;
    let call = |name: &str| Ask::call(&format!("{name}__get_merchant"), json!({ "merchant_id": "M-0001" }));
    for _ in 0..2 {
        proxy.set(Fault::Refuse).await?;
        proxy.reset_connections();
        let all = router.downstreams_until(|all| one(all, "pay")["health"] == "down").await?;
        ensure!(one(&all, "pay")["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{all}");
        ensure!(one(&all, "pay")["tools"] == 4 && one(&all, "other")["health"] == "up", "{all}");
        ensure!(names(&router).await? == before, "its tools are still listed, in the same order");
        let failed = router.ask(&call("pay")).await?;
        let text = failed.result()?["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        ensure!(failed.result()?["isError"] == true && text.contains("pay"), "{failed:?}");
        ensure!(!text.contains("127.0.0.1"), "where it is, is nobody's business: {text}");
        ensure!(router.ask(&call("other")).await?.result()?["isError"] != true);
        proxy.set(Fault::Pass).await?;
        router.downstreams_until(|all| one(all, "pay")["health"] == "up").await?;
        ensure!(router.ask(&call("pay")).await?.result()?["isError"] != true);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_noticed_its_calls_fail_and_it_is_replaced() -> Result<()> {
    let good = Payments::new().await?;
    let proxy = good.proxy().await?;
    let mut config = open_house(&[("pay", &format!("ws://{}/mcp", proxy.addr()))]);
    config["downstreams"]["pay"]["mcp"]["websocket"]["ping_every"] = json!("100ms");
    let router = TestRouter::ready(&config.to_string()).await?;
    let before = names(&router).await?;
    proxy.set(Fault::Blackhole).await?;
    let call = Ask::call("pay__get_merchant", json!({ "merchant_id": "M-0001" }));
    let answer = router.ask(&call).await?;
    ensure!(answer.result()?["isError"] == true && answer.text.contains("pay"), "{answer:?}");
    let all = router.downstreams_until(|all| all[0]["health"] == "down").await?;
    ensure!(all[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{all}");
    ensure!(names(&router).await? == before && good.server.seen().called("get_merchant") == 0);
    let records = router.records().await?;
    ensure!(records.len() == 1 && records[0]["attempts"][0]["outcome"] == "connection_lost", "{records:?}");
    proxy.set(Fault::Pass).await?;
    router.downstreams_until(|all| all[0]["health"] == "up").await?;
    ensure!(router.ask(&call).await?.result()?["isError"] != true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_definition_is_left_out_alone_and_the_reason_is_told() -> Result<()> {
    let deep = format!("{{\"name\":\"deep\",\"inputSchema\":{}1{}}}", "{\"a\":".repeat(200), "}".repeat(200));
    let huge = format!("{{\"name\":\"huge\",\"description\":\"{}\",\"inputSchema\":{{}}}}", "x".repeat(300_000));
    let long = format!("{{\"name\":\"{}\",\"inputSchema\":{{}}}}", "n".repeat(300));
    let definitions = [
        r#"{"name":"good","inputSchema":{"type":"object"}}"#,
        "5",
        "{}",
        r#"{"name":7,"inputSchema":{}}"#,
        r#"{"name":"","inputSchema":{}}"#,
        r#"{"name":"schemaless"}"#,
        r#"{"name":"odd-schema","inputSchema":[]}"#,
        r#"{"name":"good","inputSchema":{"type":"object"},"description":"another"}"#,
        &deep,
        &huge,
        &long,
        r#"{"name":"also-good","inputSchema":{}}"#,
    ];
    let tools = definitions.join(",");
    let server = lists(format!("{{\"tools\":[{tools}]}}")).await?;
    let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
    ensure!(names(&router).await? == ["raw__also-good", "raw__good"], "{:?}", names(&router).await?);
    let all = router.admin("/admin/downstreams").await?.json()?;
    let left_out = all["downstreams"][0]["left_out"].as_array().context("a list")?;
    ensure!(left_out.len() == 10, "{left_out:?}");
    ensure!(left_out.iter().all(|one| one["reason"].as_str().is_some_and(|reason| !reason.is_empty())), "{left_out:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_built_to_hurt_whoever_checks_by_them_hurt_nobody() -> Result<()> {
    let schemas = [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "$ref": "#" }] }),
        json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } }, "$ref": "#/$defs/a" }),
        json!({ "$dynamicAnchor": "n", "$dynamicRef": "#n" }),
        json!({ "$ref": "http://127.0.0.1:1/schema.json" }),
        json!({ "$ref": "file:///etc/passwd" }),
        json!({ "$schema": "http://127.0.0.1:1/meta.json", "type": "object" }),
        json!({ "properties": { "x": { "pattern": "^(a+)+$" } } }),
        json!({ "properties": { "x": { "pattern": "(" } } }),
        json!({ "properties": { "x": { "pattern": "(a{1000}){1000}" } } }),
        json!({ "type": "nonsense" }),
        json!({ "properties": { "x": { "multipleOf": 0 } } }),
        json!({ "patternProperties": { "(x+x+)+y": { "$ref": "#" } }, "unevaluatedProperties": { "$ref": "#" } }),
        json!({ "not": { "$ref": "#" } }),
    ];
    let tool = |(index, schema): (usize, &Value)| json!({ "name": format!("t{index}"), "inputSchema": schema });
    let tools: Vec<_> = schemas.iter().enumerate().map(tool).collect();
    let server = lists(json!({ "tools": tools }).to_string()).await?;
    let good = Payments::new().await?;
    let urls = [("raw", &*server.url), ("pay", &*good.running.url)];
    let router = TestRouter::ready(&open_house(&urls).to_string()).await?;
    let evil = json!({ "x": format!("{}!", "a".repeat(40_000)), "y": { "x": {} } });
    for (index, schema) in schemas.iter().enumerate() {
        let answer = router.ask(&Ask::call(&format!("raw__t{index}"), evil.clone())).await?;
        ensure!(answer.json()?.get("result").is_some(), "{schema}: {answer:?}");
        let text = answer.text.replace(&"a".repeat(100), "");
        ensure!(!text.contains("root:") && text.len() < 1_500, "{schema}: {answer:?}");
    }
    let call = Ask::call("pay__get_merchant", json!({ "merchant_id": "M-0001" }));
    ensure!(router.ask(&call).await?.result()?["isError"] != true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_end_is_cut_and_still_served() -> Result<()> {
    let pages = Arc::new(AtomicUsize::new(0));
    let server = RawServer::start(Era::ModernOnly, {
        let pages = pages.clone();
        move |message: &Incoming| {
            (message.method.as_deref() == Some("tools/list")).then(|| {
                let page = pages.fetch_add(1, Ordering::Relaxed);
                let tools = json!([{ "name": format!("t{page:05}"), "inputSchema": {} }]);
                let result = json!({ "tools": tools, "nextCursor": format!("{page}") });
                vec![Action::result(message, &result.to_string())]
            })
        }
    })
    .await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"]["mcp"]["list_refresh"] = json!("1h");
    let router = TestRouter::ready(&config.to_string()).await?;
    let listed = names(&router).await?.len();
    ensure!(listed == pages.load(Ordering::Relaxed) && listed <= 1_000, "{listed} of {pages:?}");
    let all = router.admin("/admin/downstreams").await?.json()?;
    ensure!(
        all["downstreams"][0]["left_out"][0]["reason"].as_str().is_some_and(|reason| reason.contains("cut")),
        "{all}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_config_choose_describe_and_class_a_servers_tools() -> Result<()> {
    let definition =
        r#"{"name":"get","inputSchema":{},"annotations":{"readOnlyHint":true},"description":"old \u00e9"}"#;
    let server = lists(format!("{{\"tools\":[{definition},{{\"name\":\"hidden\",\"inputSchema\":{{}}}},{{\"name\":\"set\",\"inputSchema\":{{}}}}]}}")).await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"] = json!({
        "mcp": { "websocket": { "url": server.url } },
        "expose": "listed",
        "tools": { "get": { "description": "new \"é\"" }, "set": { "effect": "idempotent_write" }, "gone": {} },
    });
    let router = TestRouter::ready(&config.to_string()).await?;
    let list = router.ask(&Ask::modern("tools/list", json!({}))).await?.result()?;
    let tools = list["tools"].as_array().context("tools")?;
    ensure!(tools.len() == 3 && tools[0]["description"] == "new \"é\"", "{list}");
    ensure!(tools[2]["name"] == "weir__operation_status", "one of them writes: {list}");
    ensure!(router.ask(&Ask::call("raw__hidden", json!({}))).await?.error_code() == Some(-32602));
    let lines = router.admin("/admin/tools").await?.json()?;
    // What a server says of itself is not believed: what the config does not state is a write.
    ensure!(lines["tools"][0]["effect"] == "write" && lines["tools"][1]["effect"] == "idempotent_write", "{lines}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_fails_later_leaves_the_last_good_one() -> Result<()> {
    let broken = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let server = RawServer::start(Era::LegacyOnly, {
        let (broken, asked) = (broken.clone(), asked.clone());
        move |message: &Incoming| {
            (message.method.as_deref() == Some("tools/list")).then(|| {
                asked.fetch_add(1, Ordering::Relaxed);
                let list = if broken.load(Ordering::Relaxed) {
                    "{\"tools\":{}}"
                } else {
                    "{\"tools\":[{\"name\":\"t\",\"inputSchema\":{}}]}"
                };
                vec![Action::result(message, list)]
            })
        }
    })
    .await?;
    let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
    broken.store(true, Ordering::Relaxed);
    let before = asked.load(Ordering::Relaxed);
    server.push(&[Action::Send(json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }).to_string())]);
    tests::until("the list was asked for again", async || Ok((asked.load(Ordering::Relaxed) > before).then_some(())))
        .await?;
    // A call over the same connection comes back after the list did.
    router.ask(&Ask::call("raw__t", json!({}))).await?;
    ensure!(names(&router).await? == ["raw__t"]);
    Ok(())
}

fn one<'a>(all: &'a Value, name: &str) -> &'a Value {
    all.as_array().and_then(|all| all.iter().find(|one| one["name"] == name)).unwrap_or(&Value::Null)
}

async fn names(router: &TestRouter) -> Result<Vec<String>> {
    let list = router.ask(&Ask::modern("tools/list", json!({}))).await?.result()?;
    let tools = list["tools"].as_array().context("tools")?;
    Ok(tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect())
}

/// A server that lists this and answers calls with nothing in particular.
async fn lists(list: String) -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => Some(vec![Action::result(message, &list)]),
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await
}

struct Payments {
    server: McpServer,
    running: Running,
}

impl Payments {
    async fn new() -> Result<Self> {
        let server = McpServer::new(McpOptions::default());
        let running = server.websocket("127.0.0.1:0").await?;
        Ok(Self { server, running })
    }

    async fn proxy(&self) -> Result<FaultProxy> {
        FaultProxy::start(self.running.addr).await
    }
}

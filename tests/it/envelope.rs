//! Messages that are not quite messages: headers that say something else than the body, batches, bodies built to be costly or ambiguous.
//! None of them reaches a downstream.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, open_house};

const LEGACY: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_differ_from_the_body_are_refused_and_nothing_is_sent() -> Result<()> {
    let scene = Scene::new().await?;
    let call = Ask::call("raw__work", json!({}));
    let list = Ask::modern("tools/list", json!({}));
    let coded = |name: &str| format!("=?base64?{name}?=");
    for refused in [
        call.clone().with("mcp-name", "raw__other"),
        call.clone().with("mcp-name", "RAW__WORK"),
        call.clone().with("mcp-name", "work"),
        call.clone().with("mcp-name", "raw__work."),
        call.clone().with("mcp-name", "raw__work, raw__work"),
        call.clone().with("mcp-name", ""),
        call.clone().without("mcp-name"),
        call.clone().header("mcp-name", "raw__work"),
        call.clone().header("mcp-name", "raw__other"),
        // `raw__work` is cmF3X193b3Jr.
        call.clone().with("mcp-name", &coded("cmF3X193b3J")),
        call.clone().with("mcp-name", &coded("cmF3X193b3Jr=")),
        call.clone().with("mcp-name", &coded("cmF3 X193b3Jr")),
        call.clone().with("mcp-name", &coded("cmF3X1-3b3Jr")),
        call.clone().with("mcp-name", &coded("cmF3X19vdGhlcg==")),
        call.clone().with("mcp-name", &coded("/w==")),
        call.clone().with("mcp-name", "cmF3X193b3Jr"),
        call.clone().with("mcp-name", "=?BASE64?cmF3X193b3Jr?="),
        call.clone().with("mcp-method", "tools/list"),
        // Only names may come in base64.
        call.clone().with("mcp-method", &coded("dG9vbHMvY2FsbA==")),
        call.clone().with("mcp-method", "TOOLS/CALL"),
        call.clone().with("mcp-method", "tools/call tools/call"),
        call.clone().without("mcp-method"),
        call.clone().header("mcp-method", "tools/call"),
        call.clone().header("mcp-method", "tools/list"),
        list.clone().with("mcp-method", "tools/call"),
        list.clone().without("mcp-method"),
        call.clone().without("mcp-protocol-version"),
        call.clone().with("mcp-protocol-version", "2025-11-25"),
        call.clone().with("mcp-protocol-version", "2026-07-29"),
        call.clone().with("mcp-protocol-version", ""),
        call.clone().header("mcp-protocol-version", "2026-07-28"),
        call.clone().header("mcp-protocol-version", "2025-11-25"),
        list.clone().without("mcp-protocol-version"),
    ] {
        let answer = scene.router.ask(&refused.clone().id(77)).await?;
        ensure!(answer.status == 400 && answer.error_code() == Some(-32020), "{refused:?}: {answer:?}");
        ensure!(answer.json()?["id"] == 77 && answer.headers["content-type"] == "application/json", "{answer:?}");
    }
    ensure!(scene.calls() == 0);
    for accepted in [
        call.clone(),
        call.clone().with("mcp-name", &coded("cmF3X193b3Jr")),
        call.clone().with("mcp-name", "  raw__work\t"),
        call.clone().header("mcp-session-id", "of no meaning here").header("last-event-id", "7"),
    ] {
        let answer = scene.router.ask(&accepted).await?;
        ensure!(answer.result()?["content"] == json!([]), "{answer:?}");
    }
    ensure!(scene.calls() == 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_modern_era_mean_nothing_in_the_legacy_one() -> Result<()> {
    let scene = Scene::new().await?;
    for (count, version) in LEGACY.into_iter().enumerate() {
        let session = scene.router.session(None, version).await?;
        let call = Ask::legacy_call("raw__work", &json!({}))
            .session(&session)
            .header("mcp-protocol-version", version)
            .header("mcp-method", "tools/list")
            .header("mcp-name", "raw__other");
        let answer = scene.router.ask(&call).await?;
        ensure!(answer.result()?["content"] == json!([]), "{version}: {answer:?}");
        ensure!(scene.calls() == count + 1, "{version}");
    }
    // Without `_meta` a modern version header makes a modern request, which lacks what it must carry.
    for header in ["2026-07-28", "v999.0.0"] {
        let call = Ask::legacy_call("raw__work", &json!({})).header("mcp-protocol-version", header);
        let answer = scene.router.ask(&call).await?;
        ensure!(answer.status == 400 && answer.json()?["id"] == 1, "{answer:?}");
    }
    for twice in [["2025-06-18", "2026-07-28"], ["2026-07-28", "2025-06-18"], ["2025-06-18", "2025-06-18"]] {
        let call = Ask::legacy_call("raw__work", &json!({}));
        let call = twice.iter().fold(call, |call, version| call.header("mcp-protocol-version", version));
        let answer = scene.router.ask(&call).await?;
        ensure!(answer.status == 400, "{twice:?}: {answer:?}");
    }
    ensure!(scene.calls() == LEGACY.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_refused_in_every_era_but_the_one_that_has_them() -> Result<()> {
    let scene = Scene::new().await?;
    let mut refused = vec![Ask::call("raw__work", json!({})), Ask::legacy_call("raw__work", &json!({}))];
    for version in LEGACY {
        refused.push(Ask::legacy_call("raw__work", &json!({})).header("mcp-protocol-version", version));
        let session = scene.router.session(None, version).await?;
        let inside = Ask::legacy_call("raw__work", &json!({})).session(&session);
        refused.push(inside.clone().header("mcp-protocol-version", "2026-07-28"));
        if version != "2025-03-26" {
            refused.push(inside);
        }
    }
    for ask in refused {
        for count in [0, 1, 2, 64, 65, 10_000] {
            let body = ask.clone().change(|body| *body = Value::Array(vec![body.clone(); count]));
            let answer = scene.router.ask(&body).await?;
            ensure!(answer.status == 400 && answer.error_code() == Some(-32600), "{count}: {ask:?}: {answer:?}");
            ensure!(answer.json()?.is_object(), "{answer:?}");
        }
    }
    ensure!(scene.calls() == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_the_revision_that_has_them_is_answered_item_by_item() -> Result<()> {
    let scene = Scene::new().await?;
    let session = scene.router.session(None, "2025-03-26").await?;
    let batch = |items: &[Value]| Ask::text(&Value::from(items).to_string()).session(&session);
    let call =
        |id: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "raw__work" } });
    for count in [1, 2, 64] {
        let before = scene.calls();
        let items: Vec<_> = (0..count).map(|id| call(id.into())).collect();
        let answers = scene.router.ask(&batch(&items)).await?.json()?;
        let mut ids: Vec<_> = answers.as_array().context("an array")?.iter().map(|one| one["id"].as_u64()).collect();
        ids.sort_unstable();
        ensure!(ids == (0..count).map(Some).collect::<Vec<_>>(), "{answers}");
        ensure!(scene.calls() - before == usize::try_from(count)?, "{count}");
    }
    let before = scene.calls();
    for count in [0, 65, 10_000] {
        let items: Vec<_> = (0..count).map(|id| call(id.into())).collect();
        let answer = scene.router.ask(&batch(&items)).await?;
        ensure!(answer.status == 400 && answer.error_code() == Some(-32600), "{count}: {answer:?}");
    }
    ensure!(scene.calls() == before, "a batch that is too long is not executed in part");

    let mixed = [
        json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": "u", "method": "tools/call", "params": { "name": "raw__nobody" } }),
        json!({ "jsonrpc": "2.0", "id": "i", "method": "initialize", "params": { "protocolVersion": "2025-03-26" } }),
        json!({ "jsonrpc": "1.0", "id": "v", "method": "ping" }),
        json!([call(json!(1))]),
        json!(7),
        call(json!("c")),
    ];
    let answers = scene.router.ask(&batch(&mixed)).await?.json()?;
    let answers = answers.as_array().context("an array")?;
    let code = |id: &str| answers.iter().find(|one| one["id"] == id).map(|one| one["error"]["code"].as_i64());
    ensure!(answers.len() == 7 && code("p") == Some(None) && code("c") == Some(None), "{answers:?}");
    ensure!(code("u") == Some(Some(-32602)) && code("i") == Some(Some(-32600)) && code("v") == Some(Some(-32600)));
    ensure!(scene.calls() == before + 1);

    let one_key = scene.router.ask(&batch(&[call(json!(1)), call(json!(2))]).header("idempotency-key", "k")).await?;
    ensure!(one_key.status == 400 && one_key.text.contains("its own in"), "{one_key:?}");
    ensure!(scene.calls() == before + 1, "one key for two calls");

    let silent = [json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })];
    let answer = scene.router.ask(&batch(&silent)).await?;
    ensure!(answer.status == 202 && answer.text.is_empty(), "{answer:?}");
    let other = scene.router.session(None, "2025-06-18").await?;
    let answer = scene.router.ask(&batch(&[call(json!(1))]).session(&other)).await?;
    ensure!(answer.status == 400, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_built_to_be_costly_are_refused_before_anything_is_done() -> Result<()> {
    let scene = Scene::new().await?;
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let list = format!("[{}0]", "0,".repeat(2_000_000));
    let keys: String = (0..300_000).map(|index| format!("\"{index}\":0,")).collect();
    for arguments in [
        deep("[", "]"),
        deep("{\"a\":", "}"),
        "[".repeat(4_000_000),
        list,
        format!("{{{keys}\"last\":0}}"),
        format!("{{\"a\":\"{}", "\\u0041".repeat(600_000)),
        format!("[{}]", "[],".repeat(1_000_000)),
    ] {
        for ask in [Ask::call("raw__work", json!("MARK")), Ask::legacy_call("raw__work", &json!("MARK"))] {
            let answer = scene.router.ask(&ask.replaced("\"MARK\"", &arguments)).await?;
            let start = &arguments[..arguments.len().min(40)];
            ensure!(answer.status == 400 && answer.error_code().is_some(), "{start}: {answer:?}");
        }
    }
    // A number that nobody can hold fits no schema.
    let number = format!("{{\"n\":{}}}", "1".repeat(4_000_000));
    let answer = scene.router.ask(&Ask::call("raw__work", json!("MARK")).replaced("\"MARK\"", &number)).await?;
    ensure!(answer.result()?["isError"] == true && answer.text.len() < 1_000, "{answer:?}");
    let too_large = format!("{{\"a\":\"{}\"}}", "x".repeat(5 << 20));
    let answer = scene.router.ask(&Ask::call("raw__work", json!("MARK")).replaced("\"MARK\"", &too_large)).await;
    // Who is refused before all was sent may find the connection closed.
    ensure!(answer.map_or(true, |answer| answer.status == 413));
    ensure!(scene.calls() == 0 && scene.router.records().await?.len() == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stands_twice_is_refused_wherever_and_however_it_is_written() -> Result<()> {
    let scene = Scene::new().await?;
    let meta = "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
                \"io.modelcontextprotocol/clientCapabilities\":{}}";
    let many: String = (0..40).map(|index| format!("\"k{index}\":{index},")).collect();
    for (before, params, arguments) in [
        (r#""id":2,"#, "", ""),
        (r#""\u0069d":2,"#, "", ""),
        (r#""method":"tools/list","#, "", ""),
        (r#""m\u0065thod":"ping","#, "", ""),
        (r#""params":{},"#, "", ""),
        (r#""jsonrpc":"2.0","#, "", ""),
        ("", r#""name":"raw__other","#, ""),
        ("", r#""n\u0061me":"raw__other","#, ""),
        ("", r#""arguments":{},"#, ""),
        ("", r#""_m\u0065ta":{},"#, ""),
        ("", "", r#""a":1,"a":2"#),
        ("", "", r#""a":1,"\u0061":2"#),
        ("", "", r#""a/b":1,"a\/b":2"#),
        ("", "", r#""é":1,"\u00e9":2"#),
        ("", "", r#""😀":1,"\ud83d\ude00":2"#),
        ("", "", r#""":1,"":2"#),
        ("", "", r#""x":[{"y":{"z":1,"z":1}}]"#),
        ("", "", &format!("{many}\"k0\":0")),
        ("", "", &format!("{many}\"k39\":0")),
        ("", "", &format!("{many}\"\\u006b20\":0")),
        ("", "", &format!("{many}\"n\":{{{many}\"k30\":1}}")),
    ] {
        for (modern, ask) in
            [(true, Ask::call("raw__work", json!({}))), (false, Ask::legacy_call("raw__work", &json!({})))]
        {
            let meta = if modern { meta } else { "\"_meta\":{}" };
            let body = format!(
                "{{{before}\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\
                 \"params\":{{{params}\"name\":\"raw__work\",{meta},\"arguments\":{{{arguments}}}}}}}"
            );
            let answer = scene.router.ask(&ask.body(&*body)).await?;
            ensure!(answer.status == 400 && answer.error_code() == Some(-32600), "{body}: {answer:?}");
        }
    }
    // What only looks alike is another member.
    for arguments in [r#""a":1,"A":2"#, "\"\u{e9}\":1,\"e\u{301}\":2", r#""a":{"a":1},"b":{"a":1}"#, r#""a":1,"a ":2"#]
    {
        let ask = Ask::legacy_call("raw__work", &json!("MARK")).replaced("\"MARK\"", &format!("{{{arguments}}}"));
        let answer = scene.router.ask(&ask).await?;
        ensure!(answer.result()?["content"] == json!([]), "{arguments}: {answer:?}");
    }
    ensure!(scene.calls() == 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused_with_the_code_that_fits() -> Result<()> {
    let scene = Scene::new().await?;
    for (body, code) in [
        ("", -32700),
        (" ", -32700),
        ("{", -32700),
        ("nonsense", -32700),
        ("{} {}", -32700),
        ("\u{feff}{}", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\0", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",}", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":01,\"method\":\"ping\"}", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":NaN,\"method\":\"ping\"}", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":\"\\ud800\",\"method\":\"ping\"}", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\" /* */}", -32700),
        ("{}", -32600),
        ("null", -32600),
        ("1", -32600),
        ("\"ping\"", -32600),
        ("{\"id\":1,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.1\",\"id\":1,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":2.0,\"id\":1,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":5}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":[]}", -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":null}", -32602),
    ] {
        let answer = scene.router.ask(&Ask::text(body)).await?;
        ensure!(answer.status == 400 && answer.error_code() == Some(code), "{body}: {answer:?}");
    }
    for (params, why) in [(json!({}), "no name"), (json!({ "name": 5 }), "a number"), (json!({ "name": null }), "null")]
    {
        let legacy = scene.router.ask(&Ask::legacy("tools/call", &params)).await?;
        ensure!(legacy.status == 200 && legacy.error_code() == Some(-32602), "{why}: {legacy:?}");
        let modern = scene.router.ask(&Ask::modern("tools/call", params)).await?;
        ensure!(modern.error_code() == Some(-32602), "{why}: {modern:?}");
    }
    let bytes = Ask::text("").wire(&scene.router.authority());
    let head = String::from_utf8(bytes)?.replace("content-length: 0", "content-length: 3\r\nconnection: close");
    let answer = tests::speak(scene.router.running().callers, &[head.as_bytes(), b"\"\xff\""].concat()).await?;
    ensure!(answer.starts_with("HTTP/1.1 400") && answer.contains("-32700"), "{answer}");
    ensure!(scene.calls() == 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_must_be_json_uncompressed_and_its_answer_welcome() -> Result<()> {
    let scene = Scene::new().await?;
    let call = Ask::call("raw__work", json!({}));
    for (ask, status) in [
        (call.clone().without("content-type"), 415),
        (call.clone().with("content-type", "text/plain"), 415),
        (call.clone().with("content-type", "application/json-patch+json"), 415),
        (call.clone().with("content-type", "application/x-www-form-urlencoded"), 415),
        (call.clone().header("content-encoding", "gzip"), 415),
        (call.clone().header("content-encoding", "identity, gzip"), 415),
        (call.clone().header("content-encoding", "identity").header("content-encoding", "br"), 415),
        (call.clone().accept("text/html"), 406),
        (call.clone().accept("application/json;q=0"), 406),
    ] {
        let answer = scene.router.ask(&ask).await?;
        ensure!(answer.status == status, "{ask:?}: {answer:?}");
        ensure!(answer.headers["content-type"] == "application/problem+json", "{answer:?}");
    }
    ensure!(scene.calls() == 0);
    for ask in [
        call.clone().with("content-type", "Application/JSON; charset=utf-8"),
        call.clone().without("accept"),
        call.clone().accept("*/*"),
        call.clone().accept("text/event-stream , application/json;q=0.5"),
        call.header("content-encoding", "identity"),
    ] {
        ensure!(scene.router.ask(&ask).await?.result()?["content"] == json!([]), "{ask:?}");
    }
    Ok(())
}

/// A router in front of a server whose one tool, `raw__work`, takes anything.
struct Scene {
    router: TestRouter,
    server: RawServer,
}

impl Scene {
    async fn new() -> Result<Self> {
        let server = RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
            Some("tools/list") => {
                Some(vec![Action::result(message, r#"{"tools":[{"name":"work","inputSchema":{"type":"object"}}]}"#)])
            }
            Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
            _ => None,
        })
        .await?;
        let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
        Ok(Self { router, server })
    }

    /// How many calls reached the server. All of them came before their answers.
    fn calls(&self) -> usize {
        self.server.received().iter().filter(|message| message.tool().is_some()).count()
    }
}

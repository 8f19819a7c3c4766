//! What passes through stays as it was, byte for byte, in all four pairs of eras.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, open_house};

/// A definition without the value of its name.
const DEFINITION: [&str; 2] = [
    "{ \"zeta\" : {\"vendor\":[1, 2.50, 1e3,-0.0]},\t\"name\":",
    concat!(
        " , \"big\":18446744073709551615,\"huge\":1234567890123456789012345678901234567890,\r\n",
        "\"inputSchema\":{\"type\":\"object\",\"x-vendor\":{\"b\":1,\"a\":2},\"properties\":{\"id\":{\"type\":\"integer\"}}},",
        "\"_meta\":{\"example.com/owner\":\"caf\\u00e9\",\"weird\\/key\":9007199254740993},",
        "\"execution\":{\"taskSupport\":\"optional\"},\"description\":\"\u{e9}\u{1f600} <b> \u{202e}\",\"annotations\":{\"vendor\":null} }"
    ),
];
/// What Weir says of where a result came from.
const PROVENANCE: &str = r#""weir/provenance":{"downstream":"raw","tool":"raw__odd","trust":"untrusted"}"#;
/// The inside of a result.
const RESULT: &str = concat!(
    " \"_meta\" :{\"z\":9007199254740993 , \"a\":-0.0,\"example.com\\/x\":{}},\"vendor\":{\"b\":[ ],\"a\":null},\n",
    "\"content\":[{\"text\":\"\\u0000 \\ud83d\\ude00 \u{e9} resultType weir/limit\",\"type\":\"new-kind\",\"more\":1}] ,",
    "\"structuredContent\":{\"n\":1.10,\"min\":-9223372036854775808,\"max\":18446744073709551615} "
);

#[tokio::test(flavor = "multi_thread")]
async fn definitions_pass_byte_for_byte_but_for_their_name() -> Result<()> {
    for era in [Era::LegacyOnly, Era::ModernOnly] {
        let scene = Scene::new(era).await?;
        let expected = format!("{}\"raw__odd\"{}", DEFINITION[0], DEFINITION[1]);
        let legacy = scene.router.ask(&Ask::legacy("tools/list", &json!({}))).await?;
        ensure!(legacy.text == format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"tools\":[{expected}]}}}}"));
        let modern = scene.router.ask(&Ask::modern("tools/list", json!({}))).await?;
        let (list, rest) = modern.text.split_once("],\"ttlMs\":").with_context(|| modern.text.clone())?;
        ensure!(list == format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"tools\":[{expected}"), "{list}");
        ensure!(!rest.contains("zeta") && modern.result()?["resultType"] == "complete", "{rest}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn results_pass_byte_for_byte_but_for_their_kind_and_whose_they_are() -> Result<()> {
    let told = RESULT.replacen("\"_meta\" :{", &format!("\"_meta\" :{{{PROVENANCE},"), 1);
    // Whether the caller is modern, what the downstream says first in its result, and what the caller gets there.
    for (modern, said, heard) in [
        (false, "", ""),
        (false, "\"resultType\":\"complete\",", ""),
        (true, "", "\"resultType\":\"complete\","),
        (true, "\"resultType\":\"complete\",", "\"resultType\":\"complete\","),
        (true, " \"result\\u0054ype\" : \"complete\" ,", " \"result\\u0054ype\" : \"complete\" ,"),
    ] {
        for era in [Era::LegacyOnly, Era::ModernOnly] {
            let scene = Scene::new(era).await?;
            let arguments = json!({ "say": format!("{{{said}{RESULT}}}") });
            let ask = if modern { Ask::call("raw__odd", arguments) } else { Ask::legacy_call("raw__odd", &arguments) };
            let expected = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{{heard}{told}}}}}");
            for ask in [ask.clone(), ask.clone().accept("application/json").token(1)] {
                let answer = scene.router.ask(&ask).await?;
                ensure!(answer.text == expected, "{era:?}, {said}:\n{}\n{expected}", answer.text);
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_pass_byte_for_byte() -> Result<()> {
    const ERROR: &str =
        "{ \"code\":-32050, \"message\" : \"no \\u00e9\",\"data\":{\"b\":9007199254740993,\"a\":[ ]},\"vendor\":0 }";
    for era in [Era::LegacyOnly, Era::ModernOnly] {
        let scene = Scene::new(era).await?;
        let arguments = json!({ "fail": ERROR });
        for ask in [Ask::call("raw__odd", arguments.clone()), Ask::legacy_call("raw__odd", &arguments)] {
            let answer = scene.router.ask(&ask.id("e")).await?;
            ensure!(answer.text == format!("{{\"jsonrpc\":\"2.0\",\"id\":\"e\",\"error\":{ERROR}}}"), "{answer:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_sends_arrives_byte_for_byte_but_for_name_and_meta() -> Result<()> {
    const ARGUMENTS: &str =
        "{\"id\":9007199254740993 , \"x\" : 1.0,\"d\":1E4,\"s\":\"\\u0041\\/ \u{1f600}\\ud83d\\ude00\", \"e\":{ }}";
    const META: &str = "\"v\" : 1e2,  \"example.com/a\":[ ]";
    const CAPABILITIES: &str = "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
         \"io.modelcontextprotocol/clientCapabilities\":{},\"io.modelcontextprotocol/clientInfo\":{\"name\":\"c\"}";
    for era in [Era::LegacyOnly, Era::ModernOnly] {
        for (modern, more) in [(true, format!("{CAPABILITIES},")), (false, String::new())] {
            let scene = Scene::new(era).await?;
            let params = |name: &str, meta: &str| {
                format!("{{ \"task\":{{ }},\"arguments\" : {ARGUMENTS},\n\"name\" : \"{name}\",\t\"_meta\": {meta} }}")
            };
            let body = |params: &str| {
                format!(
                    "{{\"params\":{params}, \"method\":\"tools/call\" ,\"vendor\":[1],\"id\":1,\"jsonrpc\":\"2.0\"}}"
                )
            };
            let sent = body(&params("raw__odd", &format!("{{{more}{META}}}")));
            let ask = if modern { Ask::call("raw__odd", json!({})) } else { Ask::legacy("tools/call", &json!({})) };
            let answer = scene.router.ask(&ask.body(sent)).await?;
            ensure!(answer.result()?["content"] == json!([]), "{answer:?}");
            let received = scene.server.received();
            let arrived = received.iter().find(|message| message.tool().is_some()).context("no call")?;
            let arrived = arrived.params.as_deref().unwrap_or_default();
            let (before, meta) = arrived.split_once("\"_meta\": ").with_context(|| arrived.to_owned())?;
            ensure!(params("odd", "").starts_with(before), "{before}");
            ensure!(meta.ends_with(&format!(",{META}}} }}")), "{meta}");
            let meta: Value = serde_json::from_str(&meta[..meta.len() - 2])?;
            let info = &meta["io.modelcontextprotocol/clientInfo"]["name"];
            ensure!(if era == Era::ModernOnly { info == "weir" } else { info.is_null() }, "{meta}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_come_back_as_they_were_sent() -> Result<()> {
    let scene = Scene::new(Era::ModernOnly).await?;
    for id in [
        "0",
        "-1",
        "9007199254740993",
        "123456789012345678901234567890",
        "\"0\"",
        "\"\"",
        "\"a \\u0022 \\/ \\ud83d\\ude00 \u{e9}\"",
        "\"\\u0000\"",
    ] {
        for ask in [
            Ask::call("raw__odd", json!({})),
            Ask::legacy_call("raw__odd", &json!({})),
            Ask::call("raw__nobody", json!({})),
            Ask::modern("tools/list", json!({})),
            Ask::modern("no/such", json!({})),
            Ask::legacy("ping", &json!({})),
            Ask::legacy("no/such", &json!({})),
            Ask::legacy("initialize", &json!({ "protocolVersion": "2025-11-25" })),
            Ask::modern("tools/list", json!({})).without("mcp-method"),
            Ask::legacy("tools/list", &json!({})).header("mcp-protocol-version", "2019-01-01"),
        ] {
            let marked = ask.id("MARK");
            let answer = scene.router.ask(&marked.replaced("\"MARK\"", id)).await?;
            ensure!(answer.text.starts_with(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},")), "{id}: {answer:?}");
        }
    }
    for id in ["1.5", "1e3", "null", "true", "[]", "{}"] {
        for ask in [Ask::call("raw__odd", json!({})), Ask::legacy_call("raw__odd", &json!({}))] {
            let answer = scene.router.ask(&ask.id("MARK").replaced("\"MARK\"", id)).await?;
            ensure!(answer.status == 400 && answer.error_code() == Some(-32600), "{id}: {answer:?}");
            ensure!(answer.json()?.get("id").is_none(), "{answer:?}");
        }
    }
    Ok(())
}

/// A router in front of one tool, `odd`, which says or fails as its arguments tell it.
struct Scene {
    router: TestRouter,
    server: RawServer,
}

impl Scene {
    async fn new(era: Era) -> Result<Self> {
        let server = RawServer::start(era, |message: &Incoming| match message.method.as_deref() {
            Some("tools/list") => {
                let definition = format!("{}\"odd\"{}", DEFINITION[0], DEFINITION[1]);
                Some(vec![Action::result(message, &format!("{{\"tools\":[{definition}]}}"))])
            }
            Some("tools/call") => {
                let params: Value = serde_json::from_str(message.params.as_deref()?).ok()?;
                let id = message.id.as_deref().unwrap_or_default();
                Some(vec![match (&params["arguments"]["say"], &params["arguments"]["fail"]) {
                    (Value::String(result), _) => Action::result(message, result),
                    (_, Value::String(error)) => {
                        Action::Send(format!("{{\"id\":{id},\"error\":{error},\"jsonrpc\":\"2.0\"}}"))
                    }
                    _ => Action::result(message, "{\"content\":[]}"),
                }])
            }
            _ => None,
        })
        .await?;
        let router = TestRouter::ready(&open_house(&[("raw", &server.url)]).to_string()).await?;
        Ok(Self { router, server })
    }
}

//! Long answers, as callers get them: the beginning, and the rest part by part.

mod kinds;
mod rights;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tempfile::TempDir;
use tests::{Ask, TestRouter};

/// Weir's own tool.
const NEXT_PAGE: &str = "weir__next_page";
/// The budget of the tools that have one.
const CHARACTERS_MAX: usize = 2000;
/// What all replicas derive their keys from.
const MASTER: &str = "5f0c2a9d7be14863a1d09e47c3b85f6290e4d1ab77c86f35";

/// A server with long answers, a router in front of it, and the keys of its callers.
struct Scene {
    server: RawServer,
    router: TestRouter,
    /// `ann` and `bob` may use everything, `cleo` what gives short answers alone; the last key is of `ann` with another role too.
    keys: Vec<String>,
    calls: Arc<AtomicUsize>,
}

/// How a caller speaks.
#[derive(Debug, Clone, Copy)]
enum Surface {
    Modern,
    Legacy,
    Plain,
}

impl Surface {
    const ALL: [Self; 3] = [Self::Modern, Self::Legacy, Self::Plain];

    /// The result of a call.
    async fn call(self, router: &TestRouter, key: Option<&str>, tool: &str, arguments: Value) -> Result<Value> {
        let answer = match self {
            Self::Modern => return router.call(key, tool, arguments).await?.result(),
            Self::Legacy => {
                let ask = Ask::legacy_call(tool, &arguments);
                return router.ask(&if let Some(key) = key { ask.key(key) } else { ask }).await?.result();
            }
            Self::Plain => {
                let authorization = key.map(|key| format!("Bearer {key}"));
                let mut headers = vec![("content-type", "application/json")];
                headers.extend(authorization.iter().map(|value| ("authorization", value.as_str())));
                let body = json!({ "name": tool, "arguments": arguments }).to_string();
                router.send(Method::POST, "/v1/tools/call", &headers, body).await?
            }
        };
        Ok(answer.json()?["result"].clone())
    }

    /// All parts of an answer, the first one first.
    async fn all(self, router: &TestRouter, key: Option<&str>, tool: &str, arguments: Value) -> Result<Vec<Value>> {
        let mut parts = vec![self.call(router, key, tool, arguments).await?];
        while let Some(handle) = next(parts.last().context("a part")?) {
            parts.push(self.call(router, key, NEXT_PAGE, json!({ "handle": handle })).await?);
        }
        Ok(parts)
    }
}

impl Scene {
    async fn new() -> Result<Self> {
        let calls = Arc::new(AtomicUsize::new(0));
        let server = server(calls.clone()).await?;
        let dir = tempfile::tempdir()?;
        let holders: [(&str, &[&str]); 4] =
            [("ann", &["all"]), ("bob", &["all"]), ("cleo", &["short"]), ("ann", &["all", "short"])];
        let keys = tests::keys(dir.path(), &holders)?;
        let router = TestRouter::ready_in(dir, &config(&server).to_string()).await?;
        Ok(Self { server, router, keys, calls })
    }

    fn key(&self, index: usize) -> Option<&str> {
        self.keys.get(index).map(String::as_str)
    }
}

/// The handle of the next part.
fn next(part: &Value) -> Option<String> {
    part["_meta"]["weir/truncated"]["next"].as_str().map(str::to_owned)
}

/// The texts of a part; the last one is Weir's own word where there are several parts.
fn texts(part: &Value) -> Vec<&str> {
    part["content"].as_array().into_iter().flatten().filter_map(|item| item["text"].as_str()).collect()
}

/// What a model reads of a part is never more than it may be.
fn fits(part: &Value) -> bool {
    let text: usize = texts(part).iter().map(|text| text.chars().count()).sum();
    let structured = part.get("structuredContent").map_or(0, |json| json.to_string().chars().count());
    text.max(structured) <= CHARACTERS_MAX
}

fn log_text() -> String {
    (0..300).map(|n| format!("line {n}: \"Grüße\" aus 世界 🦀\n")).collect()
}

fn items() -> Vec<Value> {
    (0..300).map(|n| json!({ "n": n, "name": format!("item «{n}»") })).collect()
}

/// A server whose tools give long answers of each form. Counts the calls.
async fn server(calls: Arc<AtomicUsize>) -> Result<RawServer> {
    let open = json!({ "type": "object" });
    let closed = json!({ "type": "object", "properties": { "items": {} }, "additionalProperties": false });
    let story = json!({ "type": "object", "required": ["story"], "properties": { "story": { "type": "string" } } });
    let tools = json!([
        { "name": "log", "inputSchema": {} }, { "name": "short", "inputSchema": {} }, { "name": "failed", "inputSchema": {} },
        { "name": "open", "inputSchema": {}, "outputSchema": open },
        { "name": "closed", "inputSchema": {}, "outputSchema": closed },
        { "name": "story", "inputSchema": {}, "outputSchema": story },
    ]);
    RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            Some(vec![Action::result(message, &json!({ "tools": tools, "ttlMs": 30_000 }).to_string())])
        }
        Some("tools/call") => {
            calls.fetch_add(1, Ordering::Relaxed);
            let text = |text: &str| json!([{ "type": "text", "text": text }]);
            let structured = |json: Value| json!({ "content": text(&json.to_string()), "structuredContent": json });
            let result = match message.tool()?.as_str() {
                "log" => json!({ "content": text(&log_text()), "_meta": { "theirs": 1 } }),
                "failed" => json!({ "content": text(&log_text()), "isError": true }),
                "open" | "closed" => structured(json!({ "items": items() })),
                "story" => structured(json!({ "id": 9_007_199_254_740_993_u64, "story": "Once. ".repeat(1000) })),
                _ => json!({ "content": text("short") }),
            };
            Some(vec![Action::result(message, &result.to_string())])
        }
        _ => None,
    })
    .await
}

/// The config of a router in front of it; keys are in `keys.yaml`.
fn config(server: &RawServer) -> Value {
    let budget = json!({ "answer_characters_max": CHARACTERS_MAX });
    let cached = json!({ "answer_characters_max": CHARACTERS_MAX, "cache": { "fresh_for": "10m" } });
    let mut config = tests::open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["policy"]["roles"]["short"] = json!({ "allow": ["raw__short"] });
    config["downstreams"]["raw"]["tools"] =
        json!({ "log": budget, "failed": budget, "open": cached, "closed": budget, "story": budget, "short": {} });
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn all_parts_together_are_the_answer_on_every_surface() -> Result<()> {
    let scene = Scene::new().await?;
    for surface in Surface::ALL {
        let parts = surface.all(&scene.router, scene.key(0), "raw__log", json!({})).await?;
        ensure!(parts.len() > 3 && parts.iter().all(fits), "{surface:?}: {} parts", parts.len());
        let mut whole = String::new();
        for part in &parts {
            let said = texts(part);
            let (own, theirs) = said.split_last().context("texts")?;
            ensure!(own.contains("part of a long answer") && theirs.iter().all(|text| text.ends_with('\n')), "{part}");
            ensure!(next(part).is_none_or(|handle| own.contains(&handle) && own.contains(NEXT_PAGE)), "{own}");
            ensure!(part.get("resultType").is_some() == matches!(surface, Surface::Modern), "{part}");
            whole.push_str(&theirs.concat());
        }
        ensure!(whole == log_text(), "{surface:?}");
        ensure!(parts[0]["_meta"]["theirs"] == 1, "{}", parts[0]);
        for tool in ["raw__open", "raw__closed"] {
            let parts = surface.all(&scene.router, scene.key(0), tool, json!({})).await?;
            ensure!(parts.len() > 3 && parts.iter().all(fits), "{surface:?}: {} parts", parts.len());
            let mut all = Vec::new();
            for part in &parts {
                let repeated: Value = serde_json::from_str(texts(part)[0])?;
                ensure!(repeated == part["structuredContent"], "{part}");
                let truncated = part["structuredContent"]["truncated"] == true;
                ensure!(truncated == (tool == "raw__open" && next(part).is_some()), "{part}");
                all.extend(part["structuredContent"]["items"].as_array().cloned().unwrap_or_default());
            }
            ensure!(all == items(), "{surface:?} {tool}");
        }
        let parts = surface.all(&scene.router, scene.key(0), "raw__failed", json!({})).await?;
        ensure!(parts.len() > 3 && parts.iter().all(|part| part["isError"] == true), "a part of an error is one");
        let parts = surface.all(&scene.router, scene.key(0), "raw__story", json!({})).await?;
        let short = parts[0]["structuredContent"]["story"].as_str().context("the schema is kept")?;
        ensure!(parts.len() > 3 && parts.iter().all(fits) && short.starts_with("Once. "), "{}", parts[0]);
        let whole = surface.call(&scene.router, scene.key(0), "raw__short", json!({})).await?;
        ensure!(whole["content"] == json!([{ "type": "text", "text": "short" }]), "{whole}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_holds_answers_whole() -> Result<()> {
    let scene = Scene::new().await?;
    for _ in 0..3 {
        let parts = Surface::Modern.all(&scene.router, scene.key(0), "raw__open", json!({})).await?;
        let count = |part: &Value| part["structuredContent"]["items"].as_array().map_or(0, Vec::len);
        ensure!(parts.len() > 3 && parts.iter().map(count).sum::<usize>() == items().len());
    }
    ensure!(scene.calls.load(Ordering::Relaxed) == 1, "asked {:?} times", scene.calls);
    let again = scene.router.call(scene.key(0), "raw__open", json!({})).await?.result()?;
    let meta = again["_meta"].as_object().context("_meta")?;
    ensure!(meta.contains_key("weir/cache") && meta.contains_key("weir/truncated"), "{again}");
    drop(scene.server);
    Ok(())
}

/// A folder with what several replicas need to share one Redis.
fn shared_dir(redis_url: &str) -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    tests::private_file(dir.path().join("redis_url"), redis_url)?;
    tests::private_file(dir.path().join("master"), MASTER)?;
    Ok(dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_to_many_callers_at_once_all_come() -> Result<()> {
    let text = "a line of a large answer\n".repeat(20_000);
    let large = json!({ "content": [{ "type": "text", "text": text }] }).to_string();
    let server = RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let tools = json!([{ "name": "large", "inputSchema": {} }]);
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(vec![Action::result(message, &large)]),
        _ => None,
    })
    .await?;
    let mut config = tests::open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"]["tools"] = json!({ "large": { "answer_characters_max": 100_000 } });
    let router = TestRouter::ready(&config.to_string()).await?;
    let calls = (0..12).map(|number| {
        let (router, surface) = (&router, Surface::ALL[number % 3]);
        async move { surface.all(router, None, "raw__large", json!({ "n": number })).await }
    });
    for parts in futures_util::future::try_join_all(calls).await? {
        let said: String = parts.iter().map(|part| texts(part)[0]).collect();
        ensure!(said == text && parts.len() == 6, "{} characters in {} parts", said.len(), parts.len());
    }
    Ok(())
}

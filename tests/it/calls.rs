//! One call: what its caller hears while it runs, what is refused before it runs, and when its time is over.

mod crowd;
mod leaving;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Running, Tools},
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, TestRouter, events, open_house};
use tokio::sync::Notify;

const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

#[tokio::test(flavor = "multi_thread")]
async fn all_progress_travels_in_order_before_the_answer_and_under_the_callers_own_token() -> Result<()> {
    const STEPS: u32 = 80;
    for era in [Era::ModernOnly, Era::LegacyOnly] {
        let scene = Scene::new(era, |_| {}).await?;
        let session = scene.router.session(None, "2025-06-18").await?;
        let params = json!({ "name": "pay__progress", "arguments": { "steps": STEPS } });
        for token in [json!("my \"töken\"\n"), json!(0), json!(9_007_199_254_740_993_u64)] {
            let legacy = Ask::legacy("tools/call", &params);
            for ask in [Ask::modern("tools/call", params.clone()), legacy.clone(), legacy.session(&session)] {
                let answer = scene.router.ask(&ask.id("the id").token(token.clone())).await?;
                ensure!(answer.headers["content-type"] == "text/event-stream", "{answer:?}");
                ensure!(answer.headers["x-accel-buffering"] == "no" && answer.headers["cache-control"] == "no-cache");
                let mut messages = events(&answer.text)?;
                let last = messages.pop().context("no answer")?;
                ensure!(last["id"] == "the id" && last["result"]["structuredContent"]["steps"] == STEPS, "{last}");
                let told: Vec<_> = messages.iter().map(|message| message["params"]["progress"].as_f64()).collect();
                ensure!(told == (1..=STEPS).map(|step| Some(f64::from(step))).collect::<Vec<_>>(), "{told:?}");
                let other = messages.iter().find(|message| message["params"]["progressToken"] != token);
                ensure!(other.is_none(), "{token} became {other:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_json_where_nobody_asked_for_progress_or_can_read_a_stream() -> Result<()> {
    let scene = Scene::new(Era::Both, |_| {}).await?;
    let session = scene.router.session(None, "2025-11-25").await?;
    let params = json!({ "name": "pay__progress", "arguments": { "steps": 3 } });
    let (modern, legacy) = (Ask::modern("tools/call", params.clone()), Ask::legacy("tools/call", &params));
    for ask in [
        modern.clone(),
        legacy.clone().session(&session),
        modern.clone().token("t").accept("application/json"),
        modern.clone().token("t").accept("application/json, text/event-stream;q=0"),
        legacy.session(&session).token(1).accept("application/*"),
    ] {
        let answer = scene.router.ask(&ask).await?;
        ensure!(answer.headers["content-type"] == "application/json", "{ask:?}: {answer:?}");
        ensure!(answer.result()?["structuredContent"]["steps"] == 3, "{answer:?}");
    }
    let only_events = scene.router.ask(&modern.token("t").accept("text/event-stream")).await?;
    ensure!(events(&only_events.text)?.len() == 4, "{only_events:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_do_not_fit_are_told_with_their_place_and_never_sent() -> Result<()> {
    let scene = Scene::new(Era::Both, |_| {}).await?;
    let misfits = [
        (json!({ "merchant_id": 5 }), "arguments/merchant_id"),
        (json!({}), "merchant_id"),
        (json!({ "merchant_id": null }), "arguments/merchant_id"),
        (json!({ "merchant_id": ["M-0001"] }), "arguments/merchant_id"),
    ];
    for (arguments, place) in misfits {
        let told = |result: &Value| {
            let text = result["content"][0]["text"].as_str().unwrap_or_default();
            result["isError"] == true && text.contains(place) && text.contains("pay__get_merchant")
        };
        let modern = scene.router.ask(&Ask::call("pay__get_merchant", arguments.clone())).await?;
        ensure!(told(&modern.result()?) && modern.result()?["resultType"] == "complete", "{modern:?}");
        for version in VERSIONS {
            let session = scene.router.session(None, version).await?;
            let ask = Ask::legacy_call("pay__get_merchant", &arguments).session(&session);
            let answer = scene.router.ask(&ask).await?;
            if version == "2025-11-25" {
                ensure!(told(&answer.result()?), "{version}: {answer:?}");
            } else {
                ensure!(answer.status == 200 && answer.error_code() == Some(-32602), "{version}: {answer:?}");
                ensure!(answer.text.contains(place), "{version}: {answer:?}");
            }
        }
    }
    for arguments in [json!([]), json!("x"), json!(null), json!(1)] {
        let answer = scene.router.ask(&Ask::call("pay__get_merchant", arguments)).await?;
        ensure!(answer.error_code() == Some(-32602), "{answer:?}");
    }
    ensure!(scene.server.seen().calls.is_empty(), "{:?}", scene.server.seen());
    let records = scene.router.records().await?;
    ensure!(records.iter().all(|record| record["outcome"] == "invalid_arguments"), "{records:?}");
    ensure!(records.len() == misfits_told(), "{records:?}");
    Ok(())
}

/// Four misfits, each in the modern era and in four revisions of the legacy one.
fn misfits_told() -> usize {
    4 * (1 + VERSIONS.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_too_many_is_refused_at_once_and_says_which_limit_it_met() -> Result<()> {
    type Limit = fn(&mut Value);
    let without_a_line = |config: &mut Value| {
        config["downstreams"]["raw"]["calls_max"] = json!(2);
        config["downstreams"]["raw"]["line"] = json!({ "max": 0 });
    };
    let limits: [(Limit, &str, &str); 2] = [
        (|config| config["server"]["calls_max"] = json!(2), "Weir", "overloaded"),
        (without_a_line, "raw", "queue_full"),
    ];
    for (limit, name, outcome) in limits {
        let scene = Held::new(Era::ModernOnly, limit).await?;
        let ask = Ask::call("raw__work", json!({}));
        let held = [scene.router.knock(&ask).await?, scene.router.knock(&ask).await?];
        scene.until_called(2).await?;
        let session = scene.router.session(None, "2025-11-25").await?;
        for refused in [ask.clone(), Ask::legacy_call("raw__work", &json!({})).session(&session)] {
            let answer = scene.router.ask(&refused).await?;
            let result = answer.result()?;
            ensure!(answer.status == 200 && result["isError"] == true, "{answer:?}");
            ensure!(result["_meta"]["weir/limit"]["name"] == name, "{answer:?}");
            ensure!(result["_meta"]["weir/limit"]["retry_after_ms"].as_u64() > Some(0), "{answer:?}");
            ensure!(result["content"][0]["text"].as_str().is_some_and(|text| text.contains("Nothing was sent")));
        }
        ensure!(scene.router.ask(&Ask::modern("tools/list", json!({}))).await?.status == 200);
        scene.release(0..CALLS_MAX);
        // What was given back can be taken again.
        tests::until("a slot is free", async || {
            Ok((scene.router.ask(&ask).await?.result()?["isError"] != true).then_some(()))
        })
        .await?;
        drop(held);
        let records = scene.router.records().await?;
        ensure!(records.iter().filter(|record| record["outcome"] == outcome).count() >= 2, "{records:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_a_tool_is_told_to_the_downstream_kept_and_explained() -> Result<()> {
    let scene = Held::new(Era::ModernOnly, |config| {
        config["downstreams"]["raw"]["deadline"] = json!("10m");
        config["downstreams"]["raw"]["tools"] = json!({ "work": { "deadline": "150ms" } });
    })
    .await?;
    let answer = scene.router.ask(&Ask::call("raw__work", json!({}))).await?;
    let text = answer.result()?["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    ensure!(answer.result()?["isError"] == true && text.contains("raw__work") && text.contains(" ms"), "{answer:?}");
    let received = scene.server.received();
    let call = received.iter().find(|message| message.tool().is_some()).context("no call")?;
    let params: Value = serde_json::from_str(call.params.as_deref().unwrap_or_default())?;
    let left = params["_meta"]["weir/deadline_ms"].as_u64().context("no deadline")?;
    ensure!((1..=150).contains(&left), "{params}");
    scene.until_cancelled(call.id.as_deref().context("an id")?).await?;
    let records = scene.router.records().await?;
    ensure!(records.len() == 1 && records[0]["outcome"] == "timeout", "{records:?}");
    Ok(())
}

/// A router in front of the awkward tools of the enrichment server, which is called `pay`.
struct Scene {
    router: TestRouter,
    server: McpServer,
    _running: Running,
}

impl Scene {
    async fn new(era: Era, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.websocket("127.0.0.1:0").await?;
        let mut config = open_house(&[("pay", &running.url)]);
        change(&mut config);
        let router = TestRouter::ready(&config.to_string()).await?;
        Ok(Self { router, server, _running: running })
    }
}

/// A router in front of a server whose one tool, `raw__work`, answers when it is let.
struct Held {
    router: TestRouter,
    server: RawServer,
    /// One for each call, in the order in which they come.
    gates: Vec<Arc<Notify>>,
}

const CALLS_MAX: usize = 64;

impl Held {
    async fn new(era: Era, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let gates: Vec<Arc<Notify>> = (0..CALLS_MAX).map(|_| Arc::default()).collect();
        let server = RawServer::start(era, {
            let (gates, next) = (gates.clone(), AtomicUsize::new(0));
            move |message: &Incoming| match message.method.as_deref() {
                Some("tools/list") => Some(vec![one_tool(message, "work")]),
                Some("tools/call") => {
                    let answer = Action::result(message, r#"{"content":[{"type":"text","text":"done"}]}"#);
                    Some(vec![Action::Wait(gates.get(next.fetch_add(1, Ordering::Relaxed))?.clone()), answer])
                }
                _ => None,
            }
        })
        .await?;
        let mut config = open_house(&[("raw", &server.url)]);
        change(&mut config);
        let router = TestRouter::ready(&config.to_string()).await?;
        Ok(Self { router, server, gates })
    }

    /// Lets these calls be answered, counted from 0, also before they come.
    fn release(&self, which: Range<usize>) {
        self.gates[which].iter().for_each(|gate| gate.notify_one());
    }

    /// Waits until so many calls have come in all.
    async fn until_called(&self, count: usize) -> Result<()> {
        self.server.wait_until(|all| calls(all) == count).await
    }

    /// Waits until the call with this id was taken back.
    async fn until_cancelled(&self, id: &str) -> Result<()> {
        self.server.wait_until(|all| cancellations(all) == [id]).await
    }

    /// Waits until there are so many audit records; the newest one must say this.
    async fn until_recorded(&self, count: usize, outcome: &str) -> Result<Value> {
        let records = tests::until("there are records", async || {
            let records = self.router.records().await?;
            Ok((records.len() >= count).then_some(records))
        })
        .await?;
        ensure!(records.len() == count && records[0]["outcome"] == outcome, "{records:?}");
        Ok(records[0].clone())
    }
}

fn calls(all: &[Incoming]) -> usize {
    all.iter().filter(|message| message.tool().is_some()).count()
}

/// The ids of the calls that were taken back.
fn cancellations(all: &[Incoming]) -> Vec<String> {
    let cancelled = all.iter().filter(|message| message.method.as_deref() == Some("notifications/cancelled"));
    let id = |message: &Incoming| serde_json::from_str::<Value>(message.params.as_deref()?).ok();
    cancelled.filter_map(id).map(|params| params["requestId"].to_string()).collect()
}

/// A list of one tool that takes anything.
fn one_tool(message: &Incoming, name: &str) -> Action {
    Action::result(message, &json!({ "tools": [{ "name": name, "inputSchema": { "type": "object" } }] }).to_string())
}

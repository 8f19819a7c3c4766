//! The line before a downstream, and the places and permits that it leads to.
//!
//! Every test has a count that shows that the downstream was as busy as it may be; without that it fails, for it would prove nothing.

mod overload;
mod replicas;
mod stalled;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Ask, Events, TestRouter, events, hang_up, open_house, until};
use tokio::sync::Notify;

const TOOL: &str = "host__work";
const CALLS_MAX: usize = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_floods_a_downstream_does_not_hold_up_another_one() -> Result<()> {
    const FLOOD: usize = 500;
    const LINE: usize = 400;
    const ROUNDS: usize = 5;
    let scene = Arc::new(Scene::new(json!({ "calls_max": 1, "line": { "max": LINE } })).await?);
    let flood: Vec<_> = (0..FLOOD)
        .map(|number| {
            let scene = scene.clone();
            // Several callers of one team.
            tokio::spawn(async move { scene.ask(["a1", "a2", "a3"][number % 3]).await })
        })
        .collect();
    scene.until_called(1).await?;
    // All that may wait do, and the others were told so at once.
    scene.until_waiting(LINE).await?;
    scene.until_refused(FLOOD - LINE - 1).await?;

    for round in 0..ROUNDS {
        let before = scene.served().len();
        let asking = tokio::spawn({
            let scene = scene.clone();
            async move { scene.ask("b").await }
        });
        // In the full line one of the flood has gone for it.
        scene.until_refused(FLOOD - LINE).await?;
        scene.until_waiting(LINE - 2 * round).await?;
        // What runs ends, and one turn of the flood.
        scene.release(2);
        scene.until_called(before + 2).await?;
        ensure!(scene.served()[before + 1] == "b", "round {round}: {:?}", &scene.served()[before..]);
        scene.release(1);
        let answer = asking.await??;
        ensure!(answer["isError"] != true, "{answer}");
        scene.until_called(before + 3).await?;
    }

    scene.release(CALLS_MAX);
    let mut refused = Vec::new();
    for call in flood {
        let answer = call.await??;
        if answer["isError"] == true {
            refused.push(answer);
        }
    }
    ensure!(refused.len() == FLOOD - LINE, "{}", refused.len());
    for answer in refused {
        let text = answer["content"][0]["text"].as_str().context("a text")?;
        ensure!(text.contains(" calls of yours wait for host already, and this one could not start in time"), "{text}");
        let limit = &answer["_meta"]["weir/limit"];
        ensure!(limit["name"] == "host" && limit["retry_after_ms"].as_u64() >= Some(1000), "{answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_and_gave_a_token_hears_its_position_and_progress_never_falls() -> Result<()> {
    let scene = Arc::new(Scene::new(json!({ "calls_max": 1 })).await?);
    let first = scene.knock("a1").await?;
    scene.until_called(1).await?;
    let others = [scene.knock("a2").await?, scene.knock("a3").await?];
    scene.until_waiting(2).await?;
    let ask = Ask::call(TOOL, json!({ "tells": true })).key(scene.key("a1")).token("mine");
    let mut told = Events::of(scene.router.begin(&ask).await?)?;
    let message = told.next().await?.context("a message")?;
    ensure!(message["params"]["progressToken"] == "mine", "{message}");
    let text = message["params"]["message"].as_str().context("a text")?;
    ensure!(text.starts_with("Waiting for host: 2 calls are before this one"), "{message}");
    let mut progress = vec![message["params"]["progress"].as_f64()];

    // The turn of one goes by, and the position is another one.
    scene.release(1);
    scene.until_called(2).await?;
    let message = told.next().await?.context("a message")?;
    let text = message["params"]["message"].as_str().context("a text")?;
    ensure!(text.starts_with("Waiting for host: 1 call is before this one"), "{message}");
    progress.push(message["params"]["progress"].as_f64());
    scene.release(CALLS_MAX);
    let mut said = Vec::new();
    let answer = loop {
        let message = told.next().await?.context("no answer")?;
        if message["method"] != "notifications/progress" {
            break message;
        }
        progress.push(message["params"]["progress"].as_f64());
        said.push(message["params"]["message"].clone());
    };
    ensure!(answer["result"]["isError"] != true, "{answer}");
    ensure!(progress.iter().all(Option::is_some) && progress.is_sorted_by(|a, b| a < b), "{progress:?}");
    // What the downstream says first of all is 0, and that would be less than what was told before.
    ensure!(said.ends_with(&[json!("half"), json!("all")]), "{said:?}");
    ensure!(!said.contains(&json!("nothing")), "{said:?}");

    // Who does not wait hears all that the downstream says.
    let answer = scene.router.ask(&ask).await?;
    let said: Vec<_> = events(&answer.text)?.iter().map(|message| message["params"]["message"].clone()).collect();
    ensure!(said[..3] == [json!("nothing"), json!("half"), json!("all")], "{said:?}");
    drop((first, others));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_up_or_runs_out_of_time_leaves_the_line() -> Result<()> {
    let scene = Scene::new(json!({ "calls_max": 1, "tools": { "soon": { "deadline": "100ms" } } })).await?;
    let first = scene.knock("a1").await?;
    scene.until_called(1).await?;
    let gives_up = scene.knock("b").await?;
    scene.until_waiting(1).await?;
    hang_up(gives_up).await?;
    scene.until_waiting(0).await?;
    let late = scene.router.ask(&Ask::call("host__soon", json!({})).key(scene.key("b"))).await?.result()?;
    let text = late["content"][0]["text"].as_str().context("a text")?;
    ensure!(text.starts_with("host__soon was not called: host is as busy as it may be"), "{text}");
    // What was refused for want of a place is 503 for programs.
    let authorization = format!("Bearer {}", scene.key("b"));
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let body = r#"{"name":"host__soon","arguments":{}}"#;
    let plain = scene.router.send(http::Method::POST, "/v1/tools/call", &headers, body).await?;
    ensure!(plain.status == 503 && plain.headers["retry-after"] == "1", "{plain:?}");
    scene.until_waiting(0).await?;
    scene.release(1);
    let records = until("all have ended", async || {
        let records = scene.router.records().await?;
        Ok((records.len() == 4).then_some(records))
    })
    .await?;
    let told: Vec<_> = records
        .iter()
        .map(|record| (record["outcome"].as_str().unwrap_or_default(), !record["queued_ms"].is_null()))
        .collect();
    ensure!(told == [("ok", false), ("queue_full", true), ("queue_full", true), ("abandoned", true)], "{told:?}");
    ensure!(records[1]["queued_ms"].as_u64() >= Some(100), "{}", records[1]);
    ensure!(scene.served() == ["a1"], "{:?}", scene.served());
    drop(first);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_sees_places_and_the_line() -> Result<()> {
    let scene = Scene::new(json!({ "calls_max": 2 })).await?;
    let mut calls = vec![scene.knock("a1").await?, scene.knock("a2").await?];
    scene.until_called(2).await?;
    for caller in ["a1", "a2", "b"] {
        calls.push(scene.knock(caller).await?);
    }
    scene.until_waiting(3).await?;
    for (tenant, ahead, of_the_same) in [("a", 3, 2), ("c", 2, 0)] {
        let asked = json!({ "tool": TOOL, "as": { "subject": "new", "tenant": tenant } });
        let line = scene.router.admin_post("/admin/explain", asked).await?.json()?["line"].take();
        let told =
            [&line["places"], &line["taken"], &line["waiting"], &line["ahead"], &line["ahead_of_the_same_party"]];
        ensure!(told == [2, 2, 3, ahead, of_the_same].map(|number| json!(number)).each_ref(), "{line}");
    }
    let metrics = scene.router.admin("/metrics").await?.text;
    for line in ["weir_places{downstream=\"host\"} ", "weir_places_taken{downstream=\"host\"} ", "weir_calls_running "]
    {
        ensure!(metrics.contains(line), "{line} is not in {metrics}");
    }
    scene.release(CALLS_MAX);
    drop(calls);
    Ok(())
}

/// A router in front of a server, `host`, whose one tool `work` answers when it is let; and callers of two teams.
struct Scene {
    router: TestRouter,
    server: RawServer,
    released: Arc<Released>,
    keys: Vec<String>,
}

/// How many calls may be answered, in the order in which they came.
#[derive(Default)]
struct Released {
    gates: Vec<Arc<Notify>>,
    released: AtomicUsize,
}

const CALLERS: [(&str, &str); 4] = [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b", "b")];

impl Scene {
    async fn new(downstream: Value) -> Result<Self> {
        let gates: Vec<Arc<Notify>> = (0..CALLS_MAX).map(|_| Arc::default()).collect();
        let released = Arc::new(Released { gates, released: AtomicUsize::new(0) });
        let server = RawServer::start(Era::ModernOnly, {
            let (released, next) = (released.clone(), AtomicUsize::new(0));
            move |message: &Incoming| match message.method.as_deref() {
                Some("tools/list") => {
                    let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
                    Some(vec![Action::result(message, &json!({ "tools": [tool("work"), tool("soon")] }).to_string())])
                }
                Some("tools/call") => {
                    let mut actions =
                        vec![Action::Wait(released.gates.get(next.fetch_add(1, Ordering::Relaxed))?.clone())];
                    actions.extend(progress(message));
                    actions.push(Action::result(message, r#"{"content":[{"type":"text","text":"done"}]}"#));
                    Some(actions)
                }
                _ => None,
            }
        })
        .await?;
        let dir = tempfile::tempdir()?;
        let (mut keys, mut records) = (Vec::new(), Vec::new());
        for (subject, tenant) in CALLERS {
            let made = router::auth::new_key();
            records.push(
                json!({ "id": made.id, "hash": made.hash, "subject": subject, "tenant": tenant, "roles": ["all"] }),
            );
            keys.push(secrecy::ExposeSecret::expose_secret(&made.key).to_owned());
        }
        tests::ask::write_keys(dir.path(), &records)?;
        let mut config = open_house(&[("host", &server.url)]);
        // Nobody is told that it waits in vain, however long a test takes.
        config["deadlines"] = json!({ "default": "5h", "max": "5h" });
        config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
        for (name, value) in downstream.as_object().context("an object")? {
            config["downstreams"]["host"][name] = value.clone();
        }
        let router = TestRouter::ready_in(dir, &config.to_string()).await?;
        Ok(Self { router, server, released, keys })
    }

    fn key(&self, caller: &str) -> &str {
        let at = CALLERS.iter().position(|(name, _)| *name == caller).expect("one of the callers");
        &self.keys[at]
    }

    fn call(&self, caller: &str) -> Ask {
        Ask::call(TOOL, json!({ "by": caller })).key(self.key(caller))
    }

    async fn ask(&self, caller: &str) -> Result<Value> {
        self.router.ask(&self.call(caller)).await?.result()
    }

    async fn knock(&self, caller: &str) -> Result<tokio::net::TcpStream> {
        self.router.knock(&self.call(caller)).await
    }

    /// Lets so many more calls be answered.
    fn release(&self, count: usize) {
        let from = self.released.released.fetch_add(count, Ordering::Relaxed);
        self.released.gates.iter().skip(from).take(count).for_each(|gate| gate.notify_one());
    }

    /// Who was served, in the order in which the downstream was asked.
    fn served(&self) -> Vec<String> {
        let by = |message: &Incoming| {
            message.tool()?;
            let params: Value = serde_json::from_str(message.params.as_deref()?).ok()?;
            Some(params["arguments"]["by"].as_str()?.chars().take_while(char::is_ascii_alphanumeric).collect())
        };
        self.server.received().iter().filter_map(by).collect()
    }

    async fn until_called(&self, count: usize) -> Result<()> {
        self.server.wait_until(|all| all.iter().filter(|message| message.tool().is_some()).count() == count).await
    }

    async fn until_waiting(&self, count: usize) -> Result<()> {
        until("so many wait", async || {
            let asked = json!({ "tool": TOOL });
            let line = self.router.admin_post("/admin/explain", asked).await?.json()?["line"].take();
            Ok((line["waiting"] == count).then_some(()))
        })
        .await
        .with_context(|| format!("{count}"))
    }

    async fn until_refused(&self, count: usize) -> Result<()> {
        until("so many are refused", async || {
            let records = self.router.records().await?;
            Ok((records.iter().filter(|record| record["outcome"] == "queue_full").count() == count).then_some(()))
        })
        .await
        .with_context(|| format!("{count}"))
    }
}

/// What the downstream tells of a call that wants it.
fn progress(message: &Incoming) -> Vec<Action> {
    let params: Value =
        message.params.as_deref().and_then(|params| serde_json::from_str(params).ok()).unwrap_or_default();
    if params["arguments"]["tells"] != true {
        return Vec::new();
    }
    let tell = |(progress, said): (f64, &str)| {
        let params = json!({ "progressToken": params["_meta"]["progressToken"], "progress": progress, "total": 1, "message": said });
        Action::Send(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }).to_string())
    };
    [(0.0, "nothing"), (0.5, "half"), (1.0, "all")].into_iter().map(tell).collect()
}

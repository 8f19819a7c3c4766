//! What is done when a downstream fails: attempts, breaker, rests, calendar, and what is told of them.

mod closed;
mod credentials;
mod database;
mod deadlines;
mod repeats;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{TestRouter, until};

use crate::mainframe::listener::{self, Heard, Listener, Said, answer, ok};

/// What a metric of this process has for these labels, together.
async fn metric(router: &TestRouter, name: &str, labels: &[&str]) -> Result<f64> {
    let answer = router.admin("/metrics").await?;
    let lines = answer.text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let fitting = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    Ok(fitting.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// A router before one legacy system of this `name`, whose name is also that of its metrics: these are of the whole process.
async fn router(name: &str, url: &str, settings: Value) -> Result<TestRouter> {
    TestRouter::ready(&config(name, url, &settings)?.to_string()).await
}

fn config(name: &str, url: &str, settings: &Value) -> Result<Value> {
    let read = |path: &str| json!({ "effect": "read", "request": { "path": path } });
    let write = |effect: &str| json!({ "effect": effect, "request": { "method": "POST", "path": "/write" } });
    let mut downstream = json!({
        "mainframe": { "base_url": url, "concurrency": 64 },
        "tools": { "get": read("/get"), "list": read("/list"), "find": read("/find"), "write": write("write"), "put": write("idempotent_write") },
    });
    for (key, value) in settings.as_object().context("settings")? {
        downstream[key] = value.clone();
    }
    Ok(json!({
        "identity": { "local": { "roles": ["all"] } },
        "policy": { "roles": { "all": { "allow": ["*"] } } },
        "downstreams": { name: downstream },
    }))
}

/// The result of a call, and what its record says.
async fn call(router: &TestRouter, tool: &str) -> Result<(Value, Value)> {
    let result = router.call(None, tool, json!({})).await?.result()?;
    let record = router.records().await?.into_iter().find(|record| record["asked"] == tool).context("a record")?;
    Ok((result, record))
}

async fn condition(router: &TestRouter) -> Result<Value> {
    Ok(router.admin("/admin/downstreams").await?.json()?["downstreams"][0].clone())
}

/// A system that says `bad` until it is told to be well, and then `ok`.
async fn sick(bad: &'static str) -> Result<(Listener, Arc<AtomicUsize>)> {
    let ill_for = Arc::new(AtomicUsize::new(usize::MAX));
    let left = ill_for.clone();
    let listener = Listener::start(move |_: &Heard| {
        let is_ill = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| match left {
            0 => None,
            usize::MAX => Some(left),
            _ => Some(left - 1),
        });
        if is_ill.is_ok() { answer(bad, "", "NOT NOW") } else { ok("{}") }
    })
    .await?;
    Ok((listener, ill_for))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downstream_that_answers_503_is_left_alone_and_everybody_is_told_why() -> Result<()> {
    let (server, ill_for) = sick("503 Service Unavailable").await?;
    let name = "sick-503";
    let settings = json!({ "breaker": { "open_first": "10m", "open_max": "10m" } });
    let router = router(name, &server.url, settings).await?;
    const CALLS: usize = 60;
    for _ in 0..CALLS {
        let result = router.call(None, "sick-503__get", json!({})).await?.result()?;
        ensure!(result["isError"] == true, "{result}");
    }
    ensure!(server.heard().len() == 5, "{} requests reached it", server.heard().len());
    let (result, record) = call(&router, "sick-503__get").await?;
    ensure!(record["outcome"] == "left_alone" && record["breaker"] == "open", "{record}");
    let text = result["content"][0]["text"].as_str().context("a text")?;
    ensure!(text.contains("5 attempts in a row failed, the last one with busy. Nothing was sent."), "{text}");
    ensure!(result["_meta"]["weir/limit"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 100_000), "{result}");

    let told = condition(&router).await?;
    ensure!(told["health"] == "breaker_open" && told["since"].is_string(), "{told}");
    ensure!(told["guard"]["breaker"]["state"] == "open" && told["guard"]["last_failure"]["class"] == "busy", "{told}");
    let ready = router.admin("/readyz").await?;
    ensure!(
        ready.status == 200 && ready.text.contains("sick-503 is breaker_open: 5 attempts in a row"),
        "{}",
        ready.text
    );
    let label = r#"downstream="sick-503""#;
    ensure!(metric(&router, "weir_breaker_state", &[label]).await? > 0.9);
    ensure!(metric(&router, "weir_breaker_opened_total", &[label, r#"cause="in_a_row""#]).await? > 0.9);
    let explained = router.admin_post("/admin/explain", json!({ "tool": "sick-503__get" })).await?.json()?;
    ensure!(explained["guard"]["breaker"]["state"] == "open" && explained["guard"]["attempts_max"] == 2, "{explained}");
    ensure!(explained["guard"]["may_go"].as_str().is_some_and(|why| why.contains("in a row")), "{explained}");
    ill_for.store(0, Ordering::Release);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_ill_one_call_at_a_time_tries_it_and_the_first_answer_lets_all_through() -> Result<()> {
    let ill = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (running, running_max) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let probe = (ill.clone(), running.clone(), running_max.clone());
    let server = Listener::start(move |_: &Heard| {
        let (ill, running, running_max) = &probe;
        running_max.fetch_max(running.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
        // Long enough for others to come meanwhile.
        std::thread::sleep(std::time::Duration::from_millis(20));
        running.fetch_sub(1, Ordering::AcqRel);
        if ill.load(Ordering::Acquire) { answer("503 Service Unavailable", "", "NOT NOW") } else { ok("{}") }
    })
    .await?;
    let settings =
        json!({ "breaker": { "open_first": "50ms", "open_max": "100ms" }, "retries": { "attempts_max": 1 } });
    let router = router("sick-probed", &server.url, settings).await?;
    for _ in 0..5 {
        call(&router, "sick-probed__get").await?;
    }
    let (before, label) = (server.heard().len(), r#"downstream="sick-probed""#);
    ensure!(before == 5 && running_max.load(Ordering::Acquire) == 1);
    let opened = [label, r#"cause="probe""#];
    let failed_probes = until("some probes failed", async || {
        let calls = (0..16).map(|_| router.call(None, "sick-probed__get", json!({})));
        join_all(calls).await.into_iter().collect::<Result<Vec<_>>>()?;
        let failed = metric(&router, "weir_breaker_opened_total", &opened).await?;
        Ok((failed > 3.5).then_some(failed))
    })
    .await?;
    ensure!(running_max.load(Ordering::Acquire) == 1, "two probes ran at once");
    let probes = server.heard().len() - before;
    ensure!(probes as f64 <= failed_probes + 1.0, "{probes} requests for {failed_probes} probes");
    ill.store(false, Ordering::Release);
    until("it is well again", async || {
        let (result, _) = call(&router, "sick-probed__get").await?;
        Ok((result["isError"] != true).then_some(()))
    })
    .await?;
    ensure!(condition(&router).await?["guard"]["breaker"]["state"] == "closed");
    let calls = (0..8).map(|_| router.call(None, "sick-probed__get", json!({})));
    for answer in join_all(calls).await {
        ensure!(answer?.result()?["isError"] != true);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_is_told_to_wait_rests_alone_and_two_of_them_rest_the_downstream() -> Result<()> {
    let server = Listener::start(|heard: &Heard| match heard.target() {
        "/get" | "/list" => answer("429 Too Many Requests", "retry-after: 50\r\n", "SLOW DOWN"),
        _ => ok("{}"),
    })
    .await?;
    let router = router("limited", &server.url, json!({})).await?;
    let (_, record) = call(&router, "limited__get").await?;
    ensure!(record["outcome"] == "busy" && record["not_repeated"] == "asked_to_wait", "{record}");
    let (result, record) = call(&router, "limited__get").await?;
    ensure!(record["outcome"] == "left_alone" && record["breaker"] == "resting", "{record}");
    let wait_ms = result["_meta"]["weir/limit"]["retry_after_ms"].as_u64().context("a wait")?;
    ensure!((40_000..=50_000).contains(&wait_ms), "{result}");
    ensure!(call(&router, "limited__find").await?.0["isError"] != true, "another tool rests too");
    call(&router, "limited__list").await?;
    let (_, record) = call(&router, "limited__find").await?;
    ensure!(record["outcome"] == "left_alone" && record["breaker"] == "open", "{record}");
    ensure!(server.heard().len() == 3, "{} requests reached it", server.heard().len());
    ensure!(condition(&router).await?["reason"] == "it asked for a rest");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_downstream_is_not_called_and_says_until_when() -> Result<()> {
    let server = Listener::start(|_: &Heard| ok("{}")).await?;
    let hour =
        |hours: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)).strftime("%H:%M").to_string();
    let window = json!([{ "from": hour(-2), "to": hour(2), "reason": "nightly batch" }]);
    let router = router("closed", &server.url, json!({ "closed": window })).await?;
    let (result, record) = call(&router, "closed__get").await?;
    ensure!(record["outcome"] == "left_alone" && record["breaker"] == "closed_by_calendar", "{record}");
    let text = result["content"][0]["text"].as_str().context("a text")?;
    ensure!(text.contains("closed is closed until ") && text.contains("(UTC): nightly batch."), "{text}");
    ensure!(server.heard().is_empty(), "it was called");
    ensure!(condition(&router).await?["health"] == "closed_by_calendar");
    ensure!(router.admin("/readyz").await?.text.contains("closed is closed_by_calendar: until "));
    let explained = router.admin_post("/admin/explain", json!({ "tool": "closed__get" })).await?.json()?;
    ensure!(explained["guard"]["calendar"]["closed"]["reason"] == "nightly batch", "{explained}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_do_not_end_well_mark_the_downstream() -> Result<()> {
    let head = || listener::head("200 OK", "content-type: application/json\r\n", 1 << 20);
    for (said, last) in [
        (Said::ThenTrickle(head()), "timeout"),
        (Said::ThenNothing(head()), "timeout"),
        (Said::ThenEndless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), "too_large"),
        (Said::Bytes(b"\x15\x03\x01 no HTTP at all\r\n\r\n".to_vec()), "protocol"),
    ] {
        let server = Listener::start(move |_: &Heard| said.clone()).await?;
        let mainframe = json!({ "base_url": server.url, "idle_timeout": "100ms", "answer_bytes_max": "2MiB" });
        let settings = json!({ "mainframe": mainframe, "retries": { "attempts_max": 1 } });
        let router = router("badly-ended", &server.url, settings).await?;
        for _ in 0..5 {
            call(&router, "badly-ended__get").await?;
        }
        let told = condition(&router).await?;
        let reason = format!("5 attempts in a row failed, the last one with {last}");
        ensure!(told["health"] == "breaker_open" && told["reason"] == reason, "{last}: {told}");
        ensure!(told["guard"]["last_failure"]["class"] == last, "{told}");
        ensure!(told["tools"] == 5, "its tools are listed all the same: {told}");
    }
    Ok(())
}

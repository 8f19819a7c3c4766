//! Time, size and turns: what a slow, stuck, endless or dead system costs, and whom.

use std::{sync::Arc, time::Duration};

use adapters::{AdapterEvent, ErrorClass, Health, Reply, Sent};
use anyhow::{Context as _, Result, ensure};
use config::Effect;
use futures_util::{FutureExt as _, StreamExt as _, future::join_all};
use serde_json::json;
use standins::{
    mainframe::{Mainframe, MainframeOptions, Trouble, TroubleKind},
    mcp::{McpOptions, McpServer},
};
use tests::{
    TestRouter,
    contract::{context, until_state},
};
use tokio::time::Instant;

use super::{Connected, Listener, PATIENCE, Said, head, ok, yaml};

const ASK: &str = "
      ask: { effect: read, request: { path: '/orders/{id}/status' }, arguments: { id: { type: integer, default: 1 } } }
      do: { effect: write, request: { method: POST, path: /batch/jobs, body: { form: { job: A } } } }";
/// How late an answer may be on a busy machine.
const LATENESS_MAX: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn forty_callers_get_their_answers_and_the_mainframe_never_more_than_eight_of_them() -> Result<()> {
    let delay = Duration::from_millis(100);
    let options = MainframeOptions { delay: delay..=delay, concurrency: 8, ..MainframeOptions::default() };
    let standin = Mainframe::start("127.0.0.1:0", options).await?;
    let router = TestRouter::ready(&yaml(&standin.url, "concurrency: 8", ASK)).await?;
    let started = Instant::now();
    for answer in join_all((0..40).map(|_| router.call(None, "mainframe__ask", json!({})))).await {
        ensure!(answer?.result()?["structuredContent"]["rc"] == "04");
    }
    let seen = standin.seen();
    ensure!(
        (seen.over_limit, seen.finished) == (0, 40) && seen.running_max == 8,
        "{} {}",
        seen.over_limit,
        seen.running_max
    );
    // Five rounds of eight.
    ensure!(started.elapsed() >= 5 * delay, "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_vain_is_told_so_and_the_time_of_an_attempt_runs_from_its_turn() -> Result<()> {
    let server =
        Listener::start(|heard| if heard.target() == "/slow" { Said::ThenNothing(Vec::new()) } else { ok("{}") })
            .await?;
    let tools = "
      slow: { effect: read, request: { path: /slow } }
      quick: { effect: read, request: { path: /quick } }
      soon: { effect: read, deadline: 50ms, request: { path: /quick } }";
    let config = yaml(&server.url, "concurrency: 1, attempt_timeout: 400ms", tools);
    let router = TestRouter::ready(&format!("{config}    retries: {{ attempts_max: 1 }}\n")).await?;
    let call = async |tool: &str| router.call(None, &format!("mainframe__{tool}"), json!({})).await?.result();
    let (slow, late, quick) = tokio::join!(
        call("slow"),
        async {
            server.until_held(1).await?;
            call("soon").await
        },
        async {
            server.until_held(1).await?;
            // Its turn comes when its own 400 ms would be over, had they run from now.
            call("quick").await
        },
    );
    ensure!(slow?["isError"] == true);
    let quick = quick?;
    ensure!(quick["isError"] != true, "{quick}");
    let late = late?;
    // The other one may have joined the line before it.
    let told = ["mainframe is as busy as it may be", "1 call of yours waits for mainframe already"].map(|why| {
        format!("mainframe__soon was not called: {why}, and this one could not start in time. Nothing was sent. Try again in 1 s.")
    });
    let text = late["content"][0]["text"].as_str().unwrap_or_default();
    ensure!(late["isError"] == true && told.iter().any(|told| told == text), "{late}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_two_seconds_does_not_wait_eight_and_frees_the_mainframe() -> Result<()> {
    let delay = Duration::from_secs(8);
    let options = MainframeOptions { delay: delay..=delay, ..MainframeOptions::default() };
    let standin = Mainframe::start("127.0.0.1:0", options).await?;
    let tools = "
      ask: { effect: read, deadline: 2s, request: { path: /orders/1/status } }";
    let router = TestRouter::ready(&yaml(&standin.url, "concurrency: 8", tools)).await?;
    let started = Instant::now();
    let answer = router.call(None, "mainframe__ask", json!({})).await?.result()?;
    let took = started.elapsed();
    ensure!(
        took >= Duration::from_secs(2) && took < Duration::from_millis(2100) + LATENESS_MAX,
        "answered after {took:?}"
    );
    ensure!(answer["isError"] == true && answer.to_string().contains("try again later or ask for less"), "{answer}");
    standin.wait_until(|seen| seen.dropped == 1 && seen.running == 0).await?;
    ensure!(started.elapsed() < took + Duration::from_millis(500), "dropped after {:?}", started.elapsed());

    // The caller hangs up.
    let ask = tests::ask::Ask::call("mainframe__ask", json!({}));
    let stream = router.knock(&ask).await?;
    standin.wait_until(|seen| seen.running == 1).await?;
    let left = Instant::now();
    tests::ask::hang_up(stream).await?;
    standin.wait_until(|seen| seen.dropped == 2 && seen.running == 0).await?;
    ensure!(left.elapsed() < LATENESS_MAX, "dropped after {:?}", left.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_trickles_or_stops_is_cut() -> Result<()> {
    let begun = |bytes: &[u8]| [&head("200 OK", "", 1000)[..], bytes].concat();
    let server = Listener::start(move |heard| match heard.target() {
        "/trickle" => Said::ThenTrickle(begun(b"{")),
        "/stop" => Said::ThenNothing(begun(b"")),
        "/half" => Said::ThenNothing(begun(b"{\"a\":")),
        _ => Said::ThenNothing(Vec::new()),
    })
    .await?;
    let tools = "
      ask: { effect: read, request: { path: '/{x}' }, arguments: { x: { type: string } } }
      do: { effect: write, request: { method: POST, path: '/{x}' }, arguments: { x: { type: string } } }";
    // Bytes that trickle keep an answer from being idle: the time of the attempt ends it.
    let connected = Connected::new(&server.url, "attempt_timeout: 2s, idle_timeout: 1500ms", tools)?;
    for (path, seconds) in [("trickle", 2.0), ("stop", 1.5), ("half", 1.5), ("nothing", 2.0)] {
        let arguments = json!({ "x": path }).to_string();
        let started = Instant::now();
        let (read, write) = tokio::join!(
            connected.failure("ask", &arguments, Effect::Read),
            connected.failure("do", &arguments, Effect::Write)
        );
        let (read, write) = (read?, write?);
        ensure!(read.class == ErrorClass::Timeout, "{path}: {read:?}");
        ensure!((write.class, write.sent) == (ErrorClass::Timeout, Sent::Unknown), "{path}: {write:?}");
        let limit = Duration::from_secs_f64(seconds);
        let took = started.elapsed();
        ensure!(took + Duration::from_millis(20) >= limit && took < limit + LATENESS_MAX, "{path}: cut after {took:?}");
        server.until_held(0).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_cut_at_the_limit_and_the_next_call_is_served() -> Result<()> {
    const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    /// What may be on its way in buffers of both sides.
    const ON_THE_WAY: usize = 16 << 20;
    let server = Listener::start(|heard| match heard.target() {
        "/endless" => Said::ThenEndless(ENDLESS.to_vec()),
        "/huge" => Said::ThenEndless(head("200 OK", "", 1 << 30)),
        _ => ok("{}"),
    })
    .await?;
    let tools = "
      ask: { effect: read, request: { path: '/{x}' }, arguments: { x: { type: string } } }";
    let connected = Connected::new(&server.url, "concurrency: 1, answer_bytes_max: 64KiB", tools)?;
    for path in ["endless", "huge"] {
        let before = server.bytes_sent();
        let error = connected.failure("ask", &json!({ "x": path }).to_string(), Effect::Read).await?;
        ensure!(error.class == ErrorClass::TooLarge && error.message.contains("Ask for less"), "{path}: {error:?}");
        server.until_held(0).await?;
        ensure!(server.bytes_sent() - before < ON_THE_WAY, "{path}: {} bytes", server.bytes_sent() - before);
        connected.read("ask", r#"{"x":"fine"}"#).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_mainframe_hides_nothing_and_comes_back_by_itself() -> Result<()> {
    let standin = Mainframe::start("127.0.0.1:0", MainframeOptions::default()).await?;
    let enrich = McpServer::new(McpOptions::default()).websocket("127.0.0.1:0").await?;
    let config = yaml(&standin.url, "concurrency: 8", ASK);
    let config = format!(
        "{config}  enrich: {{ mcp: {{ websocket: {{ url: '{}' }} }}, effects: [{{ match: '*', effect: read }}] }}\n",
        enrich.url
    );
    let router = TestRouter::ready(&config).await?;
    // Nobody has called yet, and it is known to be there.
    router.downstreams_until(|all| all.to_string().matches(r#""health":"up""#).count() == 2).await?;

    standin.refuse(true).await?;
    standin.drop_connections();
    let started = Instant::now();
    let dead = router.call(None, "mainframe__ask", json!({})).await?.result()?;
    ensure!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let told = "mainframe__ask gave no result. mainframe cannot be reached: connection refused. Try again in a moment.";
    ensure!(dead["isError"] == true && dead["content"][0]["text"] == told, "{dead}");
    let write = router.call(None, "mainframe__do", json!({})).await?.result()?;
    ensure!(!write.to_string().contains("unknown"), "nothing was sent: {write}");
    let other = router.call(None, "enrich__get_merchant", json!({ "merchant_id": "M-0001" })).await?.result()?;
    ensure!(other["isError"] != true, "{other}");
    let tools = router.modern(None, "tools/list", json!({})).await?.text;
    ensure!(tools.contains("mainframe__ask") && tools.contains("enrich__get_merchant"), "{tools}");
    let all = router.downstreams_until(|all| all.to_string().contains(r#""health":"down""#)).await?;
    ensure!(all.to_string().contains("connection refused"), "{all}");

    standin.refuse(false).await?;
    router.downstreams_until(|all| all.to_string().matches(r#""health":"up""#).count() == 2).await?;
    ensure!(router.call(None, "mainframe__ask", json!({})).await?.result()?["isError"] != true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_reset_is_never_sent_twice_if_it_writes() -> Result<()> {
    let standin = Mainframe::start("127.0.0.1:0", MainframeOptions::default()).await?;
    let connected = Connected::new(&standin.url, "concurrency: 8", ASK)?;
    // A connection that waits, so that the next request goes over one that was used before.
    connected.ask("do", "{}", Effect::Write).await?;
    standin.trouble(Trouble { kind: Some(TroubleKind::ResetBeforeAnswer), next: 1, ..Trouble::default() });
    let error = connected.failure("do", "{}", Effect::Write).await?;
    ensure!((error.class, error.sent) == (ErrorClass::ConnectionLost, Sent::Unknown), "{error:?}");
    ensure!(standin.seen().jobs.len() == 2, "{:?}", standin.seen().jobs);
    // A connection that was closed while it waited is replaced without a word.
    connected.ask("do", "{}", Effect::Write).await?;
    standin.drop_connections();
    for _ in 0..3 {
        let reply = connected.ask("ask", "{}", Effect::Read).await?;
        ensure!(matches!(reply, Reply::Complete(_)), "{reply:?}");
    }
    ensure!(standin.seen().jobs.len() == 3, "{:?}", standin.seen().jobs);
    Ok(())
}

#[tokio::test]
async fn it_is_known_to_be_down_before_anybody_calls_and_to_be_back_as_well() -> Result<()> {
    let standin = Mainframe::start("127.0.0.1:0", MainframeOptions::default()).await?;
    standin.refuse(true).await?;
    let connected = Connected::new(&standin.url, "concurrency: 8", ASK)?;
    let adapter = Arc::clone(&connected.adapter);
    let offer = adapter.list(&context(PATIENCE)).await?;
    ensure!(offer.tools.len() == 2, "{offer:?}");
    // Who lists first is told at once.
    let state = adapter.events().next().now_or_never().flatten();
    let Some(AdapterEvent::State(state)) = state else { anyhow::bail!("{state:?}") };
    ensure!(
        state.health == Health::Down && state.reason.as_deref().is_some_and(|reason| reason.contains("refused")),
        "{state:?}"
    );
    standin.refuse(false).await?;
    until_state(&*adapter, Health::Up).await?;
    ensure!(standin.seen().requests.is_empty(), "a probe asks for nothing: {:?}", standin.seen().requests);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mainframe_that_hangs_from_the_start_hides_no_tools() -> Result<()> {
    // So long does the router wait for the first lists.
    const FIRST_LISTS: Duration = Duration::from_secs(2);
    // It accepts, and never says a word of TLS.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let hanging =
        Connected::new(&format!("https://localhost:{}", silent.local_addr()?.port()), "connect_timeout: 20s", ASK)?;
    let listed = tokio::time::timeout(FIRST_LISTS, hanging.adapter.list(&context(PATIENCE))).await;
    ensure!(listed.context("no list in time")??.tools.len() == 2);
    Ok(())
}

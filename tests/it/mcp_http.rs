//! MCP servers over streamable HTTP, through the adapter, against servers that nobody here wrote and one that answers what a test says.

mod legacy;
mod modern;
mod trouble;

use std::{path::Path, sync::Arc, time::Duration};

use adapters::{
    Adapter, AdapterError, AdapterEvent, CallContext, ErrorClass, Health, Method, Reply, Request, Sent, State,
};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use config::{Downstream, DownstreamName, Effect};
use futures_util::{StreamExt as _, future::BoxFuture, stream::BoxStream};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Running, Seen, Tools},
};
use tests::contract::{self, Fixture, context};
use tokio::time::Instant;

use crate::bridge::script::{Asked, Script};

/// How long anything here may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "s3cret-token-of-the-server";

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_in_both_eras_and_with_every_way_of_sharing() -> Result<()> {
    for (era, sharing) in [
        (Era::ModernOnly, "shared"),
        (Era::LegacyOnly, "shared"),
        (Era::Both, "per_caller"),
        (Era::LegacyOnly, "per_caller"),
        (Era::LegacyOnly, "per_call"),
    ] {
        let bearer = Some(TOKEN.to_owned());
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, bearer, ..McpOptions::default() });
        let running = server.http("127.0.0.1:0").await?;
        let folder = tempfile::tempdir()?;
        tests::private_file(folder.path().join("token"), TOKEN)?;
        let more = json!({ "message_bytes_max": "64KiB", "credential": { "bearer": { "file": "token" } } });
        let mcp = json!({ "sharing": sharing });
        let adapter = build(&running.url, &mcp, &more, folder.path())?;
        let unreachable = build("http://127.0.0.1:1/mcp", &mcp, &more, folder.path())?;
        let fixture = Contract { server, adapter, unreachable, _running: running };
        contract::hold(&fixture).await.with_context(|| format!("{era:?}, {sharing}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_credential_is_said_to_be_so() -> Result<()> {
    let bearer = Some(TOKEN.to_owned());
    let server = McpServer::new(McpOptions { bearer, ..McpOptions::default() });
    let running = server.http("127.0.0.1:0").await?;
    let adapter = adapter(&running.url, &json!({}), &json!({}))?;
    let state = until(&*adapter, Health::Down).await?;
    let reason = "it does not accept Weir's credential (HTTP 401)";
    ensure!(state.reason.as_deref() == Some(reason), "{state:?}");
    let error = failure(&*adapter, &context(PATIENCE), request("list_merchants", &json!({}), Effect::Read)).await?;
    ensure!((error.class, error.sent) == (ErrorClass::Unauthorized, Sent::No), "{error:?}");
    Ok(())
}

/// Down at the start, there later.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_late_or_again_is_found_by_itself() -> Result<()> {
    for era in [Era::ModernOnly, Era::LegacyOnly] {
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.http("127.0.0.1:0").await?;
        let (address, url) = (running.addr, running.url.clone());
        running.stop().await;
        let adapter = adapter(&url, &json!({}), &json!({}))?;
        until(&*adapter, Health::Down).await?;
        let started = Instant::now();
        let error = failure(&*adapter, &context(PATIENCE), quick()).await?;
        ensure!((error.class, error.sent) == (ErrorClass::Unreachable, Sent::No), "{error:?}");
        ensure!(started.elapsed() < Duration::from_millis(500), "a server that is known to be down was waited for");

        let running = server.http(&address.to_string()).await?;
        until(&*adapter, Health::Up).await?;
        call(&*adapter, "echo", &json!({ "token": "t" })).await?;
        ensure!(!adapter.list(&context(PATIENCE)).await?.tools.is_empty());

        running.stop().await;
        failure(&*adapter, &context(PATIENCE), quick()).await?;
        until(&*adapter, Health::Down).await?;
        let _running = server.http(&address.to_string()).await?;
        until(&*adapter, Health::Up).await?;
        call(&*adapter, "echo", &json!({ "token": "t" })).await?;
    }
    Ok(())
}

/// Nobody uses the session by which the state is known, but the calls find out.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_down_also_where_calls_have_sessions_of_their_own() -> Result<()> {
    for sharing in ["per_caller", "per_call"] {
        let server =
            McpServer::new(McpOptions { era: Era::LegacyOnly, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.http("127.0.0.1:0").await?;
        let adapter = adapter(&running.url, &json!({ "sharing": sharing }), &json!({}))?;
        call(&*adapter, "echo", &json!({ "token": "t" })).await?;
        running.stop().await;
        let error = failure(&*adapter, &context(PATIENCE), quick()).await?;
        ensure!((error.class, error.sent) == (ErrorClass::Unreachable, Sent::No), "{sharing}: {error:?}");
        until(&*adapter, Health::Down).await.context(sharing)?;
    }
    Ok(())
}

/// A deadline of 2 s against an answer after 8 s. The server hears of it by the rule of its era.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_past_its_deadline_is_cancelled_in_the_server() -> Result<()> {
    for era in [Era::ModernOnly, Era::LegacyOnly] {
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.http("127.0.0.1:0").await?;
        let adapter = adapter(&running.url, &json!({}), &json!({}))?;
        let started = Instant::now();
        let slow = request("slow", &json!({ "ms": 8_000 }), Effect::Read);
        let error = failure(&*adapter, &context(Duration::from_secs(2)), slow).await?;
        ensure!(error.class == ErrorClass::Timeout, "{error:?}");
        let answered = started.elapsed();
        ensure!((2_000..2_500).contains(&answered.as_millis()), "answered after {answered:?}");
        server.wait_until(|seen| seen.cancelled == 1).await?;
        let heard = started.elapsed();
        ensure!(heard < Duration::from_millis(2_500), "{era:?}: the server heard of it after {heard:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_over_connections_that_are_kept() -> Result<()> {
    for era in [Era::ModernOnly, Era::LegacyOnly] {
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, ..McpOptions::default() });
        let running = server.http("127.0.0.1:0").await?;
        let adapter = adapter(&running.url, &json!({}), &json!({ "connections_max": 8 }))?;
        for _ in 0..50 {
            call(&*adapter, "echo", &json!({ "token": "t" })).await?;
        }
        let together = (0..100).map(|_| {
            let adapter = Arc::clone(&adapter);
            tokio::spawn(async move { call(&*adapter, "echo", &json!({ "token": "t" })).await })
        });
        for one in together.collect::<Vec<_>>() {
            one.await??;
        }
        let seen = server.seen();
        ensure!(seen.connections_total <= 10, "{era:?}: {} connections for 150 calls", seen.connections_total);
    }
    Ok(())
}

struct Contract {
    server: McpServer,
    adapter: Arc<dyn Adapter>,
    unreachable: Arc<dyn Adapter>,
    _running: Running,
}

impl Fixture for Contract {
    fn adapter(&self) -> Arc<dyn Adapter> {
        self.adapter.clone()
    }

    fn unreachable(&self) -> Arc<dyn Adapter> {
        self.unreachable.clone()
    }

    fn quick(&self) -> Request {
        quick()
    }

    fn slow(&self) -> Request {
        request("slow", &json!({ "ms": 600_000 }), Effect::Read)
    }

    fn until_running(&self, count: usize) -> BoxFuture<'_, Result<()>> {
        let count = count as u64;
        Box::pin(async move {
            let running = |seen: &Seen| seen.calls.values().sum::<u64>() - seen.finished - seen.cancelled;
            self.server.wait_until(|seen| running(seen) == count).await.map(drop)
        })
    }

    fn oversized(&self) -> Request {
        request("big_result", &json!({ "bytes": 100_000 }), Effect::Read)
    }

    fn bytes_max(&self) -> usize {
        64 << 10
    }

    fn refused(&self) -> Request {
        request("protocol_error", &json!({ "message": "no" }), Effect::Read)
    }

    fn misfit(&self) -> Option<Request> {
        None
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }
}

/// An adapter with the settings `mcp`, its endpoint with the settings `http`.
fn adapter(url: &str, mcp: &Value, http: &Value) -> Result<Arc<dyn Adapter>> {
    build(url, mcp, http, Path::new("."))
}

fn build(url: &str, mcp: &Value, http: &Value, base: &Path) -> Result<Arc<dyn Adapter>> {
    let mut settings = mcp.clone();
    settings["http"] = http.clone();
    settings["http"]["url"] = json!(url);
    let downstream = Downstream { mcp: Some(serde_json::from_value(settings)?), ..Downstream::default() };
    let name = DownstreamName::new("enrich").map_err(anyhow::Error::msg)?;
    Ok(adapters::build(&name, &downstream, &config::Sources::at(base), |_, _, _| {})?)
}

fn quick() -> Request {
    request("echo", &json!({ "token": "t" }), Effect::Read)
}

/// A call as the router hands it down.
fn request(tool: &str, arguments: &Value, effect: Effect) -> Request {
    let params = json!({ "name": format!("enrich__{tool}"), "arguments": arguments }).to_string().into();
    Request { method: Method::CallTool, local_name: tool.into(), params, arguments: None, effect }
}

/// Calls a read and gives the bytes of its result.
async fn call(adapter: &dyn Adapter, tool: &str, arguments: &Value) -> Result<Bytes> {
    complete(adapter.call(&context(PATIENCE), request(tool, arguments, Effect::Read)).await)
}

/// A call in a task of its own.
fn spawn(
    adapter: &Arc<dyn Adapter>,
    tool: &str,
    effect: Effect,
) -> tokio::task::JoinHandle<Result<Reply, AdapterError>> {
    let (adapter, request) = (Arc::clone(adapter), request(tool, &json!({}), effect));
    tokio::spawn(async move { adapter.call(&context(PATIENCE), request).await })
}

fn complete(reply: Result<Reply, AdapterError>) -> Result<Bytes> {
    match reply? {
        Reply::Complete(bytes) => Ok(bytes),
        other => bail!("not complete: {other:?}"),
    }
}

/// The failure of a call.
async fn failure(adapter: &dyn Adapter, ctx: &CallContext, request: Request) -> Result<AdapterError> {
    match tokio::time::timeout(PATIENCE, adapter.call(ctx, request)).await.context("stuck")? {
        Ok(reply) => bail!("no failure but {reply:?}"),
        Err(error) => Ok(error),
    }
}

/// Waits until the adapter tells of this health.
async fn until(adapter: &dyn Adapter, health: Health) -> Result<State> {
    let mut events = adapter.events();
    let wait = async {
        while let Some(event) = events.next().await {
            match event {
                AdapterEvent::State(state) if state.health == health => return Ok(state),
                _ => {}
            }
        }
        bail!("the events ended")
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("never {}", health.as_str()))?
}

/// What the adapter tells of changed lists from now on.
struct Changes(BoxStream<'static, AdapterEvent>);

impl Changes {
    fn of(adapter: &dyn Adapter) -> Self {
        Self(adapter.events())
    }

    async fn next(&mut self) -> Result<()> {
        let wait = async {
            loop {
                let event = self.0.next().await.context("the events ended")?;
                if matches!(event, AdapterEvent::ListChanged | AdapterEvent::ListUnknown) {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context("no change of the list")?
    }
}

/// The id of the request.
fn id_of(asked: &Asked) -> u64 {
    let message: Value = serde_json::from_str(&asked.body).expect("JSON");
    message["id"].as_u64().unwrap_or_else(|| panic!("no id: {}", asked.body))
}

/// The answer to the request with this result.
fn result_for(asked: &Asked, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id_of(asked))
}

/// Answers a request with this result.
fn answer(asked: Asked, result: &str) {
    let text = result_for(&asked, result);
    asked.json(&text);
}

/// What a modern server says of itself.
fn discovery(list_changed: bool) -> String {
    format!(
        r#"{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{"listChanged":{list_changed}}}}},"ttlMs":0,"cacheScope":"private"}}"#
    )
}

/// A server in the hands of the test that has agreed on the modern era with an adapter with these settings.
async fn modern_server(http: &Value) -> Result<(Script, Arc<dyn Adapter>)> {
    let mut script = Script::start().await;
    let adapter = adapter(&format!("http://{}/mcp", script.address), &json!({}), http)?;
    answer(script.post("server/discover").await, &discovery(false));
    until(&*adapter, Health::Up).await?;
    Ok((script, adapter))
}

//! MCP servers over WebSocket, through the adapter, against servers that nobody here wrote and one of exact bytes.

mod fidelity;
mod multiplexing;
mod outages;
mod sharing;

use std::{path::Path, sync::Arc, time::Duration};

use adapters::{Adapter, AdapterError, AdapterEvent, CallContext, Health, Method, Reply, Request, State};
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use config::{Downstream, DownstreamName, Effect};
use futures_util::{StreamExt as _, future::BoxFuture};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer, Running, Seen, Tools},
};
use tests::contract::{self, Fixture, context};

/// How long anything here may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_in_both_eras_and_with_every_way_of_sharing() -> Result<()> {
    for (era, sharing) in [
        (Era::ModernOnly, "shared"),
        (Era::LegacyOnly, "shared"),
        (Era::Both, "per_caller"),
        (Era::ModernOnly, "per_call"),
    ] {
        let bearer = Some("s3cret-token-of-the-server".to_owned());
        let server = McpServer::new(McpOptions { era, tools: Tools::Awkward, bearer, ..McpOptions::default() });
        let running = server.websocket("127.0.0.1:0").await?;
        let secrets = Secrets::new("s3cret-token-of-the-server")?;
        let more = json!({ "message_bytes_max": "64KiB", "credential": { "bearer": { "file": "token" } } });
        let adapter = secrets.adapter(&running.url, sharing, &more)?;
        let unreachable = secrets.adapter("ws://127.0.0.1:1/mcp", sharing, &more)?;
        let fixture = Contract { server, adapter, unreachable, _running: running };
        contract::hold(&fixture).await.with_context(|| format!("{era:?}, {sharing}"))?;
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
        request("echo", &json!({ "token": "t" }), Effect::Read)
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
        vec!["s3cret-token-of-the-server".to_owned()]
    }
}

/// A folder with the credential in it.
struct Secrets(tempfile::TempDir);

impl Secrets {
    fn new(token: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        tests::private_file(dir.path().join("token"), token)?;
        Ok(Self(dir))
    }

    fn adapter(&self, url: &str, sharing: &str, more: &Value) -> Result<Arc<dyn Adapter>> {
        build(url, &json!({ "sharing": sharing }), more, self.0.path())
    }
}

/// An adapter with the settings `mcp`, its socket with the settings `websocket`.
fn adapter(url: &str, mcp: &Value, websocket: &Value) -> Result<Arc<dyn Adapter>> {
    build(url, mcp, websocket, Path::new("."))
}

fn build(url: &str, mcp: &Value, websocket: &Value, base: &Path) -> Result<Arc<dyn Adapter>> {
    let mut settings = mcp.clone();
    settings["websocket"] = websocket.clone();
    settings["websocket"]["url"] = json!(url);
    let downstream = Downstream { mcp: Some(serde_json::from_value(settings)?), ..Downstream::default() };
    let name = DownstreamName::new("enrich").map_err(anyhow::Error::msg)?;
    Ok(adapters::build(&name, &downstream, &config::Sources::at(base), |_, _, _| {})?)
}

/// A call as the router hands it down.
fn request(tool: &str, arguments: &Value, effect: Effect) -> Request {
    raw_request(tool, &json!({ "name": format!("enrich__{tool}"), "arguments": arguments }).to_string(), effect)
}

/// A call with these very `params`.
fn raw_request(tool: &str, params: &str, effect: Effect) -> Request {
    let (method, params) = (Method::CallTool, Bytes::copy_from_slice(params.as_bytes()));
    Request { method, local_name: tool.into(), params, arguments: None, effect }
}

/// Calls a read and gives the bytes of its result.
async fn call(adapter: &dyn Adapter, tool: &str, arguments: &Value) -> Result<Bytes> {
    let ctx = context(PATIENCE);
    complete(adapter.call(&ctx, request(tool, arguments, Effect::Read)).await)
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

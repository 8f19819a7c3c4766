//! MCP servers as child processes, through the adapter: one that nobody here wrote, and small programs that misbehave.

mod ending;
mod routed;
mod surroundings;
mod trouble;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use adapters::{Adapter, AdapterError, AdapterEvent, CallContext, Health, Method, Reply, Request, State};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use config::{Downstream, DownstreamName, Effect};
use futures_util::{StreamExt as _, future::BoxFuture};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::contract::{self, Fixture, context};

use crate::cli::binary::standins;

/// How long anything here may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "s3cret-value-of-a-variable";

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_in_both_eras_and_with_every_way_of_sharing() -> Result<()> {
    for (era, sharing) in [("modern", "shared"), ("legacy", "shared"), ("both", "per_caller"), ("modern", "per_call")] {
        let bench = Bench::new()?;
        let more = json!({ "message_bytes_max": "64KiB", "secrets": { "TOKEN": { "file": "token" } } });
        let mcp = json!({ "sharing": sharing });
        let adapter = bench.server(&["--era", era], &more, &mcp)?;
        let unreachable = bench.adapter(&["./no-such-program"], &more, &mcp)?;
        let fixture = Contract { bench, adapter, unreachable };
        contract::hold(&fixture).await.with_context(|| format!("{era}, {sharing}"))?;
        fixture.adapter.close().await;
        ensure!(fixture.bench.processes()?.is_empty(), "a process is left");
    }
    Ok(())
}

struct Contract {
    bench: Bench,
    adapter: Arc<dyn Adapter>,
    unreachable: Arc<dyn Adapter>,
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
        Box::pin(async move { self.bench.until_running(count).await })
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
        vec![SECRET.to_owned()]
    }
}

/// A folder that programs run in, and in which the stand-ins tell what they see.
struct Bench(TempDir);

impl Bench {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        tests::private_file(dir.path().join("token"), SECRET)?;
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// An adapter for the stand-in MCP server with its awkward tools.
    fn server(&self, words: &[&str], stdio: &Value, mcp: &Value) -> Result<Arc<dyn Adapter>> {
        let program = standins().to_str().context("a plain path")?;
        let command = [&[program, "mcp", "--stdio", "--awkward", "--tally", "."], words].concat();
        self.adapter(&command, stdio, mcp)
    }

    /// An adapter for a script that the shell runs.
    fn script(&self, script: &str, stdio: &Value) -> Result<Arc<dyn Adapter>> {
        self.adapter(&["sh", "-c", script], stdio, &json!({}))
    }

    /// An adapter for any program, with the settings `stdio` and `mcp` besides.
    fn adapter(&self, command: &[&str], stdio: &Value, mcp: &Value) -> Result<Arc<dyn Adapter>> {
        let mut settings = mcp.clone();
        settings["stdio"] = stdio.clone();
        settings["stdio"]["command"] = json!(command);
        let downstream = Downstream { mcp: Some(serde_json::from_value(settings)?), ..Downstream::default() };
        let name = DownstreamName::new("files").map_err(anyhow::Error::msg)?;
        Ok(adapters::build(&name, &downstream, &config::Sources::at(self.path()), |_, _, _| {})?)
    }

    /// The stand-ins that run.
    fn processes(&self) -> Result<Vec<u32>> {
        let ids = self.tallies()?.into_iter().filter_map(|path| path.file_stem()?.to_str()?.parse().ok());
        Ok(ids.filter(|&id| matches!(status_of(id), Some(status) if status != 'Z')).collect())
    }

    /// Waits until exactly one stand-in runs, and gives its number.
    async fn process(&self) -> Result<u32> {
        tests::until("one stand-in runs", async || Ok(<[u32; 1]>::try_from(self.processes()?).ok().map(|[id]| id)))
            .await
    }

    /// Waits until exactly `count` calls run in stand-ins that run.
    async fn until_running(&self, count: usize) -> Result<()> {
        let waiting = async {
            while self.running()? != count as u64 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, waiting).await.with_context(|| format!("never {count} calls"))?
    }

    fn running(&self) -> Result<u64> {
        let tally = |id: u32| std::fs::read_to_string(self.path().join(format!("{id}.json"))).ok();
        let running = |id: u32| serde_json::from_str::<Value>(&tally(id)?).ok()?["running"].as_u64();
        Ok(self.processes()?.into_iter().filter_map(running).sum())
    }

    fn tallies(&self) -> Result<Vec<PathBuf>> {
        let files = std::fs::read_dir(self.path())?.map(|entry| Ok(entry?.path()));
        let files: Vec<PathBuf> = files.collect::<Result<_>>()?;
        Ok(files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect())
    }

    /// Waits until a program has written the number of a process into this file.
    async fn number_in(&self, file: &str) -> Result<u32> {
        tests::until("a number is written", async || {
            let text = std::fs::read_to_string(self.path().join(file)).unwrap_or_default();
            Ok(text.strip_suffix('\n').and_then(|number| number.parse().ok()))
        })
        .await
    }
}

/// A server of the modern era in the shell's own words. `$id` is the request's; `answer RESULT` answers it. `cases` come first.
fn modern_server(cases: &str) -> String {
    format!(
        r#"answer() {{ printf '{{"jsonrpc":"2.0","id":%s,"result":%s}}\n' "$id" "$1"; }}
        serve() {{
            while IFS= read -r line; do
                id=${{line#*\"id\":}}; id=${{id%%[,\}}]*}}
                case $line in
                    {cases}
                    *'"server/discover"'*) answer '{{"supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}}}}}}' ;;
                    *'"tools/list"'*) answer '{{"resultType":"complete","tools":[{{"name":"any","inputSchema":{{"type":"object"}}}}]}}' ;;
                    *'"tools/call"'*) answer '{{"resultType":"complete","content":[]}}' ;;
                esac
            done
        }}
        "#
    )
}

/// What the system says of a process: `R`, `S`, `Z`, …; nothing when there is none.
fn status_of(id: u32) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    text[text.rfind(')')? + 1..].trim_start().chars().next()
}

/// Waits until there is no such process, not even as one that nobody has waited for.
async fn until_gone(id: u32) -> Result<()> {
    tests::until("a process is gone", async || Ok(status_of(id).is_none().then_some(()))).await
}

/// Sends a signal by its name.
async fn signal(name: &str, id: u32) -> Result<()> {
    let mut shell = tokio::process::Command::new("sh");
    let sent = shell.args(["-c", "kill -s \"$0\" \"$1\"", name, &id.to_string()]).status().await?;
    ensure!(sent.success(), "no signal for {id}");
    Ok(())
}

/// A call as the router hands it down.
fn request(tool: &str, arguments: &Value, effect: Effect) -> Request {
    raw_request(tool, &json!({ "name": format!("files__{tool}"), "arguments": arguments }).to_string(), effect)
}

/// A call with these very `params`.
fn raw_request(tool: &str, params: &str, effect: Effect) -> Request {
    let (method, params) = (Method::CallTool, Bytes::copy_from_slice(params.as_bytes()));
    Request { method, local_name: tool.into(), params, arguments: None, effect }
}

/// Calls a read and gives its result.
async fn call(adapter: &dyn Adapter, tool: &str, arguments: &Value) -> Result<Value> {
    complete(adapter.call(&context(PATIENCE), request(tool, arguments, Effect::Read)).await)
}

fn complete(reply: Result<Reply, AdapterError>) -> Result<Value> {
    match reply? {
        Reply::Complete(bytes) => Ok(serde_json::from_slice(&bytes)?),
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
    until_state(adapter, |state| state.health == health).await
}

/// Waits until the adapter is down for a reason that has `text` in it.
async fn until_down(adapter: &dyn Adapter, text: &str) -> Result<State> {
    until_state(adapter, |state| state.reason.as_deref().is_some_and(|reason| reason.contains(text)))
        .await
        .with_context(|| format!("not down because of `{text}`"))
}

async fn until_state(adapter: &dyn Adapter, wanted: impl Fn(&State) -> bool) -> Result<State> {
    let (mut events, mut last) = (adapter.events(), None);
    let wait = async {
        while let Some(event) = events.next().await {
            match event {
                AdapterEvent::State(state) if wanted(&state) => return Ok(state),
                AdapterEvent::State(state) => last = Some(state),
                AdapterEvent::ListChanged
                | AdapterEvent::ListUnknown
                | AdapterEvent::Changed(_)
                | AdapterEvent::ChangedUnknown => {}
            }
        }
        bail!("the events ended")
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| bail!("the last state was {last:?}"))
}

//! The adapter for legacy systems, against the stand-in and against servers of exact bytes.

mod answers;
mod limits;
pub(crate) mod listener;
mod requests;

use std::{sync::Arc, time::Duration};

use adapters::{Adapter, AdapterError, CallContext, Method, Reply, Request};
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use config::Effect;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tempfile::TempDir;
use tests::contract::{self, Fixture};

use self::listener::{Listener, Said, answer, head, ok};

/// How long anything here may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "token-of-the-mainframe-8f1c";

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() -> Result<()> {
    let server = Listener::start(|heard| match heard.target() {
        "/slow" => Said::ThenNothing(Vec::new()),
        "/oversized" => answer("200 OK", "", vec![b' '; 5000]),
        "/refused" => answer("422 Unprocessable Content", "content-type: text/plain\r\n", "NOT LIKE THIS"),
        _ => ok(r#"{"ok":true}"#),
    })
    .await?;
    let settings = "credential: { bearer: { file: token } }, answer_bytes_max: 4KiB, attempt_timeout: 10m";
    let tools = "
      quick: { effect: read, request: { path: /quick } }
      slow: { effect: read, request: { path: /slow } }
      oversized: { effect: read, request: { path: /oversized } }
      refused: { effect: read, request: { path: /refused } }
      misfit: { effect: read, request: { path: '/{number}' }, arguments: { number: { type: integer } } }";
    let reached = Connected::new(&server.url, settings, tools)?;
    let unreachable = Connected::new("http://127.0.0.1:1", settings, tools)?;
    contract::hold(&Contract { server, reached, unreachable }).await
}

struct Contract {
    server: Listener,
    reached: Connected,
    unreachable: Connected,
}

impl Fixture for Contract {
    fn adapter(&self) -> Arc<dyn Adapter> {
        self.reached.adapter.clone()
    }

    fn unreachable(&self) -> Arc<dyn Adapter> {
        self.unreachable.adapter.clone()
    }

    fn quick(&self) -> Request {
        request("quick", "{}", Effect::Read)
    }

    fn slow(&self) -> Request {
        request("slow", "{}", Effect::Read)
    }

    fn until_running(&self, count: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.server.until_held(count))
    }

    fn oversized(&self) -> Request {
        request("oversized", "{}", Effect::Read)
    }

    fn bytes_max(&self) -> usize {
        4 << 10
    }

    fn refused(&self) -> Request {
        request("refused", "{}", Effect::Read)
    }

    fn misfit(&self) -> Option<Request> {
        Some(request("misfit", r#"{"number":"one"}"#, Effect::Read))
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned(), "127.0.0.1".to_owned()]
    }
}

/// An adapter, and the folder that its config refers to.
struct Connected {
    adapter: Arc<dyn Adapter>,
    _dir: TempDir,
}

impl Connected {
    /// `settings` and `tools` are YAML, as they stand in `weir.yaml`; the tools in block style, indented by six.
    fn new(url: &str, settings: &str, tools: &str) -> Result<Self> {
        let dir = folder()?;
        let loaded = tests::harness::parse(&yaml(url, settings, tools), dir.path())?;
        let (name, downstream) = loaded.config.downstreams.first().context("a downstream")?;
        Ok(Self {
            adapter: adapters::build(name, downstream, &config::Sources::at(dir.path()), |_, _, _| {})?,
            _dir: dir,
        })
    }

    /// The result of a read.
    async fn read(&self, tool: &str, arguments: &str) -> Result<Value> {
        match self.ask(tool, arguments, Effect::Read).await? {
            Reply::Complete(bytes) => Ok(serde_json::from_slice(&bytes)?),
            other => bail!("not complete: {other:?}"),
        }
    }

    async fn ask(&self, tool: &str, arguments: &str, effect: Effect) -> Result<Reply, AdapterError> {
        self.ask_within(&contract::context(PATIENCE), tool, arguments, effect).await
    }

    async fn ask_within(
        &self,
        ctx: &CallContext,
        tool: &str,
        arguments: &str,
        effect: Effect,
    ) -> Result<Reply, AdapterError> {
        self.adapter.call(ctx, request(tool, arguments, effect)).await
    }

    async fn failure(&self, tool: &str, arguments: &str, effect: Effect) -> Result<AdapterError> {
        match tokio::time::timeout(PATIENCE, self.ask(tool, arguments, effect)).await.context("stuck")? {
            Ok(reply) => bail!("no failure but {reply:?}"),
            Err(error) => Ok(error),
        }
    }
}

/// A config in which everybody on loopback may use everything.
fn yaml(url: &str, settings: &str, tools: &str) -> String {
    format!(
        "identity: {{ local: {{ roles: [all] }} }}\npolicy: {{ roles: {{ all: {{ allow: ['*'] }} }} }}\n\
         downstreams:\n  mainframe:\n    mainframe: {{ base_url: '{url}', {settings} }}\n    tools:{tools}\n"
    )
}

/// A folder with the token that configs refer to.
fn folder() -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    tests::private_file(dir.path().join("token"), TOKEN)?;
    Ok(dir)
}

/// A call as the router hands it down.
fn request(tool: &str, arguments: &str, effect: Effect) -> Request {
    Request {
        method: Method::CallTool,
        local_name: tool.into(),
        params: Bytes::from(format!(r#"{{"name":"mainframe__{tool}","arguments":{arguments}}}"#)),
        arguments: Some(Bytes::copy_from_slice(arguments.as_bytes())),
        effect,
    }
}

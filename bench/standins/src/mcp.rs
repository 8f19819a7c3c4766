//! An MCP server that enriches payments: merchants, a customer's payments, patterns of fraud, and a log of what was
//! found out. Its customers are those of [`customers`](crate::customers) for the same seed. On request it also has
//! tools that are awkward to call.
//!
//! It is built on rmcp, and so it is what an implementation looks like that nobody wrote for us. rmcp's typed model
//! loses unknown fields, so servers that have them are played by [`raw`](crate::raw).

mod awkward;
mod enrichment;
pub(crate) mod gate;
mod handler;
mod http;
mod payments;
mod stdio;
#[cfg(test)]
mod tests;
mod websocket;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use rmcp::model::Tool;
use serde_json::Value;

use crate::customers::SEED;
use crate::observed::Observed;

pub use crate::listener::Running;
pub use awkward::LONG_NAME;

use crate::Era;
use awkward::Gathering;
use payments::Payments;

/// What a test that never reads the ledger can make it grow to.
const WRITES_MAX: usize = 100_000;

/// Which tools a server offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tools {
    #[default]
    Enrichment,
    /// Those, and the awkward ones.
    Awkward,
}

/// What kind of server to be.
#[derive(Clone)]
pub struct McpOptions {
    pub era: Era,
    pub tools: Tools,
    pub seed: u64,
    /// Only callers with this bearer token are served (HTTP and WebSocket).
    pub bearer: Option<String>,
}

impl Default for McpOptions {
    fn default() -> Self {
        Self { era: Era::default(), tools: Tools::default(), seed: SEED, bearer: None }
    }
}

impl fmt::Debug for McpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpOptions")
            .field("era", &self.era)
            .field("tools", &self.tools)
            .field("seed", &self.seed)
            .field("bearer", &self.bearer.as_ref().map(|_| "…"))
            .finish()
    }
}

/// What goes wrong in the server, for every tool.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Added to every call.
    pub delay_ms: u64,
    /// So many of the next calls are answered with an error of the tool, and not done.
    pub fail_next: u32,
    /// Calls are taken and never answered.
    pub hang: bool,
}

/// What the server saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub connections_open: usize,
    pub connections_total: usize,
    /// Pings that came over WebSockets.
    pub pings: usize,
    /// Calls that began, by tool.
    pub calls: BTreeMap<String, u64>,
    pub finished: u64,
    /// Calls whose caller took them back, or was gone.
    pub cancelled: u64,
    /// What `log_transaction_enrichment` was told, in order.
    pub writes: Vec<Write>,
}

impl Seen {
    /// How many calls of a tool began.
    pub fn called(&self, tool: &str) -> u64 {
        self.calls.get(tool).copied().unwrap_or_default()
    }
}

/// One call of `log_transaction_enrichment`.
#[derive(Clone, Debug)]
pub struct Write {
    /// The name that the client gave for itself.
    pub client: Option<String>,
    /// The header of that name, on the request or the WebSocket's upgrade.
    pub authorization: Option<String>,
    pub arguments: Value,
    /// The request's `_meta`.
    pub meta: Value,
}

/// The server. It may be served over several transports at once, with one ledger.
#[derive(Clone)]
pub struct McpServer(Arc<Inner>);

struct Inner {
    options: McpOptions,
    tools: Vec<Tool>,
    payments: Payments,
    faults: Mutex<Faults>,
    observed: Observed<Seen>,
    gathering: Gathering,
}

impl McpServer {
    pub fn new(options: McpOptions) -> Self {
        let mut tools = enrichment::tools();
        if options.tools == Tools::Awkward {
            tools.extend(awkward::tools());
        }
        let payments = Payments::generate(options.seed);
        Self(Arc::new(Inner {
            options,
            tools,
            payments,
            faults: Mutex::default(),
            observed: Observed::default(),
            gathering: Gathering::default(),
        }))
    }

    /// Serves WebSockets with the subprotocol `mcp`. Port 0 chooses a free one.
    pub async fn websocket(&self, bind: &str) -> Result<Running> {
        websocket::serve(self.clone(), bind).await
    }

    /// Serves streamable HTTP.
    pub async fn http(&self, bind: &str) -> Result<Running> {
        http::serve(self.clone(), bind).await
    }

    /// Serves this process's standard input and output until the input ends.
    pub async fn stdio(&self) -> Result<()> {
        stdio::serve(self.clone(), tokio::io::stdin(), tokio::io::stdout()).await
    }

    /// The same, and keeps a file in `folder` of what it saw, for a test that started this process through somebody else. The file has
    /// the number of the process as its name, and JSON in it: `{"running":0,"finished":0,"cancelled":0}`.
    pub async fn stdio_with_tally(&self, folder: &Path) -> Result<()> {
        tokio::select! {
            ended = self.stdio() => ended,
            kept = stdio::keep_tally(self.0.observed.subscribe(), folder) => kept.context("the tally cannot be written"),
        }
    }

    /// Replaces the faults, all of them.
    pub fn faults(&self, faults: Faults) {
        *self.0.faults.lock().expect("nothing panics while it holds this lock") = faults;
    }

    pub fn seen(&self) -> Seen {
        self.0.observed.get()
    }

    /// Waits until the server has seen something; an error after ten seconds.
    pub async fn wait_until(&self, reached: impl FnMut(&Seen) -> bool) -> Result<Seen> {
        self.0.observed.wait_until(reached).await?;
        Ok(self.seen())
    }

    /// The faults of one call, which is counted.
    fn next_faults(&self) -> Faults {
        let mut faults = self.0.faults.lock().expect("nothing panics while it holds this lock");
        let now = faults.clone();
        faults.fail_next = faults.fail_next.saturating_sub(1);
        now
    }

    /// Whether a request with this `Authorization` is served.
    fn admits(&self, authorization: Option<&str>) -> bool {
        self.0
            .options
            .bearer
            .as_ref()
            .is_none_or(|bearer| authorization.and_then(|value| value.strip_prefix("Bearer ")) == Some(bearer))
    }
}

impl fmt::Debug for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer").field("options", &self.0.options).finish_non_exhaustive()
    }
}

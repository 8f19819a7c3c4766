//! The load generator. Each cell starts what it needs on loopback, loads it in a closed loop and prints what it saw. Figures of one run are
//! comparable with each other, never with those of another machine or day.

mod audit;
mod cache;
mod compare;
mod failing;
mod judge;
mod limits;
mod load;
mod monitor;
mod overload;
mod responder;
mod weir;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use standins::{
    Era,
    mcp::{McpOptions, McpServer},
    raw::{Action, RawServer},
};

use load::{Load, Target};
use weir::Weir;

/// What the router costs beside calling the downstream directly.
#[derive(Debug, Parser)]
#[command(name = "weir-bench")]
struct Arguments {
    /// The cell to run.
    #[command(subcommand)]
    cell: Cell,
    /// How long each load lasts, in seconds. Not stated: as long as the cell needs.
    #[arg(long, global = true)]
    seconds: Option<u64>,
    /// Seconds instead of minutes, and figures of time are not judged: for a machine that does other work besides.
    #[arg(long, global = true)]
    short: bool,
    /// How many connections ask at once.
    #[arg(long, default_value_t = 16, global = true)]
    connections: usize,
}

#[derive(Debug, Subcommand)]
enum Cell {
    /// `tools/list` over 50 downstreams with 40 tools each, one of them dead.
    List,
    /// A small tool of an MCP server, asked directly over HTTP and through the router over WebSocket, in turn.
    Calls,
    /// The same tool asked directly, and through the router: not cached, and out of the cache by each of its ways; then a hundred callers who
    /// want the same at once. Needs redis-server.
    Cache,
    /// One limit over three routers, exactly; then a caller far over its limit beside others. Needs redis-server.
    Limits,
    /// What being counted costs a call that is answered out of the cache, in the process and in Redis. Needs redis-server.
    LimitCost,
    /// More than can be done: of a downstream, of the router's own processor, and of a downstream that stands still. Needs Postgres.
    Overload,
    /// What the audit log costs a write, whose intent has to be on the disk before it is sent. Needs nothing.
    Audit,
    /// A downstream that answers nothing but 503: how often it is asked, with its breaker and without. Needs nothing.
    Failing,
}

/// How much of a cell is run.
#[derive(Debug, Clone, Copy)]
struct Extent {
    seconds: Option<u64>,
    is_short: bool,
}

impl Extent {
    /// How long a load lasts for which these are the usual seconds of a whole run and of a short one.
    fn period(self, whole: u64, short: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.is_short { short } else { whole }))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let extent = Extent { seconds: arguments.seconds, is_short: arguments.short };
    let load = Load { connections: arguments.connections, period: extent.period(10, 2), obedient: false };
    match arguments.cell {
        Cell::List => list(&load).await,
        Cell::Calls => calls(&load).await,
        Cell::Cache => cache::run(&load).await,
        Cell::Limits => limits::run(extent).await,
        Cell::LimitCost => limits::cost(&load, extent).await,
        Cell::Overload => overload::run(extent).await,
        Cell::Audit => audit::run(extent).await,
        Cell::Failing => failing::run(extent).await,
    }
}

const DOWNSTREAMS: usize = 50;
const TOOLS_EACH: usize = 40;

async fn list(load: &Load) -> Result<()> {
    let mut servers = Vec::new();
    for _ in 1..DOWNSTREAMS {
        servers.push(many_tools().await?);
    }
    let mut downstreams = serde_json::Map::new();
    for (index, server) in servers.iter().enumerate() {
        downstreams.insert(format!("d{index:02}"), json!({ "mcp": { "websocket": { "url": server.url } } }));
    }
    // Nobody listens on the discard port of loopback.
    downstreams.insert("dead".to_owned(), json!({ "mcp": { "websocket": { "url": "ws://127.0.0.1:9/mcp" } } }));
    let weir = Weir::start(&json!({ "downstreams": downstreams })).await?;
    let all = (DOWNSTREAMS - 1) * TOOLS_EACH;
    let names = weir.until_tools(all).await?;
    println!("{all} tools of {} living downstreams are listed, the dead one's are not", DOWNSTREAMS - 1);

    let target = Target::new(&weir.endpoint, "tools/list", json!({}), "\"name\":\"d00__tool_00\"")?;
    println!("{}", load.run("tools/list, first page of 500", &target).await?);
    anyhow::ensure!(weir.tool_names().await? == names, "the order of the list changed under load");
    println!("the order of all {all} names is the same after the load");
    Ok(())
}

/// A server with [`TOOLS_EACH`] tools.
async fn many_tools() -> Result<RawServer> {
    let tool = |index: usize| {
        json!({
            "name": format!("tool_{index:02}"),
            "description": "Looks up one record of this system by its id and gives its fields.",
            "inputSchema": { "type": "object", "properties": { "id": { "type": "string", "description": "The id." } }, "required": ["id"] },
        })
    };
    let tools: Vec<Value> = (0..TOOLS_EACH).map(tool).collect();
    let result =
        json!({ "resultType": "complete", "ttlMs": 60_000, "cacheScope": "public", "tools": tools }).to_string();
    RawServer::start(Era::ModernOnly, move |incoming| {
        (incoming.method.as_deref() == Some("tools/list")).then(|| vec![Action::result(incoming, &result)])
    })
    .await
}

async fn calls(load: &Load) -> Result<()> {
    let server = McpServer::new(McpOptions::default());
    let http = server.http("127.0.0.1:0").await?;
    let websocket = server.websocket("127.0.0.1:0").await?;
    let settings = json!({ "mcp": { "websocket": { "url": websocket.url } }, "effects": [{ "match": "get_*", "effect": "read" }] });
    let weir = Weir::start(&json!({ "downstreams": { "enrich": settings } })).await?;
    weir.until_tools(4).await?;
    let merchant = json!({ "merchant_id": "M-0001" });
    let direct = Target::call(&http.url, "get_merchant", &merchant, "M-0001")?;
    let through = Target::call(&weir.endpoint, "enrich__get_merchant", &merchant, "M-0001")?;
    for round in 1..=3 {
        println!("round {round}");
        println!("{}", load.run("directly, over HTTP", &direct).await?);
        println!("{}", load.run("through Weir, over WebSocket", &through).await?);
    }
    let used = weir.cpu_seconds().context("the router's processor time")?;
    println!("processor time of the router: {used:.2} s");
    Ok(())
}

//! The stand-ins from a shell. What a program needs to know comes as one line on standard output; logs go to standard
//! error.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use standins::fixture::Fixture;
use standins::mainframe::{Mainframe, MainframeOptions};
use standins::mcp::{McpOptions, McpServer, Running, Tools};
use standins::postgres::{PgOptions, PrivatePg};
use standins::proxy::{Chance, Fault, FaultProxy};
use standins::tickets::{Tickets, TicketsOptions};
use standins::{Era, customers};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long a batch job waits, and then how long it runs.
const JOB_STEP: Duration = Duration::from_secs(2);

/// Honest systems to stand behind Weir, for trying things out.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(subcommand)]
    standin: Standin,
}

#[derive(Debug, Subcommand)]
enum Standin {
    /// An MCP server with tools for payments. Prints its URL.
    Mcp(Mcp),
    /// A private Postgres with customers, orders and invoices. Prints its URL.
    Postgres(Postgres),
    /// A slow legacy system with EBCDIC records. Prints its URL; `GET /__seen` shows what it saw, `POST /__trouble` makes
    /// it go wrong: `{"kind": {"status": 503}, "delay_ms": 500, "next": 3}`.
    Mainframe(Legacy),
    /// A ticketing service in Jira Cloud's shape. Prints its URL; `GET /__ledger` shows every write, `POST /__trouble`
    /// makes it go wrong.
    Tickets(Ticketing),
    /// The MCP server that the official conformance suite asks for. Prints its URL.
    Fixture(ConformanceFixture),
    /// A network that goes wrong, in front of any of them. Prints its address, and at its end how often each fault bit.
    Proxy(Network),
}

#[derive(Args, Debug)]
struct Network {
    /// Where the connections lead.
    #[arg(long, value_name = "ADDRESS")]
    target: SocketAddr,
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// As `latency:200ms`, `reset:after-request`, `trickle:1000ms`, `garbage`; several with --percent.
    #[arg(long, required = true)]
    fault: Vec<Fault>,
    /// Only in so many of a hundred exchanges.
    #[arg(long)]
    percent: Option<u8>,
    /// What decides which.
    #[arg(long, default_value_t = 1, requires = "percent")]
    seed: u64,
}

#[derive(Args, Debug)]
struct Mcp {
    #[command(flatten)]
    transport: Transport,
    /// both, legacy or modern
    #[arg(long, default_value = "both")]
    era: Era,
    /// Also offer the tools that are awkward to call.
    #[arg(long)]
    awkward: bool,
    #[arg(long, default_value_t = customers::SEED)]
    seed: u64,
    /// With --stdio: a folder in which to keep a file of what was seen.
    #[arg(long, value_name = "FOLDER", requires = "stdio")]
    tally: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Legacy {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// How long an answer takes: `0s`, `250ms`, `5s..10s`.
    #[arg(long, default_value = "5s..10s", value_parser = delay)]
    delay: RangeInclusive<Duration>,
    /// How many requests are worked on at once.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    #[arg(long, default_value_t = customers::SEED)]
    seed: u64,
}

#[derive(Args, Debug)]
struct Ticketing {
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    #[arg(long, default_value_t = customers::SEED)]
    seed: u64,
}

#[derive(Args, Debug)]
struct ConformanceFixture {
    #[command(flatten)]
    transport: Transport,
    /// both, legacy or modern
    #[arg(long, default_value = "both")]
    era: Era,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Transport {
    /// Serve WebSockets at this address, such as 127.0.0.1:0.
    #[arg(long, value_name = "ADDRESS")]
    websocket: Option<String>,
    /// Serve streamable HTTP at this address.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<String>,
    /// Serve standard input and output.
    #[arg(long)]
    stdio: bool,
}

#[derive(Args, Debug)]
struct Postgres {
    /// Listen on loopback too, with a password.
    #[arg(long)]
    tcp: bool,
    /// Leave the database empty.
    #[arg(long)]
    empty: bool,
    #[arg(long, default_value_t = customers::SEED)]
    seed: u64,
    /// A folder with the programs of Postgres, or one into which its packages were unpacked.
    #[arg(long, value_name = "FOLDER")]
    bin: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,rmcp=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match Command::parse().standin {
        Standin::Mcp(arguments) => mcp(arguments).await,
        Standin::Postgres(arguments) => postgres(arguments).await,
        Standin::Mainframe(arguments) => mainframe(arguments).await,
        Standin::Tickets(arguments) => tickets(arguments).await,
        Standin::Fixture(arguments) => fixture(arguments).await,
        Standin::Proxy(arguments) => proxy(arguments).await,
    }
}

async fn mcp(Mcp { transport, era, awkward, seed, tally }: Mcp) -> Result<()> {
    let tools = if awkward { Tools::Awkward } else { Tools::Enrichment };
    let server = McpServer::new(McpOptions { era, tools, seed, bearer: None });
    let running: Running = match transport {
        Transport { websocket: Some(address), .. } => server.websocket(&address).await?,
        Transport { http: Some(address), .. } => server.http(&address).await?,
        Transport { .. } => match tally {
            Some(folder) => return server.stdio_with_tally(&folder).await,
            None => return server.stdio().await,
        },
    };
    serve_until_told_to_end(running).await
}

async fn fixture(ConformanceFixture { transport, era }: ConformanceFixture) -> Result<()> {
    let fixture = Fixture::new(era);
    let running = match transport {
        Transport { websocket: Some(address), .. } => fixture.websocket(&address).await?,
        Transport { http: Some(address), .. } => fixture.http(&address).await?,
        Transport { .. } => return fixture.stdio().await,
    };
    serve_until_told_to_end(running).await
}

async fn postgres(Postgres { tcp, empty, seed, bin }: Postgres) -> Result<()> {
    let pg = PrivatePg::start(PgOptions { bin_dirs: bin, tcp, ..PgOptions::default() }).await?;
    if !empty {
        customers::load(pg.url(), seed).await?;
    }
    println!("{}", pg.url());
    told_to_end().await?;
    pg.stop().await
}

async fn mainframe(Legacy { listen, delay, concurrency, seed }: Legacy) -> Result<()> {
    let job_step = Some(JOB_STEP);
    let options = MainframeOptions { delay, concurrency, seed, job_step, ..MainframeOptions::default() };
    let mainframe = Mainframe::start(&listen, options).await?;
    println!("{}", mainframe.url);
    told_to_end().await?;
    mainframe.stop().await;
    Ok(())
}

async fn tickets(Ticketing { listen, seed }: Ticketing) -> Result<()> {
    let tickets = Tickets::start(&listen, TicketsOptions { seed, ..TicketsOptions::default() }).await?;
    println!("{}", tickets.url);
    told_to_end().await?;
    tickets.stop().await;
    Ok(())
}

async fn proxy(Network { target, listen, fault, percent, seed }: Network) -> Result<()> {
    let proxy = FaultProxy::start_at(&listen, target).await?;
    match (percent, &fault[..]) {
        (Some(percent), _) => proxy.set_chance(Chance { faults: fault, percent, seed })?,
        (None, [fault]) => proxy.set(*fault).await?,
        (None, _) => {
            anyhow::bail!("of several faults each comes by chance: say in how many of a hundred with --percent")
        }
    }
    println!("{}", proxy.addr());
    told_to_end().await?;
    for (fault, times) in proxy.stats().bites {
        eprintln!("{fault}: {times}");
    }
    proxy.stop().await;
    Ok(())
}

/// As `5s..10s`, or one duration for always the same.
fn delay(text: &str) -> Result<RangeInclusive<Duration>> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (duration(least)?, duration(most)?);
    anyhow::ensure!(least <= most, "the shorter delay comes first");
    Ok(least..=most)
}

fn duration(text: &str) -> Result<Duration> {
    let (number, unit_ms) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or_default(), 1_000),
    };
    let number: u32 = number.parse().with_context(|| format!("`{text}` is no duration such as 250ms or 5s"))?;
    Ok(Duration::from_millis(u64::from(number) * unit_ms))
}

async fn serve_until_told_to_end(running: Running) -> Result<()> {
    println!("{}", running.url);
    told_to_end().await?;
    running.stop().await;
    Ok(())
}

/// Ctrl-C, or what a supervisor sends.
async fn told_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}

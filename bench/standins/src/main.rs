//! The stand-ins from a shell. What a program needs to know comes as one line on standard output; logs go to standard
//! error.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use standins::fixture::Fixture;
use standins::mcp::{McpOptions, McpServer, Running, Tools};
use standins::postgres::{PgOptions, PrivatePg};
use standins::{Era, customers};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

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
    /// The MCP server that the official conformance suite asks for. Prints its URL.
    Fixture(ConformanceFixture),
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
        Standin::Fixture(arguments) => fixture(arguments).await,
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

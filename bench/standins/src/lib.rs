//! Honest systems to stand behind the router, shared by the demo, the tests and the load tests. They depend on no crate
//! of Weir, so whatever they believe about a protocol they did not learn from us.
//!
//! | module | stands for | start |
//! |---|---|---|
//! | [`postgres`] | a Postgres that nobody else uses | [`PrivatePg::start`](postgres::PrivatePg::start) |
//! | [`redis`] | a Redis that nobody else uses; with sentinels, or as a cluster | [`PrivateRedis::start`](redis::PrivateRedis::start) |
//! | [`customers`] | what is in it: customers, orders, invoices | [`customers::load`] |
//! | [`mcp`] | an MCP server for payments, with awkward tools too | [`McpServer::new`](mcp::McpServer::new), then a transport |
//! | [`mainframe`] | a slow legacy system: EBCDIC records, error screens, batch jobs | [`Mainframe::start`](mainframe::Mainframe::start) |
//! | [`tickets`] | a ticketing service in the shape of Jira Cloud, with a ledger | [`Tickets::start`](tickets::Tickets::start) |
//! | [`raw`] | an MCP server of exact bytes over WebSocket | [`RawServer::start`](raw::RawServer::start) |
//! | [`fixture`] | the MCP server of the conformance suite | [`Fixture::new`](fixture::Fixture::new), then a transport |
//! | [`faults`] | what can go wrong in the HTTP servers among them | `trouble` of their handles |
//! | [`nginx`] | the proxy that a company has in front already | [`PrivateNginx::start`](nginx::PrivateNginx::start) |
//! | [`vault`] | a HashiCorp Vault with tokens, AppRole and a KV engine | [`Vault::start`](vault::Vault::start) |
//! | [`syslog`] | a collector of log messages | [`Collector::tcp`](syslog::Collector::tcp) |
//! | [`proxy`] | a network that goes wrong | [`FaultProxy::start`](proxy::FaultProxy::start) |
//!
//! Everything listens on loopback, on a port of its own choice where the address says 0, and stops when its handle is
//! dropped; `stop().await` waits for it. Data comes from a seed. Tests do not sleep: each stand-in keeps what it saw,
//! and its `wait_until` waits for that, ten seconds at most.
//!
//! ```no_run
//! use standins::mcp::{McpOptions, McpServer, Tools};
//! use standins::postgres::{PgOptions, PrivatePg};
//! use standins::proxy::{Fault, FaultProxy};
//! use standins::{Era, customers};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let pg = PrivatePg::start(PgOptions::default()).await?;
//! customers::load(pg.url(), customers::SEED).await?;
//!
//! let server = McpServer::new(McpOptions { era: Era::LegacyOnly, tools: Tools::Awkward, ..McpOptions::default() });
//! let websocket = server.websocket("127.0.0.1:0").await?;
//! let proxy = FaultProxy::start(websocket.addr).await?;
//! // … let the router call `slow` at ws://{proxy.addr()}/mcp, and then:
//! server.wait_until(|seen| seen.called("slow") == 1).await?;
//! proxy.set(Fault::Blackhole).await?;
//! # Ok(())
//! # }
//! ```

pub mod customers;
mod era;
pub mod faults;
pub mod fixture;
mod listener;
pub mod mainframe;
pub mod mcp;
pub mod nginx;
mod observed;
pub mod postgres;
mod program;
pub mod proxy;
mod random;
pub mod raw;
pub mod redis;
mod supervised;
pub mod syslog;
pub mod tickets;
pub mod vault;
mod web;
pub mod witness;

pub use era::Era;
pub use listener::free_port;

//! The router: everything a caller can notice. The binary `weir` is a thin command line around it.
//!
//! One `tools/call` goes top to bottom: [`server`] (socket) → [`front`] (host, origin, route) → [`auth`] (who) → [`mcp`] (the
//! protocol's edge; beside it the plain JSON API) → [`call`] (the spine: every decision, in order) → [`guard`] (deadline, slots) → the
//! adapter.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod bridge;
pub mod call;
pub mod catalog;
mod downstream;
pub mod error;
pub mod front;
pub mod guard;
mod invalidate;
mod limit;
pub mod mcp;
mod name;
mod pages;
pub mod pairs;
mod plain;
pub mod policy;
mod router;
mod scan;
mod seal;
pub mod server;
mod shared;
mod start;
pub mod telemetry;

pub use downstream::Downstream;
pub use name::{SEPARATOR, ToolName};
pub use router::{Router, ToolLine};
pub use server::serve_io;
pub use shared::try_redis;
pub use start::{Running, StartError, start};

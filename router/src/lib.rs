//! The router: everything a caller can notice. The binary `weir` is a thin command line around it.
//!
//! One `tools/call` goes top to bottom: [`server`] (socket) → [`front`] (host, origin, route) → [`auth`] (who) → [`mcp`] (the
//! protocol's edge; beside it the plain JSON API) → [`call`] (the spine: every decision, in order) → [`guard`] (deadline, line) → the
//! adapter.

pub mod admin;
pub mod audit;
pub mod auth;
pub mod bridge;
pub mod call;
pub mod catalog;
pub mod definitions;
mod downstream;
pub mod error;
pub mod front;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod guard;
mod invalidate;
mod limits;
mod line;
mod live;
mod load;
mod masking;
pub mod mcp;
mod name;
mod operations;
mod own;
mod pages;
pub mod pairs;
mod plain;
pub mod policy;
mod reload;
mod router;
mod scan;
mod seal;
pub mod server;
mod settled;
mod shared;
mod shed;
mod start;
pub mod telemetry;

pub use downstream::Downstream;
pub use live::Live;
pub use load::load;
pub use name::{SEPARATOR, ToolName};
pub use operations::IdempotencyKey;
pub use reload::Refused;
pub use router::{Router, ToolLine};
pub use server::serve_io;
pub use shared::try_redis;
pub use start::{Running, StartError, start};

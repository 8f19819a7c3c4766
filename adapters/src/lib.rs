//! How to talk to one downstream: the [`Adapter`] trait, an adapter for each kind, and the one place where they are registered.
//!
//! Above the trait every downstream is the same; below it nothing is shared. Adapters never see HTTP or a caller's JSON-RPC ids.

mod adapter;
mod address;
mod arguments;
mod caller;
mod context;
mod credential;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod health;
mod http;
pub mod json;
mod mainframe;
pub mod mcp;
pub mod mirror;
mod number;
mod outgoing;
pub mod postgres;
mod reconnect;
mod registry;
mod room;
mod secrets;
pub mod sse;
mod state;
mod ticketing;
mod tls;
mod trace;

pub use adapter::{
    Adapter, AdapterEvent, CallerInput, CallerInputs, LeftOut, Looked, Method, Offer, OfferedTool, Reply, Request,
    Sought,
};
pub use caller::{AuthMethod, Caller, Principal};
pub use context::{CallContext, Deadline, MaskNotice, Notice, Notices, SendGate, WriteCall};
pub use credential::TokenMeter;
pub use error::{AdapterError, ErrorClass, Rejection, Sent};
pub use outgoing::{Outgoing, OutgoingError};
pub use reconnect::Delays;
pub use registry::{BuildError, Mistake, build, check};
pub use secrets::{SecretFetcher, is_same as are_same_secrets};
pub use state::{Health, State};
pub use trace::TraceContext;

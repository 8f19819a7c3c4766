//! What the tests share: a router on free ports, a client that speaks plain HTTP to it, and the contract of every adapter.
#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc, reason = "in tests an error is a failed test")]

pub mod ask;
pub mod canary;
pub mod contract;
pub mod fleet;
pub mod harness;
pub mod history;
pub mod issuer;
pub mod log;
pub mod nginx;
pub mod programs;
pub mod tls;

pub use ask::{Ask, Events, events, hang_up, keys, open_house, speak, write_keys};
pub use fleet::Fleet;
pub use harness::{ADMIN_TOKEN, Answer, PATIENCE, TestRouter, modern_request, private_file, until};
pub use history::{Counts, History, Told};
pub use issuer::{Issuer, SigningKey};
pub use tls::{secure_router, secured};

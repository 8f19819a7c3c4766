//! Honest systems to stand behind the router, shared by the demo, the tests and the load tests.

pub mod customers;
mod era;
pub mod fixture;
mod listener;
pub mod mcp;
mod observed;
pub mod postgres;
pub mod proxy;
mod random;
pub mod raw;

pub use era::Era;

//! Honest systems to stand behind the router, shared by the demo, the tests and the load tests.

pub mod customers;
pub mod postgres;
mod random;

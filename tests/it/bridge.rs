//! The stdio bridge between a client and a router, both played by the test.

mod legacy;
mod modern;
mod real;
pub(crate) mod script;
mod trouble;

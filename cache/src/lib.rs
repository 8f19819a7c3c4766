//! What a cache lookup came to, and why. Knows keys, values and time, nothing of MCP.

mod outcome;

pub use outcome::{Bypass, Outcome};

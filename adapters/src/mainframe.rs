//! Legacy systems over HTTP.

pub(crate) mod codec;

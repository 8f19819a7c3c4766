//! The steps one by one, against a real server.

pub(crate) use super::scripts::names;

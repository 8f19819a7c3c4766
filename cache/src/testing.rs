//! Keys for the tests of what is stored under them.

use std::collections::BTreeSet;

use crate::key::{Canonical, Key, KeyMaker, Partition, Parts};

/// The key of one call among many.
pub(crate) fn key(call: usize) -> Key {
    let arguments = Canonical::of(format!(r#"{{"call":{call}}}"#).as_bytes()).expect("a small object");
    KeyMaker::new(&[1; 32]).key(&Parts {
        downstream: "mainframe",
        config_revision: b"1",
        tool: "get_account",
        definition: b"1",
        arguments: &arguments,
        partition: &Partition::Shared { credential: b"service", roles: BTreeSet::new() },
        mask: None,
    })
}

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

/// A handle on a Redis of a test's own, which is up. Its times are such that a busy machine keeps them too.
#[cfg(test)]
pub(crate) async fn redis_at(kind: crate::redis::Kind, url: String) -> anyhow::Result<crate::redis::Redis> {
    use std::time::Duration;

    use anyhow::Context as _;

    let redis = crate::redis::Redis::keeping(crate::redis::Settings {
        kind,
        url: url.into(),
        prefix: "test".to_owned(),
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
        value_timeout: Duration::from_secs(5),
    })?;
    let mut changes = redis.link_changes();
    let up = changes.wait_for(|link| link.state == crate::redis::LinkState::Up);
    tokio::time::timeout(Duration::from_secs(20), up).await.context("Redis does not come up")??;
    Ok(redis)
}

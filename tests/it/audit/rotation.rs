//! Many writes across many segments, sealed, while the config is read again.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use router::audit::{age::Identity, segment};
use serde_json::json;
use tests::{Fleet, log, open_house, until};

/// How many writes, and how many of them at once.
const WRITES: usize = 600;
const AT_ONCE: usize = 20;
/// Stands in each call.
const READABLE: &str = "a customer of ours";

#[tokio::test(flavor = "multi_thread")]
async fn no_write_is_lost_across_segments_and_reloads_and_nobody_but_the_identity_reads_them() -> Result<()> {
    let (server, dir, identity) = (super::server().await?, tempfile::tempdir()?, Identity::generate());
    let keys = tests::keys(dir.path(), &[("alice", &["all"])])?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["downstreams"]["raw"]["effects"] = json!([{ "match": "*", "effect": "write" }]);
    config["audit"] = json!({
        "dir": "audit", "recipient": identity.recipient().to_string(), "segment_bytes_max": "64KiB", "checkpoint_every": "1s",
    });
    let mut fleet = Fleet::start(1, dir, config).await?;
    let reloads = async || fleet.metric(0, "weir_config_reloads_total", "").await;
    let before = reloads().await?;
    for batch in 0..WRITES / AT_ONCE {
        if batch % 10 == 5 {
            fleet.signal(0, "HUP").await?;
        }
        let call = async |_| fleet.call(0, &keys[0], "raw__fine", json!({ "text": READABLE.repeat(30) })).await;
        for answer in try_join_all((0..AT_ONCE).map(call)).await? {
            ensure!(answer.result()?["isError"] != true, "{answer:?}");
        }
    }
    until("it was read again", async || Ok((reloads().await? > before).then_some(()))).await?;
    fleet.signal(0, "TERM").await?;
    fleet.ended(0).await?;

    let folder = fleet.folder().join("audit");
    let records = log::all(&folder, Some(&identity))?;
    let (calls, intents) = (log::of_kind(records.clone(), "call"), log::of_kind(records, "intent"));
    ensure!(calls.len() == WRITES && intents.len() == WRITES, "{} records, {} intents", calls.len(), intents.len());
    let ids = |records: &[serde_json::Value]| {
        records.iter().map(|record| record["request_id"].to_string()).collect::<std::collections::BTreeSet<_>>()
    };
    ensure!(ids(&calls) == ids(&intents) && ids(&calls).len() == WRITES);
    let segments: Vec<_> =
        segment::chains(&folder)?.into_values().flat_map(std::collections::BTreeMap::into_values).collect();
    ensure!(segments.len() > 10, "{} segments", segments.len());
    for path in &segments {
        ensure!(fs::metadata(path)?.permissions().mode() & 0o777 == 0o600, "{}", path.display());
        let text = fs::read_to_string(path)?;
        for word in [READABLE, "alice", "raw__fine", "fine"] {
            ensure!(!text.contains(word), "{}: {word}", path.display());
        }
    }
    Ok(())
}

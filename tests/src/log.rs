//! The audit log on the disk, as a test reads it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result, ensure};
use router::audit::{
    age::Identity,
    entry::{Body, Header},
    hash::Hash,
    seal::DataKey,
    segment::{self, Reader},
};
use serde_json::Value;

/// Every record of the log in `dir`, chain by chain. Each line is found to follow from the one before.
pub fn all(dir: &Path, identity: Option<&Identity>) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    for segments in segment::chains(dir)?.into_values() {
        records.extend(chain(&segments, identity)?);
    }
    Ok(records)
}

/// The final records of calls alone.
pub fn calls(dir: &Path) -> Result<Vec<Value>> {
    Ok(of_kind(all(dir, None)?, "call"))
}

/// The records of one kind.
#[must_use]
pub fn of_kind(records: Vec<Value>, kind: &str) -> Vec<Value> {
    records.into_iter().filter(|record| record["kind"] == kind).collect()
}

fn chain(segments: &BTreeMap<u32, std::path::PathBuf>, identity: Option<&Identity>) -> Result<Vec<Value>> {
    let (mut records, mut seq, mut head) = (Vec::new(), 0, Hash::NONE);
    for path in segments.values() {
        let (mut reader, mut key) = (Reader::open(path)?, None);
        while let Some(line) = reader.next()? {
            let entry =
                line.entry().with_context(|| format!("{}: {}", path.display(), String::from_utf8_lossy(line.bytes)))?;
            ensure!((entry.seq, entry.prev) == (seq, head), "{}: line {} does not follow", path.display(), entry.seq);
            match entry.body {
                Body::Segment(text) => {
                    let header: Header = serde_json::from_str(text)?;
                    key = identity.map(|identity| DataKey::unwrap(identity, &header)).transpose()?;
                }
                Body::Record(text) => records.push(serde_json::from_str(text)?),
                Body::Sealed(sealed) => {
                    let key = key.as_ref().context("the identity of a sealed log")?;
                    records.push(serde_json::from_str(&key.open(entry.seq, sealed).context("a sealed record")?)?);
                }
                Body::Checkpoint { .. } => {}
            }
            (seq, head) = (seq + 1, line.hash());
        }
    }
    Ok(records)
}

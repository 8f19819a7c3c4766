//! Takes away whole segments that are old enough, and leaves a signed tombstone in their place.

use std::{collections::BTreeMap, fs, io, path::Path};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{
    entry::{Body, Checkpoint, Header},
    hash::Hash,
    segment::{self, Reader},
    signing::SigningKey,
    tombstone::{self, Tombstone},
    verify::{End, Report, Step, plan},
};

/// What was pruned, or would be.
#[derive(Debug, Default, Serialize)]
pub struct Pruned {
    /// The files that are gone.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// The records in them.
    pub records: u64,
    /// Why chains with old segments were left as they are.
    pub left: Vec<String>,
}

/// How far a chain was read.
#[derive(Debug, Clone, Copy)]
struct Reached {
    segment: u32,
    seq: Option<u64>,
    head: Hash,
    checkpoint: Hash,
    records: u64,
}

/// Takes away the segments of which no record is younger than `before`. `report` is what a verification of the folder just found: a chain with
/// a damage is left as it is, since it is evidence.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn prune(
    dir: &Path,
    report: &Report,
    before: Timestamp,
    now: Timestamp,
    key: Option<&SigningKey>,
) -> io::Result<Pruned> {
    let mut pruned = Pruned::default();
    let mut tombstones = Vec::new();
    let mut files = Vec::new();
    let earlier: BTreeMap<Uuid, Tombstone> =
        tombstone::read_all(dir)?.into_iter().map(|(tombstone, _)| (tombstone.chain, tombstone)).collect();
    let chains = segment::chains(dir)?;
    let ends = ends(&chains)?;
    for (&chain, segments) in &chains {
        let plan = plan::of(segments)?;
        let whole_until = report.chains.iter().find(|found| found.chain == chain).and_then(|found| match found.end {
            End::Ended => found.to,
            End::Died => ends.get(&chain).copied(),
            End::Open => None,
        });
        let Some((last, until)) = old_enough(&plan, whole_until, before)? else { continue };
        // Where damages were so many that not all are named, any chain may have one.
        if report.further_damages > 0 || report.damages.iter().any(|damage| damage.chain == chain) {
            pruned.left.push(format!("{chain}: it is damaged, and evidence of that"));
            continue;
        }
        let reached = read(&plan, last, earlier.get(&chain))?;
        if let Some(seq) = reached.seq {
            pruned.records += reached.records - earlier.get(&chain).map_or(0, |earlier| earlier.records);
            tombstones.push(Tombstone {
                v: 1,
                chain,
                segment: reached.segment,
                seq,
                head: reached.head,
                checkpoint: reached.checkpoint,
                records: reached.records,
                last: until,
                time: now,
                public_key: key.map(|key| key.public().to_base64()).unwrap_or_default(),
            });
            files.extend(segments.range(..=last).map(|(_, path)| path.clone()));
        }
    }
    for path in &files {
        pruned.bytes += fs::metadata(path)?.len();
        pruned.files.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    if let Some(key) = key.filter(|_| !files.is_empty()) {
        // The tombstones first: segments that are still there are no damage, and the next run takes them away.
        tombstone::append(dir, &tombstones, key)?;
        files.iter().try_for_each(fs::remove_file)?;
        fs::File::open(dir)?.sync_all()?;
    }
    Ok(pruned)
}

/// The last segment that is old enough, and a time after which nothing was written into it: that of the segment after it, or of the chain's end.
fn old_enough(
    plan: &[Step],
    whole_until: Option<Timestamp>,
    before: Timestamp,
) -> io::Result<Option<(u32, Timestamp)>> {
    let mut found = None;
    for (at, step) in plan.iter().enumerate() {
        let until = match plan.get(at + 1) {
            Some(next) => plan::header(&next.path)?.map(|header: Header| header.time),
            None => whole_until,
        };
        match until {
            Some(until) if until < before => found = Some((step.number, until)),
            _ => break,
        }
    }
    Ok(found)
}

/// When chains were found to have ended by a start after them.
fn ends(chains: &BTreeMap<Uuid, BTreeMap<u32, std::path::PathBuf>>) -> io::Result<BTreeMap<Uuid, Timestamp>> {
    let mut ends = BTreeMap::new();
    for segments in chains.values() {
        let Some((_, first)) = segments.first_key_value() else { continue };
        let mut reader = Reader::open(first)?;
        reader.next()?;
        let Some(line) = reader.next()? else { continue };
        let Ok(Body::Checkpoint { text, .. }) = line.entry().map(|entry| entry.body) else { continue };
        let Ok(start) = serde_json::from_str::<Checkpoint>(text) else { continue };
        for before in start.before.iter().filter(|before| !before.running) {
            ends.insert(before.chain, start.time);
        }
    }
    Ok(ends)
}

/// Reads the chain up to the end of a segment.
fn read(plan: &[Step], last: u32, earlier: Option<&Tombstone>) -> io::Result<Reached> {
    let mut reached = earlier.map_or(
        Reached { segment: 0, seq: None, head: Hash::NONE, checkpoint: Hash::NONE, records: 0 },
        |earlier| Reached {
            segment: earlier.segment,
            seq: Some(earlier.seq),
            head: earlier.head,
            checkpoint: earlier.checkpoint,
            records: earlier.records,
        },
    );
    let gone = reached.segment;
    for step in plan.iter().filter(|step| (gone + 1..=last).contains(&step.number)) {
        let mut reader = Reader::open(&step.path)?;
        while let Some(line) = reader.next()?.filter(|line| step.bytes_max.is_none_or(|most| line.at < most)) {
            let Ok(entry) = line.entry() else { continue };
            (reached.seq, reached.head) = (Some(entry.seq), line.hash());
            match entry.body {
                Body::Record(_) | Body::Sealed(_) => reached.records += 1,
                Body::Checkpoint { text, .. } => reached.checkpoint = Hash::of(text.as_bytes()),
                Body::Segment(_) => {}
            }
        }
    }
    reached.segment = last;
    Ok(reached)
}

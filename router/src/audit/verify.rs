//! Whether a log is what was written. Nothing of it needs the identity that opens sealed records; with it they are opened as well.
//!
//! Chains are read from the newest to the oldest, and the anchor before all of them: what names a line was then read before the line is looked
//! for, and a router that goes on writing meanwhile gives no false alarm.

mod anchor;
mod damage;
mod keys;
pub(super) mod plan;
mod walk;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{
    age::Identity,
    entry::Before,
    hash::Hash,
    segment,
    tombstone::{self, Tombstone},
};
pub use damage::{Damage, Kind};
pub use keys::{Keys, KeysError};
pub(super) use plan::Step;
use walk::Walk;

/// How many damages are told one by one.
const DAMAGES_MAX: usize = 1000;

/// What is verified, and against what.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The folder of the log.
    pub dir: PathBuf,
    /// The file elsewhere with the checkpoints.
    pub anchor: Option<PathBuf>,
    /// Opens sealed records.
    pub identity: Option<&'a Identity>,
    /// The keys that may have signed.
    pub keys: Keys,
    /// Now.
    pub now: Timestamp,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What is not as it was written; in each chain in its order.
    pub damages: Vec<Damage>,
    /// Damages beyond those.
    pub further_damages: usize,
    /// What is no damage and worth knowing.
    pub notes: Vec<String>,
    /// The chains, the oldest first.
    pub chains: Vec<Chain>,
    /// How many lines were read.
    pub lines: u64,
    /// How many of them are records.
    pub records: u64,
    /// How many checkpoints had a right signature.
    pub checkpoints: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// The keys whose signatures were found, in base64.
    pub signed_by: BTreeSet<String>,
    /// Whether those keys were compared with one that the reader brought.
    pub keys_were_given: bool,
    /// How many checkpoints of the anchor were found in the log. None without an anchor.
    pub anchored: Option<u64>,
}

/// What was found in one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// The chain.
    pub chain: Uuid,
    /// Who wrote it.
    pub instance: String,
    /// How many segments are there.
    pub segments: usize,
    /// How many lines.
    pub lines: u64,
    /// How many records.
    pub records: u64,
    /// When it began.
    pub from: Option<Timestamp>,
    /// The time of its last checkpoint.
    pub to: Option<Timestamp>,
    /// How it ends.
    pub end: End,
    /// Whether its beginning was pruned.
    pub pruned: bool,
}

/// How a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The process ended in order.
    Ended,
    /// A later start says that the process was gone, and where its chain ended.
    Died,
    /// It is being written, or its process died and none started since.
    Open,
}

impl Report {
    /// The gravest damage; none in a log that is as it was written.
    #[must_use]
    pub fn gravest(&self) -> Option<&Damage> {
        self.damages.iter().min_by_key(|damage| damage.kind)
    }

    pub(super) fn add(&mut self, damage: Damage) {
        if self.damages.len() < DAMAGES_MAX {
            self.damages.push(damage);
        } else {
            self.further_damages += 1;
        }
    }
}

/// What other places say about one chain.
#[derive(Debug, Default)]
struct Known {
    /// Checkpoints in the anchor: by their line, the hash of their text, and their time.
    anchored: BTreeMap<u64, (Hash, Timestamp)>,
    /// What later starts found of it.
    named: Vec<Named>,
    /// Where it begins after what was pruned.
    pruned: Option<Tombstone>,
}

/// A chain as a later start found it.
#[derive(Debug)]
struct Named {
    /// The start that says so.
    by: Uuid,
    before: Before,
}

/// Verifies the log in a folder, in memory that does not grow with it.
///
/// # Errors
/// When the folder, a segment or the anchor cannot be read.
pub fn verify(settings: Settings<'_>) -> io::Result<Report> {
    let Settings { dir, anchor, identity, keys, now } = settings;
    let mut report = Report { keys_were_given: keys.were_given(), ..Report::default() };
    let mut known: BTreeMap<Uuid, Known> = BTreeMap::new();
    if let Some(anchor) = &anchor {
        report.anchored = Some(0);
        anchor::read(anchor, &keys, &mut known, &mut report)?;
    }
    let chains = segment::chains(&dir)?;
    for (pruned, signature) in tombstone::read_all(&dir)? {
        let known = known.entry(pruned.chain).or_default();
        if anchor::judge_tombstone(&pruned, &signature, known, &keys, now, &mut report) {
            known.pruned = Some(pruned);
        }
    }
    let mut read: BTreeMap<Uuid, walk::Finish> = BTreeMap::new();
    for (&chain, segments) in chains.iter().rev() {
        let known_of_it = known.remove(&chain).unwrap_or_default();
        let plan = plan::of(segments)?;
        let mut walk = Walk::new(chain, known_of_it, &keys, identity, &mut report);
        walk.read(&plan)?;
        let finish = walk.finish(segments.len());
        for before in &finish.before {
            let named = Named { by: chain, before: before.clone() };
            match read.get(&before.chain) {
                // Its clock went back: the older chain has the newer name, and was read already.
                Some(read) => read.compare(&named, &mut report),
                None => known.entry(before.chain).or_default().named.push(named),
            }
        }
        report.chains.push(finish.chain.clone());
        read.insert(chain, finish);
    }
    known.iter().for_each(|(&chain, known)| anchor::missing(chain, known, &mut report));
    if report.chains.is_empty() && report.damages.is_empty() {
        report.notes.push("There is no audit log in this folder.".to_owned());
    }
    report.chains.reverse();
    Ok(report)
}

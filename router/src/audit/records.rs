//! The records of a folder, of all its chains, in the order of their times and in memory that does not grow with them.

mod chain;
mod filter;

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    ops::ControlFlow,
    path::Path,
};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{age::Identity, segment, verify::plan};
use chain::Cursor;
pub use filter::{Filter, Head};

/// One record, and where it stands.
#[derive(Debug)]
pub struct Found {
    /// Its chain.
    pub chain: Uuid,
    /// The number of its line there.
    pub seq: u64,
    /// When it happened.
    pub time: Timestamp,
    /// The record as JSON.
    pub text: String,
}

/// What could not be read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Records that were sealed, and no identity was given, or not theirs.
    pub sealed: u64,
    /// Lines that are none.
    pub damaged: u64,
}

/// Gives each record that `filter` lets through to `take`, until that has enough. Records of one chain come in the order in which they were written;
/// between chains by time.
///
/// # Errors
/// When the folder or a segment cannot be read, or `take` fails.
pub fn each(
    dir: &Path,
    identity: Option<&Identity>,
    filter: &Filter,
    mut take: impl FnMut(Found) -> io::Result<ControlFlow<()>>,
) -> io::Result<Unread> {
    let mut unread = Unread::default();
    let mut cursors: BTreeMap<Uuid, Cursor<'_>> = BTreeMap::new();
    let mut next: BinaryHeap<Reverse<(Timestamp, Uuid)>> = BinaryHeap::new();
    for (chain, segments) in segment::chains(dir)? {
        let plan = plan::of(&segments)?;
        let Some(first) = plan.first() else { continue };
        // A chain is opened when its time has come: only those that ran at the same time are open at once.
        let begun = plan::header(&first.path)?.map_or(Timestamp::MIN, |header| header.time);
        cursors.insert(chain, Cursor::new(chain, plan, identity));
        next.push(Reverse((begun, chain)));
    }
    while let Some(Reverse((_, chain))) = next.pop() {
        let Some(cursor) = cursors.get_mut(&chain) else { continue };
        if let Some(found) = cursor.take()
            && take(found)?.is_break()
        {
            break;
        }
        if let Some(time) = cursor.advance(filter, &mut unread)? {
            next.push(Reverse((time, chain)));
        } else {
            cursors.remove(&chain);
        }
    }
    Ok(unread)
}

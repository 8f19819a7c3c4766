//! Which segments of a chain count, and how much of each.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::audit::{
    entry::{Body, Header},
    segment::Reader,
};

/// One segment that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) struct Step {
    pub(in crate::audit) number: u32,
    pub(in crate::audit) path: PathBuf,
    /// Where it was given up because it could not be written any more: what stands beyond was written anew in the next one.
    pub(in crate::audit) bytes_max: Option<u64>,
}

/// The segments that count, in order. A segment that was given up as a whole is not among them; that is what the next one says, and what it says
/// is in the chain. Where a first line cannot be read, the segments are taken in the order of their numbers.
pub(in crate::audit) fn of(segments: &BTreeMap<u32, PathBuf>) -> io::Result<Vec<Step>> {
    let mut plan = Vec::with_capacity(segments.len());
    let mut bytes_max = None;
    let mut next = segments.last_key_value();
    while let Some((&number, path)) = next {
        plan.push(Step { number, path: path.clone(), bytes_max });
        let after =
            header(path)?.and_then(|header| header.after).filter(|after| after.failed && after.segment < number);
        bytes_max = after.map(|after| after.bytes);
        next = match after {
            // The failed one itself may have been pruned, or never come to be: then the one before it counts.
            Some(after) => segments.range(..=after.segment).next_back(),
            None => segments.range(..number).next_back(),
        };
        if let (Some(after), Some((&found, _))) = (after, next)
            && found != after.segment
        {
            bytes_max = None;
        }
    }
    plan.reverse();
    Ok(plan)
}

/// What the first line of a segment says, if it can be read.
pub(in crate::audit) fn header(path: &Path) -> io::Result<Option<Header>> {
    let mut reader = Reader::open(path)?;
    let Some(line) = reader.next()? else { return Ok(None) };
    Ok(match line.entry().map(|entry| entry.body) {
        Ok(Body::Segment(text)) => serde_json::from_str(text).ok(),
        _ => None,
    })
}

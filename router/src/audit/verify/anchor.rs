//! The anchor: checkpoints in a file elsewhere, which whoever rewrites the log cannot rewrite with it.

use std::{collections::BTreeMap, io, path::Path};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Damage, Keys, Kind, Known, Report};
use crate::audit::{
    entry::Checkpoint,
    hash::Hash,
    segment::Reader,
    tombstone::{self, RETENTION_MIN, Tombstone},
};

/// Reads the anchor into `known`.
pub(super) fn read(path: &Path, keys: &Keys, known: &mut BTreeMap<Uuid, Known>, report: &mut Report) -> io::Result<()> {
    let mut reader = Reader::open(path)?;
    let mut unreadable = 0;
    while let Some(line) = reader.next()? {
        let signed = if line.whole { signed_text(line.bytes) } else { None };
        let Some((text, signature, checkpoint)) = signed
            .and_then(|(signature, text)| Some((text, signature, serde_json::from_str::<Checkpoint>(text).ok()?)))
        else {
            unreadable += 1;
            continue;
        };
        if keys.signed(&checkpoint.public_key, text, signature) {
            known
                .entry(checkpoint.chain)
                .or_default()
                .anchored
                .insert(checkpoint.seq, (Hash::of(text.as_bytes()), checkpoint.time));
        } else {
            report.add(Damage {
                kind: Kind::Signature,
                chain: checkpoint.chain,
                seq: Some(checkpoint.seq),
                file: Some(path.display().to_string()),
                what: "a checkpoint in the anchor has no right signature".to_owned(),
            });
        }
    }
    if unreadable > 0 {
        report.notes.push(format!(
            "{unreadable} lines of the anchor are no checkpoints (a line that was being written when its disk was full looks like that)."
        ));
    }
    Ok(())
}

/// Signature and text of a line `{"signature":"…","checkpoint":{…}}`.
fn signed_text(line: &[u8]) -> Option<(&str, &str)> {
    let rest = str::from_utf8(line).ok()?.strip_prefix(r#"{"signature":""#)?;
    let (signature, rest) = rest.split_once('"')?;
    Some((signature, rest.strip_prefix(r#","checkpoint":"#)?.strip_suffix('}')?))
}

/// A chain of which other places know, and which is not there.
pub(super) fn missing(chain: Uuid, known: &Known, report: &mut Report) {
    let pruned_to = known.pruned.as_ref().map(|pruned| pruned.seq);
    let last_anchored = known.anchored.last_key_value().map(|(&seq, _)| seq).filter(|&seq| Some(seq) > pruned_to);
    let named = known.named.iter().find(|named| named.before.seq.is_some() && named.before.seq > pruned_to);
    let (kind, what) = match (last_anchored, named) {
        (Some(seq), _) => (
            Kind::Rewritten,
            format!(
                "the anchor has this chain up to line {seq}, and the folder has no line of it behind what was pruned"
            ),
        ),
        (None, Some(named)) => {
            (Kind::Missing, format!("the start of {} found this chain, and it is not there any more", named.by))
        }
        (None, None) => return,
    };
    report.add(Damage { kind, chain, seq: Some(pruned_to.map_or(0, |seq| seq + 1)), file: None, what });
}

/// Whether a tombstone counts. Who has the signing key could write one for anything; but not for what the anchor says is younger.
pub(super) fn judge_tombstone(
    pruned: &Tombstone,
    signature: &str,
    known: &Known,
    keys: &Keys,
    now: Timestamp,
    report: &mut Report,
) -> bool {
    let mut damage = |kind, what: String| {
        let file = Some(tombstone::FILE.to_owned());
        report.add(Damage { kind, chain: pruned.chain, seq: Some(pruned.seq), file, what });
    };
    if !keys.signed(&pruned.public_key, &pruned.signed_text(), signature) {
        damage(Kind::Signature, "what was pruned is not signed".to_owned());
        return false;
    }
    let is_young =
        |last: Timestamp| pruned.time.duration_since(last).unsigned_abs() < RETENTION_MIN.0 || last > pruned.time;
    if pruned.time > now || is_young(pruned.last) {
        let Tombstone { last, time, .. } = pruned;
        damage(
            Kind::Missing,
            format!("lines up to {last} were pruned at {time}, before they were {RETENTION_MIN} old"),
        );
    }
    let last_anchored = known.anchored.range(..=pruned.seq).next_back();
    if let Some((seq, (_, time))) = last_anchored.filter(|(_, (_, time))| is_young(*time)) {
        let what = format!("line {seq} was pruned at {}, and the anchor says that it is of {time}", pruned.time);
        damage(Kind::Rewritten, what);
    }
    true
}

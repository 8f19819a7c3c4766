//! One chain, line by line.
//!
//! A line names the hash of the line before. Where that does not fit, one of the two is not what was written, and the line after them tells
//! which: it names the later one as it was. So a finding waits for one more line as a [`Doubt`] before it is told.

use std::{collections::BTreeMap, io};

use serde::de::IgnoredAny;
use uuid::Uuid;

use super::{Chain, Damage, End, Keys, Kind, Known, Named, Report, plan::Step};
use crate::audit::{
    age::Identity,
    entry::{Before, Body, Checkpoint, Entry, FORMAT, Header, Kind as CheckpointKind},
    hash::Hash,
    seal::DataKey,
    segment::{Line, Reader},
};

/// How a chain was left.
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) chain: Chain,
    /// What its start found in the folder.
    pub(super) before: Vec<Before>,
    tail: Tail,
}

/// The end of a chain.
#[derive(Debug, Default, Clone, Copy)]
struct Tail {
    /// The last whole line.
    seq: Option<u64>,
    torn_bytes: u64,
}

pub(super) struct Walk<'a> {
    chain: Uuid,
    known: Known,
    keys: &'a Keys,
    identity: Option<&'a Identity>,
    report: &'a mut Report,
    /// The file that is being read, as damages name it.
    file: String,
    segment: u32,
    /// What opens the records of this segment.
    data_key: Option<DataKey>,
    /// The number of the next line, if all is well.
    next: u64,
    /// The hash of the line before; none where it is not known what it was.
    head: Option<Hash>,
    doubt: Option<Doubt>,
    /// The hash of the text of the checkpoint before.
    previous: Option<Hash>,
    /// Records up to here; none after a damage.
    records: Option<u64>,
    /// Later starts and the anchor name these lines: what they must be.
    lines_named: BTreeMap<u64, (Hash, Uuid)>,
    torn_bytes: u64,
    found: Chain,
    before: Vec<Before>,
    has_start: bool,
}

/// A finding that the next line will tell more about.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    seq: u64,
    /// The line as it stands.
    hash: Hash,
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// It does not name the line before.
    Link,
    Signature,
    Seal,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        chain: Uuid,
        known: Known,
        keys: &'a Keys,
        identity: Option<&'a Identity>,
        report: &'a mut Report,
    ) -> Self {
        let pruned = known.pruned.as_ref();
        let lines_named =
            known.named.iter().filter_map(|named| Some((named.before.seq?, (named.before.head, named.by))));
        let found = Chain {
            chain,
            instance: String::new(),
            segments: 0,
            lines: 0,
            records: 0,
            from: None,
            to: None,
            end: End::Open,
            pruned: pruned.is_some(),
        };
        Self {
            chain,
            keys,
            identity,
            report,
            file: String::new(),
            segment: 0,
            data_key: None,
            next: pruned.map_or(0, |pruned| pruned.seq + 1),
            head: Some(pruned.map_or(Hash::NONE, |pruned| pruned.head)),
            doubt: None,
            previous: Some(pruned.map_or(Hash::NONE, |pruned| pruned.checkpoint)),
            records: Some(pruned.map_or(0, |pruned| pruned.records)),
            lines_named: lines_named.collect(),
            torn_bytes: 0,
            found,
            before: Vec::new(),
            has_start: pruned.is_some(),
            known,
        }
    }

    pub(super) fn read(&mut self, plan: &[Step]) -> io::Result<()> {
        let last = plan.len().saturating_sub(1);
        for (at, step) in plan.iter().enumerate() {
            // What was left when its files were to be taken away is named by the tombstone.
            if self.known.pruned.as_ref().is_some_and(|pruned| step.number <= pruned.segment) {
                self.report
                    .notes
                    .push(format!("{}: segment {} was pruned and is still there.", self.chain, step.number));
                continue;
            }
            self.segment(step, at == last)?;
        }
        Ok(())
    }

    fn segment(&mut self, step: &Step, is_last: bool) -> io::Result<()> {
        self.file = step.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.segment = step.number;
        self.data_key = None;
        let mut reader = Reader::open(&step.path)?;
        let (mut is_first, mut read) = (true, 0);
        while let Some(line) = reader.next()? {
            if step.bytes_max.is_some_and(|most| line.at >= most) {
                break;
            }
            read += line.bytes.len() as u64 + u64::from(line.whole);
            if !line.whole && is_last {
                self.torn_bytes += line.bytes.len() as u64;
            } else {
                self.line(&line, is_first);
            }
            is_first = false;
        }
        self.report.bytes += read;
        Ok(())
    }

    fn line(&mut self, line: &Line<'_>, is_first: bool) {
        self.found.lines += 1;
        let Ok(entry) = line.entry() else {
            self.settle(None);
            self.damage(Kind::Altered, self.next, "this is no line of an audit log");
            (self.next, self.head, self.records, self.previous) = (self.next + 1, None, None, None);
            return;
        };
        let hash = line.hash();
        self.settle(Some(entry.prev));
        let links = self.head.is_none_or(|head| entry.prev == head);
        if entry.seq != self.next && !self.renumber(&entry, links) {
            return;
        }
        let is_right = self.body(&entry, hash, is_first);
        // Asked again: a checkpoint settles by itself which of the two is not as it was.
        if is_right && self.head.is_some_and(|head| entry.prev != head) {
            self.doubt.get_or_insert(Doubt { seq: entry.seq, hash, of: Of::Link });
        }
        self.compare_named(&entry, hash);
        self.head = is_right.then_some(hash);
        self.next = entry.seq + 1;
    }

    /// A line with another number than the next. Whether reading goes on with it.
    fn renumber(&mut self, entry: &Entry<'_>, links: bool) -> bool {
        if links && self.head.is_some() {
            self.damage(Kind::Altered, self.next, "the number of this line is another one than was written");
            (self.next, self.head, self.records, self.previous) = (self.next + 1, None, None, None);
            return false;
        }
        let what = if entry.seq > self.next {
            format!(
                "lines are missing here, or stand elsewhere: line {} follows on line {}",
                entry.seq,
                self.next.wrapping_sub(1)
            )
        } else {
            format!("line {} stands twice, or in the wrong place: line {} was to follow", entry.seq, self.next)
        };
        self.damage(Kind::Missing, entry.seq.min(self.next), what);
        (self.head, self.records, self.previous) = (None, None, None);
        true
    }

    /// Tells what the line before was found to be, now that it is known what the next line takes it for.
    fn settle(&mut self, next_prev: Option<Hash>) {
        let Some(doubt) = self.doubt.take() else { return };
        let stands_as_written = next_prev == Some(doubt.hash);
        match doubt.of {
            Of::Link if stands_as_written || next_prev.is_none() => {
                self.damage(Kind::Altered, doubt.seq.saturating_sub(1), "this line is another one than was written");
            }
            Of::Signature if stands_as_written || next_prev.is_none() => {
                self.damage(Kind::Signature, doubt.seq, "this checkpoint has no right signature");
            }
            Of::Seal if stands_as_written || next_prev.is_none() => {
                self.damage(Kind::Sealed, doubt.seq, "this record does not open");
            }
            Of::Link | Of::Signature | Of::Seal => {
                self.damage(Kind::Altered, doubt.seq, "this line is another one than was written");
                // The next one names it as it was.
                self.head = None;
            }
        }
        (self.records, self.previous) = (None, None);
    }

    /// Whether what the line says is what can stand there. If not, it has been told.
    fn body(&mut self, entry: &Entry<'_>, hash: Hash, is_first: bool) -> bool {
        if is_first != matches!(entry.body, Body::Segment(_)) {
            let what = if is_first {
                "the first line of a segment must say which it is"
            } else {
                "a segment begins in the middle of a file"
            };
            self.damage(Kind::Altered, entry.seq, what);
            return false;
        }
        match entry.body {
            Body::Segment(text) => self.header(text, entry.seq),
            // Two lines that lost the newline between them look like one: what is inside has to be one thing.
            Body::Record(text) if serde_json::from_str::<IgnoredAny>(text).is_err() => self.no_record(entry.seq),
            Body::Sealed(sealed) if !sealed.bytes().all(is_base64) => self.no_record(entry.seq),
            Body::Record(_) => {
                self.record();
                true
            }
            Body::Sealed(sealed) => {
                self.record();
                if self.data_key.as_ref().is_some_and(|key| key.open(entry.seq, sealed).is_none()) {
                    self.doubt.get_or_insert(Doubt { seq: entry.seq, hash, of: Of::Seal });
                }
                true
            }
            Body::Checkpoint { text, signature } => self.checkpoint(entry, hash, text, signature),
        }
    }

    fn no_record(&mut self, seq: u64) -> bool {
        self.damage(Kind::Altered, seq, "what stands in this line is no record");
        (self.records, self.previous) = (None, None);
        false
    }

    fn record(&mut self) {
        self.found.records += 1;
        self.records = self.records.map(|records| records + 1);
    }

    fn header(&mut self, text: &str, seq: u64) -> bool {
        let header = match serde_json::from_str::<Header>(text) {
            Ok(header) if header.v == FORMAT && header.chain == self.chain && header.segment == self.segment => header,
            _ => {
                let what = "the first line says another chain, segment or format than the file's name; a newer Weir may have written it";
                self.damage(Kind::Altered, seq, what);
                return false;
            }
        };
        self.found.segments += 1;
        self.found.from = self.found.from.or(Some(header.time));
        if let Some(identity) = self.identity.filter(|_| header.key.is_some()) {
            match DataKey::unwrap(identity, &header) {
                Ok(key) => self.data_key = Some(key),
                Err(error) => {
                    self.damage(Kind::Sealed, seq, format!("the records of this segment cannot be opened: {error}"));
                }
            }
        }
        self.found.instance = header.instance;
        true
    }

    fn checkpoint(&mut self, entry: &Entry<'_>, hash: Hash, text: &str, signature: &str) -> bool {
        let checkpoint = serde_json::from_str::<Checkpoint>(text).ok();
        let Some(checkpoint) =
            checkpoint.filter(|checkpoint| self.keys.signed(&checkpoint.public_key, text, signature))
        else {
            self.doubt.get_or_insert(Doubt { seq: entry.seq, hash, of: Of::Signature });
            self.previous = None;
            return true;
        };
        self.report.checkpoints += 1;
        let is_its_own = checkpoint.chain == self.chain && checkpoint.seq == entry.seq;
        if !is_its_own || checkpoint.head != entry.prev {
            // What was signed is right, so that what stands around it is not.
            self.damage(Kind::Altered, entry.seq, "this checkpoint was signed for another place");
            (self.previous, self.records) = (None, None);
            return false;
        }
        if self.head.is_some_and(|head| head != checkpoint.head) {
            self.damage(Kind::Altered, entry.seq.saturating_sub(1), "this line is another one than was signed");
            // It is told; the link needs no doubt.
            self.head = None;
        }
        let follows = self.previous.is_none_or(|previous| previous == checkpoint.previous);
        if !follows || self.records.is_some_and(|records| records != checkpoint.records) {
            self.damage(Kind::Missing, entry.seq, "this checkpoint does not follow from the one before");
        }
        (self.previous, self.records) = (Some(Hash::of(text.as_bytes())), Some(checkpoint.records));
        self.report.signed_by.insert(checkpoint.public_key);
        self.found.to = Some(checkpoint.time);
        match checkpoint.kind {
            CheckpointKind::Start => {
                self.has_start |= entry.seq == 1;
                self.before = checkpoint.before;
            }
            CheckpointKind::End => self.found.end = End::Ended,
            CheckpointKind::Running | CheckpointKind::Rotation => {}
        }
        true
    }

    /// Whether a line is what the anchor and later starts say of it.
    fn compare_named(&mut self, entry: &Entry<'_>, hash: Hash) {
        if let Some((anchored, _)) = self.known.anchored.remove(&entry.seq) {
            let is_same = matches!(entry.body, Body::Checkpoint { text, .. } if Hash::of(text.as_bytes()) == anchored);
            if is_same {
                *self.report.anchored.get_or_insert_default() += 1;
            } else {
                self.damage(Kind::Rewritten, entry.seq, "the anchor has another checkpoint in this place");
            }
        }
        if let Some((named, by)) = self.lines_named.remove(&entry.seq)
            && named != hash
            && self.doubt.is_none()
        {
            self.damage(Kind::Altered, entry.seq, format!("the start of {by} found another line here"));
        }
    }

    /// What is to be said of the chain as a whole.
    pub(super) fn finish(mut self, files: usize) -> Finish {
        self.settle(None);
        self.found.segments = files;
        if !self.has_start && self.next > 1 && self.report.damages.iter().all(|damage| damage.chain != self.chain) {
            self.damage(Kind::Signature, 1, "this chain has no signed start");
        }
        let pruned_to = self.known.pruned.as_ref().map_or(0, |pruned| pruned.seq + 1);
        let beyond = self.known.anchored.range(self.next.max(pruned_to)..).next().map(|(&seq, _)| seq);
        if let Some(seq) = beyond {
            self.damage(Kind::CutOff, self.next, format!("the chain ends here, and the anchor has its line {seq}"));
        }
        let tail = Tail { seq: self.next.checked_sub(1), torn_bytes: self.torn_bytes };
        let named = std::mem::take(&mut self.known.named);
        if named.iter().any(|named| !named.before.running) && self.found.end == End::Open {
            self.found.end = End::Died;
        }
        self.report.lines += self.found.lines;
        self.report.records += self.found.records;
        if self.found.end == End::Open {
            self.report.notes.push(format!(
                "{}: this chain has no end: it is being written, or its process died. Lines behind its last checkpoint are not signed yet.",
                self.chain
            ));
        } else if self.torn_bytes > 0 && named.is_empty() {
            self.damage(Kind::Altered, self.next, format!("{} bytes stand behind the end", self.torn_bytes));
        }
        let finish = Finish { chain: self.found, before: self.before, tail };
        for named in &named {
            if beyond.is_none() {
                finish.compare(named, self.report);
            }
        }
        finish
    }

    fn damage(&mut self, kind: Kind, seq: u64, what: impl Into<String>) {
        let damage =
            Damage { kind, chain: self.chain, seq: Some(seq), file: Some(self.file.clone()), what: what.into() };
        self.report.add(damage);
    }
}

impl Finish {
    /// Whether the chain ends where a later start found its end.
    pub(super) fn compare(&self, Named { by, before }: &Named, report: &mut Report) {
        let tail = self.tail;
        let behind = |seq: Option<u64>| seq.map_or(0, |seq| seq + 1);
        let (kind, seq, what) = match before.seq {
            Some(named) if tail.seq < Some(named) => {
                let what = format!("the chain ends here, and the start of {by} found its line {named}");
                (Kind::CutOff, behind(tail.seq), what)
            }
            _ if before.running => return,
            named if tail.seq > named => {
                let what = format!("lines stand behind the end that the start of {by} found");
                (Kind::Altered, behind(named), what)
            }
            named if tail.torn_bytes != before.torn_bytes => {
                let (found, torn) = (tail.torn_bytes, before.torn_bytes);
                let what = format!("{found} bytes stand behind the last line, and the start of {by} found {torn}");
                (Kind::Altered, behind(named), what)
            }
            _ => return,
        };
        report.add(Damage { kind, chain: self.chain.chain, seq: Some(seq), file: None, what });
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

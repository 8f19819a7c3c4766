//! One chain of records, from the start of a process to its end. What is committed is on the disk; what is not leaves no trace in the chain.

#[cfg(test)]
mod tests;

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::value::RawValue;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    age::Recipient,
    before,
    disk::Disk,
    entry::{After, Body, Checkpoint, Entry, FORMAT, Header, Kind},
    hash::Hash,
    seal::DataKey,
    segment,
    signing::SigningKey,
};

/// How a log is written.
#[derive(Debug)]
pub struct Settings {
    /// The folder.
    pub dir: PathBuf,
    /// For whom records are sealed.
    pub recipient: Option<Recipient>,
    /// What signs checkpoints.
    pub key: SigningKey,
    /// How often a checkpoint is made while records are written.
    pub checkpoint_every: Duration,
    /// The size at which the next segment begins.
    pub segment_bytes_max: u64,
    /// The age at which the next segment begins.
    pub segment_age_max: Duration,
}

/// A chain while it is written. It begins with the first commit.
#[derive(Debug)]
pub struct Chain {
    settings: Settings,
    disk: Box<dyn Disk>,
    id: Uuid,
    instance: String,
    /// Held as long as the chain is written.
    lock: Option<File>,
    /// The segment that is written, or the one that is to be begun.
    segment: u32,
    after: Option<After>,
    open: Option<Segment>,
    /// What is on the disk.
    at: Position,
    checkpoint_due: Instant,
    /// Checkpoints that are on the disk and were not taken to the anchor yet.
    made: Vec<String>,
}

#[derive(Debug)]
struct Segment {
    file: Box<dyn super::disk::Sink>,
    key: Option<DataKey>,
    full_at: Instant,
}

/// How far a chain is.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// The number of the next line.
    seq: u64,
    /// The hash of the last one.
    head: Hash,
    /// The hash of the last checkpoint.
    checkpoint: Hash,
    records: u64,
    /// The number of records when the last checkpoint was made.
    records_then: u64,
    /// The bytes of the segment.
    bytes: u64,
}

/// Lines that are not on the disk yet.
struct Draft {
    at: Position,
    lines: Vec<u8>,
    checkpoint: Option<String>,
}

impl Chain {
    /// A chain in this folder.
    #[must_use]
    pub fn new(settings: Settings, disk: Box<dyn Disk>) -> Self {
        Self {
            id: Uuid::now_v7(),
            instance: format!("{}/{}", host(), std::process::id()),
            lock: None,
            segment: 1,
            after: None,
            open: None,
            at: Position { seq: 0, head: Hash::NONE, checkpoint: Hash::NONE, records: 0, records_then: 0, bytes: 0 },
            checkpoint_due: Instant::now(),
            made: Vec::new(),
            settings,
            disk,
        }
    }

    /// Puts the records on the disk, all of them or none. After a failure the same records may be committed again.
    ///
    /// # Errors
    /// When the disk is full, or fails. None of the records is in the chain then.
    pub fn commit(&mut self, records: &[Arc<RawValue>]) -> io::Result<()> {
        if records.is_empty() && self.checkpoint_due().is_none_or(|due| Instant::now() < due) {
            return Ok(());
        }
        if self.is_full() {
            self.rotate()?;
        }
        let mut draft = self.draft()?;
        let key = self.open.as_ref().and_then(|open| open.key.as_ref());
        for record in records {
            draft.record(record.get(), key);
        }
        if draft.at.records > draft.at.records_then
            && Instant::now() >= self.checkpoint_due
            && draft.checkpoint.is_none()
        {
            draft.checkpoint(self, Kind::Running, Vec::new());
        }
        self.put(draft)
    }

    /// When the next checkpoint is due, if records were written since the last one.
    #[must_use]
    pub fn checkpoint_due(&self) -> Option<Instant> {
        (self.at.records > self.at.records_then).then_some(self.checkpoint_due)
    }

    /// Ends the chain with a checkpoint, if it was begun.
    ///
    /// # Errors
    /// When the disk is full, or fails.
    pub fn end(&mut self) -> io::Result<()> {
        if self.at.seq == 0 {
            return Ok(());
        }
        let mut draft = self.draft()?;
        draft.checkpoint(self, Kind::End, Vec::new());
        self.put(draft)?;
        self.open = None;
        if self.lock.take().is_some() {
            let _ = std::fs::remove_file(before::lock_file(&self.settings.dir, self.id));
        }
        Ok(())
    }

    /// The checkpoints that were made since this was asked last, as lines for the anchor.
    pub fn take_checkpoints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.made)
    }

    fn is_full(&self) -> bool {
        let too_large = self.at.bytes >= self.settings.segment_bytes_max;
        self.open.as_ref().is_some_and(|open| too_large || Instant::now() >= open.full_at)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut draft = self.draft()?;
        draft.checkpoint(self, Kind::Rotation, Vec::new());
        self.put(draft)?;
        self.leave(false);
        Ok(())
    }

    /// What is to be written next: after nothing, where a segment is open; otherwise after the beginning of another one.
    fn draft(&mut self) -> io::Result<Draft> {
        let mut draft = Draft { at: self.at, lines: Vec::new(), checkpoint: None };
        if self.open.is_some() {
            return Ok(draft);
        }
        let before = if self.at.seq == 0 { Some(self.begin()?) } else { None };
        let sealed = self.settings.recipient.as_ref().map(|recipient| DataKey::new(recipient, self.id, self.segment));
        let (key, wrapped) = sealed.transpose().map_err(io::Error::other)?.unzip();
        let header = Header {
            v: FORMAT,
            chain: self.id,
            instance: self.instance.clone(),
            segment: self.segment,
            time: Timestamp::now(),
            weir: env!("CARGO_PKG_VERSION").to_owned(),
            after: self.after,
            recipient: self.settings.recipient.as_ref().map(ToString::to_string),
            key: wrapped,
        };
        let file = self.disk.create(&self.settings.dir.join(segment::file_name(self.id, self.segment)))?;
        self.open = Some(Segment { file, key, full_at: Instant::now() + self.settings.segment_age_max });
        draft.at.bytes = 0;
        draft.line(Body::Segment(&json(&header)));
        if let Some(before) = before {
            draft.checkpoint(self, Kind::Start, before);
        }
        Ok(draft)
    }

    /// Says that this chain is written, and looks at those that were.
    fn begin(&mut self) -> io::Result<Vec<super::entry::Before>> {
        if self.lock.is_none() {
            let path = before::lock_file(&self.settings.dir, self.id);
            let lock = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            lock.try_lock().map_err(io::Error::from)?;
            self.lock = Some(lock);
        }
        before::unnamed(&self.settings.dir, self.id)
    }

    fn put(&mut self, draft: Draft) -> io::Result<()> {
        if draft.lines.is_empty() {
            return Ok(());
        }
        let file = &mut self.open.as_mut().expect("a draft is made for an open segment").file;
        if let Err(error) = file.write(&draft.lines).and_then(|()| file.sync()) {
            // What the disk has of these lines is not known, also not after another sync: they are written anew, elsewhere.
            let _ = file.cut(self.at.bytes);
            self.leave(true);
            return Err(error);
        }
        self.at = draft.at;
        if let Some(checkpoint) = draft.checkpoint {
            self.made.push(checkpoint);
            self.checkpoint_due = Instant::now() + self.settings.checkpoint_every;
        }
        Ok(())
    }

    /// Goes on in another segment. One of which nothing is on the disk is begun once more.
    fn leave(&mut self, failed: bool) {
        self.open = None;
        if self.at.bytes > 0 {
            self.after = Some(After { segment: self.segment, bytes: self.at.bytes, failed });
            self.segment += 1;
            self.at.bytes = 0;
        }
    }
}

impl Draft {
    fn record(&mut self, record: &str, key: Option<&DataKey>) {
        match key {
            Some(key) => self.line(Body::Sealed(&key.seal(self.at.seq, record))),
            None => self.line(Body::Record(record)),
        }
        self.at.records += 1;
    }

    fn checkpoint(&mut self, chain: &Chain, kind: Kind, before: Vec<super::entry::Before>) {
        let checkpoint = Checkpoint {
            v: FORMAT,
            kind,
            chain: chain.id,
            instance: chain.instance.clone(),
            segment: chain.segment,
            seq: self.at.seq,
            head: self.at.head,
            records: self.at.records,
            time: Timestamp::now(),
            previous: self.at.checkpoint,
            public_key: chain.settings.key.public().to_base64(),
            before,
        };
        let text = json(&checkpoint);
        let signature = chain.settings.key.sign(&text);
        self.line(Body::Checkpoint { text: &text, signature: &signature });
        self.at.checkpoint = Hash::of(text.as_bytes());
        self.at.records_then = self.at.records;
        self.checkpoint = Some(format!("{{\"signature\":\"{signature}\",\"checkpoint\":{text}}}\n"));
    }

    fn line(&mut self, body: Body<'_>) {
        let before = self.lines.len();
        self.at.head = Entry { seq: self.at.seq, prev: self.at.head, body }.write(&mut self.lines);
        self.at.seq += 1;
        self.at.bytes += (self.lines.len() - before) as u64;
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("what stands in the log has a JSON form")
}

/// What this machine calls itself.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_graphic).take(64).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

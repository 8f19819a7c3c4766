//! What a start finds in the folder: the chains of before, and how each of them ends.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    entry::{Before, Body, Checkpoint, Entry, LINE_BYTES_MAX},
    hash::Hash,
    segment::{self, Reader},
};

/// The file on which the process that writes a chain holds a lock.
#[must_use]
pub fn lock_file(dir: &Path, chain: Uuid) -> PathBuf {
    dir.join(format!(".{chain}.lock"))
}

/// The chains that no start has named since they ended.
///
/// # Errors
/// When the folder or a file in it cannot be read.
pub fn unnamed(dir: &Path, own: Uuid) -> io::Result<Vec<Before>> {
    let mut chains = segment::chains(dir)?;
    chains.remove(&own);
    let mut named = HashSet::new();
    for segments in chains.values() {
        named.extend(
            start_of(segments)?
                .into_iter()
                .flat_map(|start| start.before)
                .filter(|before| !before.running)
                .map(|before| before.chain),
        );
    }
    let unnamed = chains.iter().filter(|(chain, _)| !named.contains(*chain));
    unnamed.map(|(&chain, segments)| end_of(dir, chain, segments)).collect()
}

/// The checkpoint with which a chain begins, if it is still there.
fn start_of(segments: &BTreeMap<u32, PathBuf>) -> io::Result<Option<Checkpoint>> {
    let Some(first) = segments.get(&1) else { return Ok(None) };
    let mut reader = Reader::open(first)?;
    reader.next()?;
    let Some(line) = reader.next()? else { return Ok(None) };
    let Ok(Entry { body: Body::Checkpoint { text, .. }, .. }) = line.entry() else { return Ok(None) };
    // Whether its signature holds is for who verifies; here a forged one could only leave out what the anchor has.
    Ok(serde_json::from_str(text).ok())
}

fn end_of(dir: &Path, chain: Uuid, segments: &BTreeMap<u32, PathBuf>) -> io::Result<Before> {
    // First of all: what is still being written may grow while it is looked at.
    let running = is_locked(&lock_file(dir, chain))?;
    let (&last, _) = segments.last_key_value().expect("a chain is known by a segment");
    let mut end = Before { chain, segment: last, seq: None, head: Hash::NONE, torn_bytes: 0, running };
    for (&number, path) in segments.iter().rev() {
        let tail = Tail::of(path)?;
        if number == last {
            end.torn_bytes = tail.torn_bytes;
        }
        if let Some(line) = tail.line {
            end.head = Hash::of(&line);
            end.seq = Entry::parse(&line).ok().map(|entry| entry.seq);
            break;
        }
    }
    Ok(end)
}

fn is_locked(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
    }
}

/// The end of a segment.
struct Tail {
    /// The last line with a newline, without it.
    line: Option<Vec<u8>>,
    torn_bytes: u64,
}

impl Tail {
    fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        // What stands after the last newline is shorter than a batch of lines; a line has a bound.
        for wanted in [64 << 10, 2 * LINE_BYTES_MAX as u64, length] {
            let from = length.saturating_sub(wanted);
            file.seek(SeekFrom::Start(from))?;
            let mut end = Vec::new();
            (&mut file).take(length - from).read_to_end(&mut end)?;
            let Some(newline) = end.iter().rposition(|&byte| byte == b'\n') else {
                if from == 0 {
                    return Ok(Self { line: None, torn_bytes: length });
                }
                continue;
            };
            let torn_bytes = (end.len() - newline - 1) as u64;
            let begin = end[..newline].iter().rposition(|&byte| byte == b'\n').map(|before| before + 1);
            if let Some(begin) = begin.or((from == 0).then_some(0)) {
                return Ok(Self { line: Some(end[begin..newline].to_vec()), torn_bytes });
            }
        }
        Ok(Self { line: None, torn_bytes: length })
    }
}

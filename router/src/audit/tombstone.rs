//! What stands in the place of segments that were pruned: who reads the chain later starts where it says, and knows that nothing is missing.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use config::Period;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{hash::Hash, segment::Reader, signing::SigningKey};

/// The file of a folder's tombstones, one a line.
pub const FILE: &str = "pruned.jsonl";
/// Nothing younger is pruned, whatever a config says.
pub const RETENTION_MIN: Period = Period::s(90 * 24 * 60 * 60);
/// What stands before the text where it is signed. No checkpoint begins so, and no other text is signed with this key.
const SIGNED_AS: &str = "pruned\n";

/// Where a chain goes on after its first segments were pruned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// The version of its format: 1.
    pub v: u8,
    /// The chain.
    pub chain: Uuid,
    /// The last segment that was pruned, and all before it.
    pub segment: u32,
    /// The last line that was pruned.
    pub seq: u64,
    /// Its hash.
    pub head: Hash,
    /// The hash of the text of the last checkpoint that was pruned.
    pub checkpoint: Hash,
    /// How many records the chain had up to there.
    pub records: u64,
    /// No record of them is younger.
    pub last: Timestamp,
    /// When they were pruned.
    pub time: Timestamp,
    /// The key that signed this.
    pub public_key: String,
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    signature: String,
    pruned: Tombstone,
}

impl Tombstone {
    /// What is signed.
    pub(super) fn signed_text(&self) -> String {
        let text = serde_json::to_string(self).expect("a tombstone has a JSON form");
        format!("{SIGNED_AS}{text}")
    }
}

/// Appends tombstones to the file of the folder; they are on the disk when this returns.
///
/// # Errors
/// When they cannot be written.
pub fn append(dir: &Path, tombstones: &[Tombstone], key: &SigningKey) -> io::Result<()> {
    let mut lines = String::new();
    for pruned in tombstones {
        let signed = Signed { signature: key.sign(&pruned.signed_text()), pruned: pruned.clone() };
        lines.push_str(&serde_json::to_string(&signed).expect("a tombstone has a JSON form"));
        lines.push('\n');
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(FILE))?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

/// The tombstones of a folder with their signatures, for each chain the last. A line that is none says nothing: what it stood for is missing then.
///
/// # Errors
/// When the file cannot be read.
pub fn read_all(dir: &Path) -> io::Result<Vec<(Tombstone, String)>> {
    let mut reader = match Reader::open(&dir.join(FILE)) {
        Ok(reader) => reader,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut last: BTreeMap<Uuid, (Tombstone, String)> = BTreeMap::new();
    while let Some(line) = reader.next()? {
        let Ok(Signed { signature, pruned }) = serde_json::from_slice(line.bytes) else { continue };
        if last.get(&pruned.chain).is_none_or(|(before, _)| before.segment < pruned.segment) {
            last.insert(pruned.chain, (pruned, signature));
        }
    }
    Ok(last.into_values().collect())
}

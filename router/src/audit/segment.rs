//! The files of a log: their names, and the lines in them one after the other.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{
    entry::{Entry, LINE_BYTES_MAX, Malformed},
    hash::Hash,
};

/// How the name of a segment ends.
const EXTENSION: &str = "audit";

/// The name of a segment: they sort by the time at which their chain began, then by number.
#[must_use]
pub fn file_name(chain: Uuid, segment: u32) -> String {
    format!("{chain}-{segment:06}.{EXTENSION}")
}

/// The chain and the number of the segment with this file name.
#[must_use]
pub fn of_file_name(name: &str) -> Option<(Uuid, u32)> {
    let (chain, segment) = name.strip_suffix(EXTENSION)?.strip_suffix('.')?.rsplit_once('-')?;
    let (chain, segment) = (Uuid::try_parse(chain).ok()?, segment.parse().ok()?);
    (file_name(chain, segment) == name).then_some((chain, segment))
}

/// The segments in a folder: each chain in the order in which they began, with its segments by number.
///
/// # Errors
/// When the folder cannot be read.
pub fn chains(dir: &Path) -> io::Result<BTreeMap<Uuid, BTreeMap<u32, PathBuf>>> {
    let mut chains: BTreeMap<Uuid, BTreeMap<u32, PathBuf>> = BTreeMap::new();
    for file in std::fs::read_dir(dir)? {
        let file = file?;
        if let Some((chain, segment)) = file.file_name().to_str().and_then(of_file_name) {
            chains.entry(chain).or_default().insert(segment, file.path());
        }
    }
    Ok(chains)
}

/// Reads the lines of a segment, one at a time, in constant memory.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    line: Vec<u8>,
    at: u64,
}

/// One line as it stands in the file.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Where it begins, in bytes from the beginning of the file.
    pub at: u64,
    /// The line without its newline.
    pub bytes: &'a [u8],
    /// Whether a newline ends it. Without one it is torn: what was being written when the process died, or a line too long to be one.
    pub whole: bool,
}

impl Line<'_> {
    /// Its hash, which the next line names.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(self.bytes)
    }

    /// What it says.
    ///
    /// # Errors
    /// When it is no line of an audit log.
    pub fn entry(&self) -> Result<Entry<'_>, Malformed> {
        if self.whole { Entry::parse(self.bytes) } else { Err(Malformed) }
    }
}

impl Reader<BufReader<File>> {
    /// Reads the segment in this file from its beginning.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::new(BufReader::with_capacity(256 << 10, File::open(path)?)))
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads a segment from its beginning.
    pub fn new(from: R) -> Self {
        Self { from, line: Vec::new(), at: 0 }
    }

    /// The next line; `None` at the end of the file. After a line that is not whole the rest of one that is too long may follow.
    ///
    /// # Errors
    /// When the file cannot be read.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from it")]
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let read = (&mut self.from).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        let at = self.at;
        self.at += read as u64;
        let bytes = self.line.strip_suffix(b"\n");
        Ok(Some(Line { at, bytes: bytes.unwrap_or(&self.line), whole: bytes.is_some() }))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{LINE_BYTES_MAX, Reader, file_name, of_file_name};

    #[test]
    fn names_sort_by_time_and_number_and_are_read_in_their_one_spelling() {
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        assert!(file_name(first, 999_999) < file_name(second, 1));
        assert!(file_name(first, 2) < file_name(first, 10));
        assert_eq!(of_file_name(&file_name(first, 12)), Some((first, 12)));
        for wrong in ["", ".audit", "x-000001.audit", &format!("{first}-1.audit"), &format!("{first}-000001.audit.bak")]
        {
            assert_eq!(of_file_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_ends_without_a_newline_is_not_whole() {
        let mut reader = Reader::new(&b"one\n\ntorn"[..]);
        let mut seen = Vec::new();
        while let Some(line) = reader.next().expect("memory can be read") {
            seen.push((line.at, line.bytes.to_vec(), line.whole));
        }
        assert_eq!(seen, [(0, b"one".to_vec(), true), (4, Vec::new(), true), (5, b"torn".to_vec(), false)]);
    }

    #[test]
    fn a_line_without_end_is_read_in_pieces() {
        let endless = vec![b'x'; LINE_BYTES_MAX + 1];
        let mut reader = Reader::new(&endless[..]);
        let mut next = || reader.next().expect("memory can be read").map(|line| (line.bytes.len(), line.whole));
        assert_eq!([next(), next(), next()], [Some((LINE_BYTES_MAX, false)), Some((1, false)), None]);
    }
}

//! Secrets that are recognised wherever they turn up. Every secret that the harness makes, or that a test writes to a file of its own, is known
//! here; and all that goes past the harness is looked through for them: what routers log, answer, and leave in their folders and in Redis, and
//! what stand-ins are shown. A secret that is found fails the test whose router or fleet ends next, and says where it was.

mod forms;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, Once, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use forms::{TAIL_BYTES, Tail};

/// A value with fewer bytes, or with fewer different ones, would be found where it is not.
const VALUE_BYTES_MIN: usize = 12;
const DIFFERENT_BYTES_MIN: usize = 6;
/// The bits of the filter in front of the table of tails: few windows of what is looked at get past it.
const FILTER_BITS_LOG2: u32 = 20;

/// Who may be shown a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Weir and its callers: no system behind it ever sees it.
    Weir,
    /// One of the systems behind Weir is shown it too.
    Downstream,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind of the secret.
    pub kind: Arc<str>,
    /// How it was written: `verbatim`, `base64`, ….
    pub form: &'static str,
    /// What stood in front of it.
    pub before: String,
}

/// How much was looked through so far.
#[derive(Debug, Clone, Copy)]
pub struct Looked {
    /// Secrets that are known.
    pub secrets: usize,
    /// Lines, answers, messages and files.
    pub pieces: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Secrets, in every form in which they are recognised.
#[derive(Debug)]
struct Canaries {
    filter: Box<[u64]>,
    /// By their last bytes: those of marked values are random.
    by_tail: HashMap<Tail, Vec<Pattern>>,
    known: HashSet<Box<str>>,
}

#[derive(Debug)]
struct Pattern {
    bytes: Box<[u8]>,
    form: &'static str,
    kind: Arc<str>,
    holder: Holder,
}

/// A folder that is looked through when this is dropped, but for the files in which secrets belong.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

static KNOWN: LazyLock<RwLock<Canaries>> = LazyLock::new(|| RwLock::new(Canaries::new()));
static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static SECRET_FILES: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);
static PIECES: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// A new secret that says its kind, and that is known from now on: `canary-<kind>-<random>`.
#[must_use]
pub fn secret(kind: &str, holder: Holder) -> String {
    let value = format!("canary-{kind}-{:032x}", rand::random::<u128>());
    register(kind, holder, &value);
    value
}

/// Makes a secret known. One that is too short, or of too few different bytes to be told from other text, is passed over.
pub fn register(kind: &str, holder: Holder, value: &str) {
    let is_new = !KNOWN.read().unwrap_or_else(PoisonError::into_inner).known.contains(value);
    if is_new {
        KNOWN.write().unwrap_or_else(PoisonError::into_inner).add(kind, holder, value);
    }
}

/// Makes what is in a file that its owner alone may read known, line by line where it has lines, and the password of a URL by itself. JSON is no secret: it is
/// the list of hashes of keys.
pub fn register_file(path: &Path, text: &[u8]) {
    watch();
    lock(&SECRET_FILES).insert(path.to_owned());
    let Ok(text) = std::str::from_utf8(text) else { return };
    if text.trim_start().starts_with('{') {
        return;
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let holder = if name.starts_with("master") { Holder::Weir } else { Holder::Downstream };
    let is_secret = |line: &&str| !line.starts_with("-----") && !line.starts_with('#');
    for line in text.lines().filter(is_secret) {
        let value = if name == ".env" { line.split_once('=').map_or("", |(_, value)| value) } else { line };
        let value = value.trim().trim_matches(['"', '\'']);
        register(&format!("file {name}"), holder, value);
        let login = value.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
        if let Some((_, password)) = login.and_then(|(login, _)| login.split_once(':')) {
            register(&format!("password in file {name}"), holder, password);
        }
    }
}

/// The first secret in it, whosoever it is.
#[must_use]
pub fn find(haystack: &[u8]) -> Option<Finding> {
    find_of(haystack, |_, _| true)
}

/// The first secret in it of the kinds and holders that count.
#[must_use]
pub fn find_of(haystack: &[u8], counts: impl Fn(&str, Holder) -> bool) -> Option<Finding> {
    PIECES.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(haystack.len() as u64, Ordering::Relaxed);
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).find(haystack, counts)
}

/// Looks through what came out of Weir, and keeps what is found until [`settle`].
pub fn look(place: &str, what: &[u8]) {
    note(place, find(what));
}

/// Looks through what a stand-in was given. A system behind Weir is shown its own credential, which no test can be asked about here; Redis
/// is shown none, and a test may be over when what was written to it is there to be read.
fn look_at_traffic(place: &str, what: &[u8]) {
    if place == standins::witness::REDIS {
        look(place, what);
        settle();
    } else {
        note(place, find_of(what, |_, holder| holder == Holder::Weir));
    }
}

/// Looks through a folder, but for the files in which secrets belong.
pub fn look_at_folder(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => look_at_folder(&path),
            Ok(kind) if kind.is_file() && !lock(&SECRET_FILES).contains(&path) => {
                look(&path.display().to_string(), &fs::read(&path).unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// Fails the test that runs if a secret was found since the last time, in whichever test that was.
pub fn settle() {
    let leaks = std::mem::take(&mut *lock(&LEAKS));
    if !std::thread::panicking() {
        assert!(leaks.is_empty(), "secrets were found where they do not belong:\n{}", leaks.join("\n"));
    }
}

/// How much was looked through so far.
pub fn looked() -> Looked {
    let secrets = KNOWN.read().unwrap_or_else(PoisonError::into_inner).known.len();
    Looked { secrets, pieces: PIECES.load(Ordering::Relaxed), bytes: BYTES.load(Ordering::Relaxed) }
}

/// From now on all that routers of this process log is looked through, at the finest level, and what stand-ins are given.
pub(crate) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        register("admin token", Holder::Weir, crate::ADMIN_TOKEN);
        standins::witness::show_to(look_at_traffic);
        let filter = EnvFilter::new("warn,router=trace,adapters=trace,cache=trace,config=trace");
        let log = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(|| Log);
        // Fails where a test has a log of its own.
        let _ = log.finish().try_init();
    });
}

/// The log of the routers in this process; each write is a line.
struct Log;

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        look("the log", line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        look_at_folder(&self.0);
        settle();
    }
}

impl Canaries {
    fn new() -> Self {
        let filter = vec![0; 1 << (FILTER_BITS_LOG2 - 6)].into_boxed_slice();
        Self { filter, by_tail: HashMap::new(), known: HashSet::new() }
    }

    fn add(&mut self, kind: &str, holder: Holder, value: &str) {
        let different: HashSet<u8> = value.bytes().collect();
        if value.len() < VALUE_BYTES_MIN || different.len() < DIFFERENT_BYTES_MIN || !self.known.insert(value.into()) {
            return;
        }
        let kind: Arc<str> = kind.into();
        for (form, bytes) in forms::of(value) {
            let Some(tail) = bytes.last_chunk::<TAIL_BYTES>().copied() else { continue };
            let (word, bit) = place(tail);
            self.filter[word] |= bit;
            let patterns = self.by_tail.entry(tail).or_default();
            patterns.push(Pattern { bytes: bytes.into(), form, kind: kind.clone(), holder });
        }
    }

    fn find(&self, haystack: &[u8], counts: impl Fn(&str, Holder) -> bool) -> Option<Finding> {
        let mut start = 0;
        while let Some(tail) = haystack.get(start..).and_then(|rest| rest.first_chunk::<TAIL_BYTES>()) {
            start += 1;
            let (word, bit) = place(*tail);
            if self.filter[word] & bit == 0 {
                continue;
            }
            let until = &haystack[..start - 1 + TAIL_BYTES];
            let is_there =
                |pattern: &&Pattern| until.ends_with(&pattern.bytes) && counts(&pattern.kind, pattern.holder);
            if let Some(pattern) = self.by_tail.get(tail).and_then(|patterns| patterns.iter().find(is_there)) {
                return Some(finding(pattern, until));
            }
        }
        None
    }
}

/// The bit of the filter for these bytes.
fn place(tail: Tail) -> (usize, u64) {
    let hash = u64::from_le_bytes(tail).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - FILTER_BITS_LOG2);
    let hash = usize::try_from(hash).expect("20 bits fit");
    (hash / 64, 1 << (hash % 64))
}

fn finding(pattern: &Pattern, until: &[u8]) -> Finding {
    const SHOWN_BYTES: usize = 160;
    let before = &until[..until.len() - pattern.bytes.len()];
    let before = &before[before.len().saturating_sub(SHOWN_BYTES)..];
    Finding { kind: pattern.kind.clone(), form: pattern.form, before: String::from_utf8_lossy(before).into_owned() }
}

fn note(place: &str, found: Option<Finding>) {
    if let Some(Finding { kind, form, before }) = found {
        lock(&LEAKS).push(format!("{place}: {kind} ({form}), after `{before}`"));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Somebody who looks at all that stand-ins are given, whichever of them it is: a test of what must never reach a system.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// Is told where something came to, and what.
pub type Witness = fn(place: &str, what: &[u8]);

/// The place of what was written to a [`PrivateRedis`](crate::redis::PrivateRedis), which is shown when it ends.
pub const REDIS: &str = "Redis";

static WITNESS: OnceLock<Witness> = OnceLock::new();

/// Shows it to `witness` from now on, for as long as the process lives. Whoever comes first stays.
pub fn show_to(witness: Witness) {
    let _ = WITNESS.set(witness);
}

pub(crate) fn came(place: &str, what: &[u8]) {
    if let Some(witness) = WITNESS.get() {
        witness(place, what);
    }
}

/// What the files of a folder hold, and those of the folders in it, one after the other.
pub(crate) fn files(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(files(&path)),
            Ok(kind) if kind.is_file() => all.extend(fs::read(&path).unwrap_or_default()),
            _ => {}
        }
    }
    all
}

/// Whether there is one.
pub(crate) fn is_there() -> bool {
    WITNESS.get().is_some()
}

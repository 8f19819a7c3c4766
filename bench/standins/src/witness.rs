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

/// Shows the files of a folder, and of the folders in it.
pub(crate) fn files(place: &str, folder: &Path) {
    if WITNESS.get().is_none() {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(place, &path),
            Ok(kind) if kind.is_file() => came(place, &fs::read(&path).unwrap_or_default()),
            _ => {}
        }
    }
}

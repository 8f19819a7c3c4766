//! Where the program of Redis is on this machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

const PROGRAM: &str = "redis-server";

/// The caller's folders first, then `WEIR_REDIS_BIN`, then `PATH`.
pub(super) fn find(extra: &[PathBuf]) -> Result<PathBuf> {
    if let Some(found) = extra.iter().find_map(|dir| in_folder(dir)) {
        return Ok(found);
    }
    if let Some(chosen) = variable("WEIR_REDIS_BIN").map(PathBuf::from) {
        return match in_folder(&chosen) {
            Some(found) => Ok(found),
            None => bail!("WEIR_REDIS_BIN is {}, where no {PROGRAM} is. Correct or unset it", chosen.display()),
        };
    }
    let path = variable("PATH").unwrap_or_default();
    match env::split_paths(&path).find_map(|dir| in_folder(&dir)) {
        Some(found) => Ok(found),
        None => bail!(
            "no {PROGRAM} was found in {}WEIR_REDIS_BIN or PATH. Install it with `apt-get install redis-server`, name its \
             folder in WEIR_REDIS_BIN, or start with `./run test`, which brings what is missing",
            extra.iter().map(|dir| format!("{}, ", dir.display())).collect::<String>(),
        ),
    }
}

/// An absolute path, because the program runs with another working directory.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let program = folder.canonicalize().ok()?.join(PROGRAM);
    program.is_file().then_some(program)
}

#[allow(clippy::disallowed_methods, reason = "the stand-ins depend on no crate of ours, so they cannot ask `config`")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

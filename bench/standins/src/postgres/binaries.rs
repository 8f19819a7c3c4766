//! Where the Postgres programs are on this machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

const SYSTEM_ROOT: &str = "/usr/lib/postgresql";

/// A folder with `initdb` and `postgres` in it, and the libraries that were unpacked with it, if any.
#[derive(Debug)]
pub(super) struct Binaries {
    dir: PathBuf,
    library_dirs: Vec<PathBuf>,
}

impl Binaries {
    /// The caller's folders first, then `WEIR_PG_BIN`, then `PATH`, then the newest version that the system's packages
    /// installed.
    pub(super) fn find(extra: &[PathBuf]) -> Result<Self> {
        let path = variable("PATH").unwrap_or_default();
        let chosen = match variable("WEIR_PG_BIN").map(PathBuf::from) {
            Some(dir) => match Self::in_folder(&dir) {
                None => {
                    bail!("WEIR_PG_BIN is {}, where no initdb and postgres are. Correct or unset it", dir.display())
                }
                found => found,
            },
            None => None,
        };
        let found = extra
            .iter()
            .find_map(|dir| Self::in_folder(dir))
            .or(chosen)
            .or_else(|| env::split_paths(&path).find_map(|dir| Self::in_folder(&dir)))
            .or_else(|| newest_version(Path::new(SYSTEM_ROOT)).and_then(|dir| Self::in_folder(&dir)));
        match found {
            Some(found) => Ok(found),
            None => bail!(
                "no Postgres programs (initdb, postgres) were found in {}. Install them with `apt-get install postgresql`, \
                 name their folder in WEIR_PG_BIN, or start with `./run demo` or `./run test`, which bring what is missing",
                places(extra),
            ),
        }
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What a program that was unpacked outside its usual place needs to find its libraries.
    pub(super) fn environment(&self) -> Option<(&'static str, OsString)> {
        let joined = env::join_paths(&self.library_dirs).ok()?;
        (!joined.is_empty()).then_some(("LD_LIBRARY_PATH", joined))
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        // An absolute path, because the programs run with another working directory.
        let folder = folder.canonicalize().ok()?;
        if complete(&folder) {
            return Some(Self { dir: folder, library_dirs: Vec::new() });
        }
        let dir = newest_version(&folder.join("usr/lib/postgresql"))?;
        let lib = folder.join("usr/lib");
        let mut library_dirs: Vec<PathBuf> =
            entries(&lib).into_iter().filter(|dir| dir.join("libpq.so.5").exists()).collect();
        library_dirs.push(lib);
        Some(Self { dir, library_dirs })
    }
}

/// The `bin` of the highest version below a folder that has one folder per version.
fn newest_version(root: &Path) -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = entries(root)
        .into_iter()
        .filter_map(|dir| Some((dir.file_name()?.to_str()?.parse().ok()?, dir.join("bin"))))
        .filter(|(_, bin)| complete(bin))
        .collect();
    versions.sort_unstable();
    versions.pop().map(|(_, bin)| bin)
}

fn complete(dir: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| dir.join(program).is_file())
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    dir.read_dir().map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn places(extra: &[PathBuf]) -> String {
    let extra: String = extra.iter().map(|dir| format!("{}, ", dir.display())).collect();
    format!("{extra}WEIR_PG_BIN, PATH or {SYSTEM_ROOT}/*/bin")
}

#[allow(clippy::disallowed_methods, reason = "the stand-ins depend on no crate of ours, so they cannot ask `config`")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plant(root: &Path, bin: &str) -> PathBuf {
        let dir = root.join(bin);
        std::fs::create_dir_all(&dir).expect("a folder");
        for program in ["initdb", "postgres"] {
            std::fs::write(dir.join(program), "").expect("a file");
        }
        dir.canonicalize().expect("it was just made")
    }

    #[test]
    fn a_folder_of_the_caller_wins_and_the_newest_unpacked_version_is_taken() {
        let root = tempfile::tempdir().expect("a folder");
        plant(root.path(), "usr/lib/postgresql/9/bin");
        let newest = plant(root.path(), "usr/lib/postgresql/17/bin");
        std::fs::create_dir_all(root.path().join("usr/lib/postgresql/18/bin")).expect("a folder without programs");
        std::fs::create_dir_all(root.path().join("usr/lib/some-triplet")).expect("a folder");
        std::fs::write(root.path().join("usr/lib/some-triplet/libpq.so.5"), "").expect("a file");

        let found = Binaries::find(&[root.path().join("missing"), root.path().to_owned()]).expect("it is there");
        assert_eq!(found.program("initdb"), newest.join("initdb"));
        let (name, value) = found.environment().expect("unpacked libraries");
        assert_eq!(name, "LD_LIBRARY_PATH");
        assert!(value.to_string_lossy().contains("usr/lib/some-triplet:"), "{value:?}");

        let plain = plant(root.path(), "plain");
        let found = Binaries::find(std::slice::from_ref(&plain)).expect("it is there");
        assert_eq!(found.program("postgres"), plain.join("postgres"));
        assert_eq!(found.environment(), None);
    }
}

//! The key file: read whole, changed in memory, put in place in one step.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use config::{
    identity::{KeyFile, KeyRecord},
    secret::read_private,
};
use serde_json::json;

use super::NewKey;

const HEADER: &str = "\
# API keys of Weir, written by `weir keys`. Only hashes stand here: a lost key cannot be read back, make a new one.
";

/// A key file that is being changed. Nobody else changes it meanwhile, and nothing of it is lost if we are killed.
#[derive(Debug)]
pub(crate) struct KeyStore {
    path: PathBuf,
    records: Vec<KeyRecord>,
    /// The file that takes the place of the old one. That it exists is also the lock.
    next: Next,
}

#[derive(Debug)]
struct Next {
    path: PathBuf,
    file: File,
    /// It stands in the old file's place. What has its path now is the lock of somebody else.
    placed: bool,
}

impl Drop for Next {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The records of the key file at `path`. Whether their roles exist is for the config to say, at the start.
///
/// # Errors
/// When the file is missing, readable by others, or no key file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<KeyRecord>> {
    let text = read_private(path)?;
    let file: KeyFile = serde_saphyr::from_str(&text).with_context(|| format!("{} is no key file", path.display()))?;
    Ok(file.keys)
}

impl KeyStore {
    /// Opens the file at `path` for a change; one that is not there yet starts empty.
    ///
    /// # Errors
    /// As [`read`], and while another change is going on.
    pub(crate) fn open_or_new(path: &Path) -> anyhow::Result<Self> {
        let next = Next::create(path)?;
        let records = if path.try_exists()? { read(path)? } else { Vec::new() };
        Ok(Self { path: path.to_owned(), records, next })
    }

    /// Opens the file at `path`, which must be there, for a change.
    ///
    /// # Errors
    /// As [`open_or_new`](Self::open_or_new).
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.try_exists()? {
            bail!("there is no key file {}; `weir keys create` makes one", path.display());
        }
        Self::open_or_new(path)
    }

    /// Makes a key and adds its record.
    pub(crate) fn add(
        &mut self,
        subject: &str,
        tenant: Option<&str>,
        roles: &[String],
        expires: Option<&str>,
    ) -> NewKey {
        let new = loop {
            let new = NewKey::make(subject, tenant, roles, expires);
            // 36^8 ids: a second round is for the unlucky.
            if self.records.iter().all(|record| record.id != new.record.id) {
                break new;
            }
        };
        self.records.push(new.record.clone());
        new
    }

    /// Takes the record of the key `id` out.
    pub(super) fn remove(&mut self, id: &str) -> anyhow::Result<KeyRecord> {
        let place = self.records.iter().position(|record| record.id == id);
        let Some(place) = place else {
            bail!("{} has no key {id}; `weir keys list` shows the ids", self.path.display())
        };
        Ok(self.records.remove(place))
    }

    /// Puts the changed file in the place of the old one.
    ///
    /// # Errors
    /// When it cannot be written; the old one then is as it was.
    pub(crate) fn save(mut self) -> anyhow::Result<()> {
        let keys = if self.records.is_empty() { "keys: []\n" } else { "keys:\n" };
        let text = HEADER.to_owned() + keys + &self.records.iter().map(entry).collect::<String>();
        let written = self.next.file.write_all(text.as_bytes()).and_then(|()| self.next.file.sync_all());
        let placed = written.and_then(|()| fs::rename(&self.next.path, &self.path));
        self.next.placed = placed.is_ok();
        placed.with_context(|| format!("cannot write {}; it is as it was", self.path.display()))
    }
}

impl Next {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let Some(name) = path.file_name() else { bail!("{} does not name a file", path.display()) };
        let next = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next) {
            Ok(file) => Ok(Self { path: next, file, placed: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
                "{} is being changed by another `weir keys`. If none is running, one was killed half-way: remove {}",
                path.display(),
                next.display()
            ),
            Err(error) => Err(error).with_context(|| format!("cannot write beside {}", path.display())),
        }
    }
}

/// One record in YAML. A JSON string is also a YAML one, so no value can break out of its place.
fn entry(record: &KeyRecord) -> String {
    let KeyRecord { id, hash, subject, tenant, roles, expires } = record;
    let mut text = format!("  - id: {}\n    hash: {}\n    subject: {}\n", json!(id), json!(hash), json!(subject));
    if let Some(tenant) = tenant {
        text += &format!("    tenant: {}\n", json!(tenant));
    }
    text += &format!("    roles: {}\n", json!(roles));
    if let Some(expires) = expires {
        text += &format!("    expires: {}\n", json!(expires));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Next;

    #[test]
    fn who_has_put_a_file_in_place_leaves_the_lock_of_the_next_one_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.yaml");
        let mut first = Next::create(&file).expect("nobody else changes it");
        fs::rename(&first.path, &file).expect("it is ours");
        first.placed = true;
        let second = Next::create(&file).expect("the first has ended its change");
        drop(first);
        assert!(second.path.exists());
        let lock = second.path.clone();
        drop(second);
        assert!(!lock.exists());
    }
}

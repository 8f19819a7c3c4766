//! The key file: the durable record of keys, read whole, changed in memory, put in place in one step.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{
    identity::{KeyFile, KeyRecord},
    secret::{SecretError, read_private},
};
use jiff::{SignedDuration, Timestamp, Unit};
use secrecy::SecretString;
use serde_json::json;

use super::new_key;

const HEADER: &str = "\
# API keys of Weir, written by `weir keys`. Only hashes stand here: a lost key cannot be read back, make a new one.
";

/// Why a key file cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] SecretError),
    /// It is something else.
    #[error("{path} is no key file: {source}")]
    NoKeyFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<serde_saphyr::Error>,
    },
    /// There is none.
    #[error("there is no key file {0}; `weir keys create` makes one")]
    Missing(PathBuf),
    /// It has no such key.
    #[error("{path} has no key {id}; `weir keys list` shows the ids")]
    NoSuchKey {
        /// Which file.
        path: PathBuf,
        /// What was asked for.
        id: String,
    },
    /// The key has no use any more.
    #[error("the key {id} {why}: `weir keys create` makes a new one")]
    Ended {
        /// Which key.
        id: String,
        /// `was revoked` or `has expired`.
        why: &'static str,
    },
    /// Two changes at once.
    #[error(
        "{path} is being changed by another `weir keys`. If none is running, one was killed half-way: remove {lock}"
    )]
    Changing {
        /// Which file.
        path: PathBuf,
        /// What says so.
        lock: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write {path} ({source}); it is as it was")]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A period is too long.
    #[error("{0:?} from now is beyond the end of time")]
    TooFar(Duration),
}

/// A key that was just made. Only its owner keeps the key itself.
#[derive(Debug)]
pub struct MadeKey {
    /// What the caller sends as `Authorization: Bearer …`.
    pub key: SecretString,
    /// What the key file keeps.
    pub record: KeyRecord,
}

/// A key file that is being changed. Nobody else changes it meanwhile, and nothing of it is lost if we are killed.
#[derive(Debug)]
pub struct KeyStore {
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
pub fn read_key_file(path: &Path) -> Result<Vec<KeyRecord>, KeyFileError> {
    let text = read_private(path)?;
    let file: Result<KeyFile, _> = serde_saphyr::from_str(&text);
    file.map(|file| file.keys)
        .map_err(|source| KeyFileError::NoKeyFile { path: path.to_owned(), source: Box::new(source) })
}

impl KeyStore {
    /// Opens the file at `path` for a change; one that is not there yet starts empty.
    ///
    /// # Errors
    /// As [`read_key_file`], and while another change is going on.
    pub fn open_or_new(path: &Path) -> Result<Self, KeyFileError> {
        let next = Next::create(path)?;
        let records = if path.exists() { read_key_file(path)? } else { Vec::new() };
        Ok(Self { path: path.to_owned(), records, next })
    }

    /// Opens the file at `path`, which must be there, for a change.
    ///
    /// # Errors
    /// As [`open_or_new`](Self::open_or_new).
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        if path.exists() { Self::open_or_new(path) } else { Err(KeyFileError::Missing(path.to_owned())) }
    }

    /// Makes a key and adds its record. It works for `lifetime`, or until it is revoked.
    ///
    /// # Errors
    /// When `lifetime` is too long.
    pub fn add(
        &mut self,
        subject: &str,
        tenant: Option<&str>,
        roles: &[String],
        lifetime: Option<Duration>,
    ) -> Result<MadeKey, KeyFileError> {
        let expires = lifetime.map(|lifetime| Ok::<_, KeyFileError>(after(lifetime)?.to_string())).transpose()?;
        let made = loop {
            let made = new_key();
            // 32^8 ids: a second round is for the unlucky.
            if self.records.iter().all(|record| record.id != made.id) {
                break made;
            }
        };
        let record = KeyRecord {
            id: made.id,
            hash: made.hash,
            subject: subject.to_owned(),
            tenant: tenant.map(str::to_owned),
            roles: roles.to_vec(),
            created: Some(after(Duration::ZERO)?.to_string()),
            expires,
            revoked: None,
        };
        self.records.push(record.clone());
        Ok(MadeKey { key: made.key, record })
    }

    /// Makes a key for the same subject, tenant and roles as that of `id`, which works for `overlap` yet and no longer.
    ///
    /// # Errors
    /// When there is no such key, or it does not work any more; when a period is too long.
    pub fn rotate(
        &mut self,
        id: &str,
        overlap: Duration,
        lifetime: Option<Duration>,
    ) -> Result<(MadeKey, KeyRecord), KeyFileError> {
        let (now, end) = (Timestamp::now(), after(overlap)?);
        let old = self.of_id(id)?;
        let expires = old.expires_at();
        let why = match (&old.revoked, expires) {
            (Some(_), _) => Some("was revoked"),
            (None, Some(expires)) if expires <= now => Some("has expired"),
            (None, _) => None,
        };
        if let Some(why) = why {
            return Err(KeyFileError::Ended { id: id.to_owned(), why });
        }
        if expires.is_none_or(|expires| expires > end) {
            old.expires = Some(end.to_string());
        }
        let old = old.clone();
        Ok((self.add(&old.subject, old.tenant.as_deref(), &old.roles, lifetime)?, old))
    }

    /// Marks the key of this id as revoked; one that is already stays as it is.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn revoke(&mut self, id: &str, at: Timestamp) -> Result<KeyRecord, KeyFileError> {
        let record = self.of_id(id)?;
        let at = at.round(Unit::Second).unwrap_or(at);
        record.revoked.get_or_insert_with(|| at.to_string());
        Ok(record.clone())
    }

    fn of_id(&mut self, id: &str) -> Result<&mut KeyRecord, KeyFileError> {
        let path = &self.path;
        let missing = || KeyFileError::NoSuchKey { path: path.clone(), id: id.to_owned() };
        self.records.iter_mut().find(|record| record.id == id).ok_or_else(missing)
    }

    /// Puts the changed file in the place of the old one.
    ///
    /// # Errors
    /// When it cannot be written; the old one then is as it was.
    pub fn save(mut self) -> Result<(), KeyFileError> {
        let keys = if self.records.is_empty() { "keys: []\n" } else { "keys:\n" };
        let text = HEADER.to_owned() + keys + &self.records.iter().map(entry).collect::<String>();
        let written = self.next.file.write_all(text.as_bytes()).and_then(|()| self.next.file.sync_all());
        let placed = written.and_then(|()| fs::rename(&self.next.path, &self.path));
        self.next.placed = placed.is_ok();
        placed.map_err(|source| KeyFileError::Unwritable { path: self.path.clone(), source })
    }
}

impl Next {
    fn create(path: &Path) -> Result<Self, KeyFileError> {
        let unwritable = |source| KeyFileError::Unwritable { path: path.to_owned(), source };
        let name = path.file_name().ok_or_else(|| unwritable(io::ErrorKind::IsADirectory.into()))?;
        let next = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next) {
            Ok(file) => Ok(Self { path: next, file, placed: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeyFileError::Changing { path: path.to_owned(), lock: next })
            }
            Err(error) => Err(unwritable(error)),
        }
    }
}

/// The moment `period` from now, to the second.
fn after(period: Duration) -> Result<Timestamp, KeyFileError> {
    let moment = SignedDuration::try_from(period).ok().and_then(|period| Timestamp::now().checked_add(period).ok());
    moment.and_then(|moment| moment.round(Unit::Second).ok()).ok_or(KeyFileError::TooFar(period))
}

/// One record in YAML. A JSON string is also a YAML one, so no value can break out of its place.
fn entry(record: &KeyRecord) -> String {
    let KeyRecord { id, hash, subject, tenant, roles, created, expires, revoked } = record;
    let mut text = format!("  - id: {}\n    hash: {}\n    subject: {}\n", json!(id), json!(hash), json!(subject));
    let mut add = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            text += &format!("    {name}: {}\n", json!(value));
        }
    };
    add("tenant", tenant);
    add("created", created);
    add("expires", expires);
    add("revoked", revoked);
    text + &format!("    roles: {}\n", json!(roles))
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

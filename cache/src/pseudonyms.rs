//! Names that stand for values, each for one owner alone: in Redis, where all replicas know them, else in the memory of this process.
//!
//! In Redis owners, values and names are hashes under a key, and what must be read again is sealed under its owner and its place: whoever
//! reads Redis learns how many names there are, and whoever writes to it cannot make one that is taken for right.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;
use bytes::Bytes;
use moka::sync::Cache;

use crate::{
    Contract, Found, Key, Sealer,
    entry::Entry,
    octets::hex,
    redis::{Gone, Redis, Script},
};

/// How long a name lives after it was shown last.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How many names one owner has; beyond it those that were shown longest ago are forgotten.
const OWNED_MAX: usize = 10_000;
/// How many owners the memory of one process knows.
const OWNERS_MAX: u64 = 10_000;
/// How many names are asked for in one step.
const STEP_MAX: usize = 250;
/// Of a hash as it stands in Redis.
const HASH_CHARS: usize = 32;

static SHOW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("pseudonyms/show.lua")));
static FIND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("pseudonyms/find.lua")));

/// Names of values.
pub struct Pseudonyms {
    hashes: hmac::Key,
    sealer: Sealer,
    place: Place,
}

enum Place {
    Here(Cache<Box<[u8]>, Arc<Mutex<Owned>>>),
    Shared(Redis),
}

/// A value, and a name that it may have from now on.
#[derive(Debug, Clone)]
pub struct NewName {
    pub value: Bytes,
    pub name: String,
}

/// The names of one owner.
#[derive(Default)]
struct Owned {
    by_value: HashMap<Bytes, (String, u64)>,
    by_name: HashMap<String, Bytes>,
    /// By when it was shown last.
    order: BTreeMap<u64, Bytes>,
    shown: u64,
}

impl Pseudonyms {
    /// Names of this process, or of all that share `redis` and the secret. `sealer` bounds what a value may have.
    #[must_use]
    pub fn new(secret: &[u8; 32], sealer: Sealer, redis: Option<Redis>) -> Self {
        let here = || Cache::builder().max_capacity(OWNERS_MAX).time_to_idle(LIFETIME).build();
        let place = redis.map_or_else(|| Place::Here(here()), Place::Shared);
        Self { hashes: hmac::Key::new(hmac::HMAC_SHA256, secret), sealer, place }
    }

    /// The name of each value for `owner`: the one that it has, else the new one. `None` for a value that is too large to have one.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn show(&self, owner: &[u8], wanted: &[NewName]) -> Result<Vec<Option<String>>, Gone> {
        match &self.place {
            Place::Here(owners) => {
                let owned = owners.get_with(owner.into(), Arc::default);
                let mut owned = owned.lock().unwrap_or_else(PoisonError::into_inner);
                let fits = |new: &&NewName| new.value.len() <= self.sealer.value_bytes_max();
                Ok(wanted.iter().map(|new| Some(new).filter(fits).map(|new| owned.show(new))).collect())
            }
            Place::Shared(redis) => {
                let mut names = Vec::with_capacity(wanted.len());
                for step in wanted.chunks(STEP_MAX) {
                    names.extend(self.show_shared(redis, owner, step).await?);
                }
                Ok(names)
            }
        }
    }

    /// The value behind each name of `owner`; `None` for one that is not his, or not any more.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub async fn find(&self, owner: &[u8], names: &[&str]) -> Result<Vec<Option<Bytes>>, Gone> {
        match &self.place {
            Place::Here(owners) => {
                let owned = owners.get(owner);
                let owned = owned.as_ref().map(|owned| owned.lock().unwrap_or_else(PoisonError::into_inner));
                Ok(names.iter().map(|name| owned.as_ref()?.by_name.get(*name).cloned()).collect())
            }
            Place::Shared(redis) => {
                let mut values = Vec::with_capacity(names.len());
                for step in names.chunks(STEP_MAX) {
                    let hashes: Vec<String> =
                        step.iter().map(|name| self.hash(owner, b"name", name.as_bytes())).collect();
                    let args: Vec<&[u8]> = hashes.iter().map(String::as_bytes).collect();
                    let found: Vec<Option<Vec<u8>>> = redis.bulk(&FIND, &[&self.keys(redis, owner).0], &args).await?;
                    let opened = found.into_iter().zip(&hashes).map(|(sealed, hash)| self.open(owner, hash, &sealed?));
                    values.extend(opened);
                }
                Ok(values)
            }
        }
    }

    async fn show_shared(&self, redis: &Redis, owner: &[u8], wanted: &[NewName]) -> Result<Vec<Option<String>>, Gone> {
        let (mut args, mut rows) = (Vec::new(), Vec::new());
        for (at, new) in wanted.iter().enumerate() {
            let value_hash = self.hash(owner, b"value", &new.value);
            let name_hash = self.hash(owner, b"name", new.name.as_bytes());
            let name = self.seal(owner, &value_hash, Bytes::copy_from_slice(new.name.as_bytes()));
            let value = self.seal(owner, &name_hash, new.value.clone());
            if let (Some(name), Some(value)) = (name, value) {
                args.extend([value_hash.clone().into_bytes(), name_hash.into_bytes(), name, value]);
                rows.push((at, value_hash));
            }
        }
        let mut names = vec![None; wanted.len()];
        if rows.is_empty() {
            return Ok(names);
        }
        let bounds = [LIFETIME.as_millis().to_string(), OWNED_MAX.to_string()];
        let args: Vec<&[u8]> = bounds.iter().map(String::as_bytes).chain(args.iter().map(Vec::as_slice)).collect();
        let (hash, shown) = self.keys(redis, owner);
        let known: Vec<Vec<u8>> = redis.bulk(&SHOW, &[&hash, &shown], &args).await?;
        for ((at, value_hash), sealed) in rows.into_iter().zip(known) {
            names[at] = if sealed.is_empty() {
                Some(wanted[at].name.clone())
            } else {
                // One that does not open is none: somebody wrote it there, or its secret is gone.
                self.open(owner, &value_hash, &sealed).and_then(|name| String::from_utf8(name.into()).ok())
            };
        }
        Ok(names)
    }

    /// Where the names of an owner lie, and when each was shown.
    fn keys(&self, redis: &Redis, owner: &[u8]) -> (String, String) {
        let tag = format!("name:{}", self.hash(owner, b"owner", b""));
        (redis.key(&tag, "names"), redis.key(&tag, "shown"))
    }

    fn hash(&self, owner: &[u8], kind: &[u8], what: &[u8]) -> String {
        let mut mac = hmac::Context::with_key(&self.hashes);
        for part in [owner, kind, what] {
            // Where a part begins and ends is a part of it.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        hex(&mac.sign().as_ref()[..HASH_CHARS / 2])
    }

    fn seal(&self, owner: &[u8], place: &str, what: Bytes) -> Option<Vec<u8>> {
        let entry = Entry::new(what, Found::Found, [].into(), 0, &Contract::default(), 0);
        self.sealer.seal(&sealed_under(owner, place), &entry).ok()
    }

    fn open(&self, owner: &[u8], place: &str, sealed: &[u8]) -> Option<Bytes> {
        self.sealer.open(&sealed_under(owner, place), sealed).ok().map(|entry| entry.value)
    }
}

/// The place has one length, so where the owner begins is certain.
fn sealed_under(owner: &[u8], place: &str) -> Key {
    Key::hashed(&[b"weir/pseudonym/", place.as_bytes(), owner].concat())
}

impl Owned {
    fn show(&mut self, new: &NewName) -> String {
        self.shown += 1;
        let (name, shown) = self.by_value.entry(new.value.clone()).or_insert_with(|| (new.name.clone(), 0));
        self.order.remove(shown);
        *shown = self.shown;
        self.order.insert(self.shown, new.value.clone());
        let name = name.clone();
        self.by_name.insert(name.clone(), new.value.clone());
        if self.by_value.len() > OWNED_MAX
            && let Some((_, oldest)) = self.order.pop_first()
            && let Some((name, _)) = self.by_value.remove(&oldest)
        {
            self.by_name.remove(&name);
        }
        name
    }
}

/// Owners, values and names are not shown.
impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms(…)")
    }
}

#[cfg(test)]
mod tests;

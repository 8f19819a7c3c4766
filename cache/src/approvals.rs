//! What people have approved, known to every replica: in Redis where there is one, else in the memory of this process.
//!
//! Redis is not believed: an approval is a code (HMAC) over what was approved, which only who has the secret can make. What is approved
//! cannot be read from it, and whoever may write to Redis cannot approve anything. What Redis loses is approved no more after a restart.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Mutex, PoisonError, RwLock},
};

use aws_lc_rs::hmac;

use crate::{
    octets::random,
    redis::{Gone, Redis, Script},
};

/// How many are kept; one more is refused.
const APPROVALS_MAX: usize = 20_000;
/// How many first sights may wait for Redis.
const UNSENT_MAX: usize = 20_000;

/// One definition of one thing of one owner, as its SHA-256.
#[derive(Debug, Clone, Copy)]
pub struct Approved<'a> {
    /// The downstream.
    pub owner: &'a str,
    /// The tool.
    pub name: &'a str,
    /// SHA-256 over its definition.
    pub digest: &'a [u8; 32],
}

/// How far an approval reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Every replica learns it.
    Everywhere,
    /// This process alone, and until it ends: there is no Redis.
    Here,
}

/// Why nothing was approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    #[error("Redis cannot be reached")]
    Gone,
    #[error("{APPROVALS_MAX} approvals are kept already: put them into the lock file, and forget them")]
    Full,
}

type Code = [u8; 32];

/// What people have approved.
pub struct Approvals {
    key: hmac::Key,
    redis: Option<Shared>,
    known: RwLock<Known>,
    /// What was seen first here and Redis is yet to hear of.
    unsent: Mutex<Vec<(Code, Code)>>,
}

#[derive(Default)]
struct Known {
    /// What Redis says changes with every approval; empty before it was asked.
    version: Vec<u8>,
    /// Goes up with everything that is learnt.
    count: u64,
    approved: HashSet<Code>,
    /// By the name of a thing: what was seen of it first.
    first: HashMap<Code, Code>,
}

struct Shared {
    redis: Redis,
    place: String,
    put: Script,
    read: Script,
}

impl Approvals {
    /// Approvals of this process, or of all that share `redis` and the secret.
    #[must_use]
    pub fn new(secret: &[u8; 32], redis: Option<Redis>) -> Self {
        let shared = |redis: Redis| Shared {
            place: redis.key("approvals", ""),
            put: Script::new(include_str!("approvals/put.lua")),
            read: Script::new(include_str!("approvals/read.lua")),
            redis,
        };
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            redis: redis.map(shared),
            known: RwLock::default(),
            unsent: Mutex::default(),
        }
    }

    /// Changes whenever more or less is approved, as far as this process knows.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.known.read().unwrap_or_else(PoisonError::into_inner).count
    }

    /// Whether somebody approved it.
    #[must_use]
    pub fn has(&self, what: &Approved<'_>) -> bool {
        let code = self.code(b"approved", what);
        self.known.read().unwrap_or_else(PoisonError::into_inner).approved.contains(&code)
    }

    /// Whether it is the first definition that was seen of the thing, which it is if none was seen before. Replicas that see two at once
    /// learn soon which of them counts.
    #[must_use]
    pub fn is_first(&self, what: &Approved<'_>) -> bool {
        let (name, code) = (self.code(b"name", &Approved { digest: &[0; 32], ..*what }), self.code(b"first", what));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = known.first.get(&name) {
            return *first == code;
        }
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        if known.first.len() >= APPROVALS_MAX || unsent.len() >= UNSENT_MAX {
            return false;
        }
        known.first.insert(name, code);
        if self.redis.is_some() {
            unsent.push((name, code));
        }
        true
    }

    /// Approves it for all replicas.
    ///
    /// # Errors
    /// When it could not be kept; then it is approved nowhere.
    pub async fn approve(&self, what: &Approved<'_>) -> Result<Reach, NotApproved> {
        let code = self.code(b"approved", what);
        let reach = match &self.redis {
            None => Reach::Here,
            Some(shared) => {
                shared.put(&code, b"").await?;
                Reach::Everywhere
            }
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.approved.len() >= APPROVALS_MAX {
            return Err(NotApproved::Full);
        }
        known.approved.insert(code);
        known.count += 1;
        Ok(reach)
    }

    /// Tells Redis what was seen first here, and takes over what it knows. Says whether that is anything new.
    ///
    /// # Errors
    /// When Redis cannot be asked: what is known stays.
    pub async fn learn(&self) -> Result<bool, Gone> {
        let Some(shared) = &self.redis else { return Ok(false) };
        let unsent = std::mem::take(&mut *self.unsent.lock().unwrap_or_else(PoisonError::into_inner));
        for (at, (name, code)) in unsent.iter().enumerate() {
            match shared.put(name, code).await {
                Ok(()) | Err(NotApproved::Full) => {}
                Err(NotApproved::Gone) => {
                    let mut waiting = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
                    waiting.extend_from_slice(&unsent[at..]);
                    return Err(Gone::Down);
                }
            }
        }
        let version = self.known.read().unwrap_or_else(PoisonError::into_inner).version.clone();
        let Some((version, fields)) = shared.read(&version).await? else { return Ok(false) };
        let (mut approved, mut first) = (HashSet::new(), HashMap::new());
        for (field, value) in fields {
            match (Code::try_from(field), Code::try_from(value)) {
                (Ok(name), Ok(code)) => drop(first.insert(name, code)),
                (Ok(code), Err(_)) => drop(approved.insert(code)),
                (Err(_), _) => {}
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // What was seen meanwhile and is on its way stays seen.
        let waiting = self.unsent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, code) in waiting {
            first.entry(name).or_insert(code);
        }
        *known = Known { version, count: known.count + 1, approved, first };
        Ok(true)
    }

    /// The beginning and the end of each part belong to it.
    fn code(&self, usage: &[u8], what: &Approved<'_>) -> Code {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [usage, what.owner.as_bytes(), what.name.as_bytes(), what.digest.as_slice()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
    }
}

impl Shared {
    /// Puts a field that is not there yet.
    async fn put(&self, field: &[u8], value: &[u8]) -> Result<(), NotApproved> {
        let most = APPROVALS_MAX.to_string();
        let args: [&[u8]; 4] = [field, value, &random::<16>(), most.as_bytes()];
        let put: i64 = self.redis.small(&self.put, &[&self.place], &args).await.map_err(|_gone| NotApproved::Gone)?;
        if put == 0 { Err(NotApproved::Full) } else { Ok(()) }
    }

    /// The version and all fields, where the version is another one.
    async fn read(&self, version: &[u8]) -> Result<Option<(Vec<u8>, Fields)>, Gone> {
        let read: Vec<Vec<u8>> = self.redis.bulk(&self.read, &[&self.place], &[version]).await?;
        let mut read = read.into_iter();
        let Some(found) = read.next() else { return Ok(None) };
        let mut fields = Vec::new();
        while let (Some(field), Some(value)) = (read.next(), read.next()) {
            fields.push((field, value));
        }
        Ok(Some((found, fields)))
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The secret is not shown.
impl fmt::Debug for Approvals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approvals").field("shared", &self.redis.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

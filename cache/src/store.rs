//! What all replicas hold together: values, and the right to fetch one, which one replica at a time has.
//!
//! Two keys of Redis stand for one key of the cache: the value, and the *lease*. Whoever finds no value takes the lease, fetches, stores the
//! value and ends the lease in one step, which is refused if the lease is another's by then. What is not stored is left in place of the lease
//! for a moment, as a *note* to those who waited for it. Each step is one script, so none of them falls between two others.

mod notices;
mod scripts;

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{runtime::Handle, task::spawn_blocking, time::sleep};
use tokio_util::task::TaskTracker;

use self::{
    notices::{Listener, Notices},
    scripts::{Look, Scripts},
};
use crate::{
    cache::Counts,
    entry::{Entry, Version},
    key::Key,
    octets::random,
    redis::{Channel, Gone, Redis},
    sealed::{Damage, Sealer},
};

const VERSION_BYTES: usize = size_of::<Version>();
/// Notes are small: what is larger, others fetch for themselves.
const NOTE_BYTES_MAX: usize = 64 * 1024;
/// How long those who wait have to find a note. They look four times a second if they are not told.
const NOTE_FOR: Duration = Duration::from_secs(2);
/// From this size on, an entry is sealed and opened where nobody else's call waits for it.
const ASIDE_FROM_BYTES: usize = 256 * 1024;

/// Values and leases in Redis.
pub(crate) struct Store {
    shared: Arc<Shared>,
}

/// Who holds a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token([u8; 16]);

/// What a look at a key came to.
pub(crate) enum Turn {
    /// There is a value, of another version than was seen. `None`: it is no entry.
    Value { version: Vec<u8>, entry: Option<Entry> },
    /// The fetch is ours to make.
    Leased(Lease),
    /// It is another's, for so long unless it is renewed.
    Busy { holder: Token, left: Duration },
    /// What the one that was waited for leaves.
    Note(Note),
}

/// What is told to those who wait when nothing is stored.
pub(crate) enum Note {
    /// For them alone: it may not be stored, or is too large.
    Answer(Entry),
    /// A whole answer that is not stored.
    Shared(Entry),
    Failed(Entry),
    /// It was for its own caller alone: each caller fetches.
    Each,
    /// It cannot be handed on: each replica fetches.
    Unshared,
    /// The fetch took longer than it may.
    Late,
}

/// What became of storing a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    Done,
    /// The lease was lost meanwhile, or Redis is full.
    Refused,
    /// It has more tags than are stored.
    Unsealable,
    /// Redis did not say.
    Gone,
}

/// The right to fetch a key. Dropped without an end, it is given back.
pub(crate) struct Lease {
    shared: Arc<Shared>,
    key: Key,
    token: Token,
    lost: AtomicBool,
    ended: bool,
}

struct Shared {
    redis: Redis,
    sealer: Arc<Sealer>,
    lease: Duration,
    scripts: Scripts,
    notices: Arc<Notices>,
    counts: Arc<Counts>,
    /// Leases on their way back.
    handed_back: TaskTracker,
}

impl Store {
    pub(crate) fn new(redis: Redis, sealer: Sealer, lease: Duration, counts: Arc<Counts>) -> Self {
        let notices = Arc::new(Notices::default());
        tokio::spawn(notices::hear(redis.messages(), Arc::downgrade(&notices)));
        let shared = Shared {
            scripts: Scripts::new(redis.channel(Channel::Landed)),
            sealer: Arc::new(sealer),
            handed_back: TaskTracker::new(),
            redis,
            lease,
            notices,
            counts,
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn redis(&self) -> &Redis {
        &self.shared.redis
    }

    /// Hears from now on of everything that ends a wait for `key`.
    pub(crate) fn listen(&self, key: &Key) -> Listener {
        self.shared.notices.listen(*key)
    }

    /// A value of another version than the one that was `seen`, else the lease, else whose it is. A note is for whoever `waits_for` the one that
    /// left it, and for nobody else.
    pub(crate) async fn turn(&self, key: &Key, seen: &[u8], waits_for: Option<Token>) -> Result<Turn, Gone> {
        let shared = &self.shared;
        let value_bytes_max = VERSION_BYTES + shared.sealer.sealed_bytes_max();
        // It may be ours although nobody is there any more to hear of it: so it is given back unless the answer says that it is not.
        let mut lease = Lease::assumed(shared, key);
        let asked = Some((lease.token, shared.lease));
        let look = shared.scripts.look(&shared.redis, key, seen, waits_for, asked, value_bytes_max).await?;
        lease.ended = !matches!(look, Look::Leased { .. });
        Ok(match look {
            Look::Value(value) => {
                let version = value[..value.len().min(VERSION_BYTES)].to_vec();
                Turn::Value { version, entry: shared.open(key, value).await }
            }
            Look::Leased { odd } => {
                if let Some(damage) = odd {
                    shared.counts.damage(damage);
                }
                Turn::Leased(lease)
            }
            Look::Busy { holder, left } => Turn::Busy { holder, left },
            Look::Note(note) => Turn::Note(shared.open_note(key, &note)),
            Look::Nothing => return Err(Gone::Failed),
        })
    }

    /// The value, whatever its version. Nothing is taken.
    pub(crate) async fn look(&self, key: &Key) -> Option<Entry> {
        let shared = &self.shared;
        let value_bytes_max = VERSION_BYTES + shared.sealer.sealed_bytes_max();
        match shared.scripts.look(&shared.redis, key, &[], None, None, value_bytes_max).await {
            Ok(Look::Value(value)) => shared.open(key, value).await,
            Ok(_) | Err(_) => None,
        }
    }

    /// Ends when all leases that were dropped are given back.
    pub(crate) async fn settled(&self) {
        self.shared.handed_back.close();
        self.shared.handed_back.wait().await;
    }
}

impl Lease {
    fn assumed(shared: &Arc<Shared>, key: &Key) -> Self {
        let (shared, token, lost) = (shared.clone(), Token::random(), AtomicBool::new(false));
        Self { shared, key: *key, token, lost, ended: false }
    }

    /// Renews the lease until this is dropped.
    pub(crate) async fn renew(&self) -> Infallible {
        let Shared { redis, lease, scripts, .. } = &*self.shared;
        loop {
            sleep(*lease / 3).await;
            // Without an answer the next renewal may still be in time.
            if let Ok(false) = scripts.renew(redis, &self.key, self.token, *lease).await {
                self.lost.store(true, Ordering::Relaxed);
                return pending().await;
            }
        }
    }

    /// Stores the value and ends the lease, if it is still held.
    pub(crate) async fn commit(mut self, entry: &Entry, lifetime_ms: u64) -> Commit {
        let Shared { redis, scripts, counts, .. } = &*self.shared;
        let committed = if self.lost.load(Ordering::Relaxed) {
            Ok(false)
        } else if let Some(value) = self.shared.seal(&self.key, entry).await {
            scripts.commit(redis, &self.key, self.token, &value, lifetime_ms).await
        } else {
            self.end(Note::Unshared).await;
            return Commit::Unsealable;
        };
        self.ended = committed.is_ok();
        match committed {
            Ok(true) => Commit::Done,
            Ok(false) => {
                counts.refused_commits.one_more();
                Commit::Refused
            }
            Err(_gone) => Commit::Gone,
        }
    }

    /// Ends the lease without a value, and leaves a note for those who wait.
    pub(crate) async fn end(mut self, note: Note) {
        let Shared { redis, scripts, .. } = &*self.shared;
        let note = self.shared.seal_note(&self.key, self.token, &note);
        self.ended = scripts.end(redis, &self.key, self.token, &note, NOTE_FOR).await.is_ok();
    }
}

impl Drop for Lease {
    /// Others need not wait until it expires. Where this cannot be told, it does.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (shared, key, token) = (self.shared.clone(), self.key, self.token);
        let tracker = self.shared.handed_back.clone();
        tracker.spawn_on(
            async move {
                let _gone = shared.scripts.end(&shared.redis, &key, token, &[], NOTE_FOR).await;
            },
            &runtime,
        );
    }
}

impl Token {
    fn random() -> Self {
        Self(random())
    }
}

impl Shared {
    /// The entry in a value, behind its version. Anything else is counted, and is no entry.
    async fn open(&self, key: &Key, value: Vec<u8>) -> Option<Entry> {
        let opened = if value.len() < ASIDE_FROM_BYTES {
            open(&self.sealer, key, &value)
        } else {
            let (sealer, key) = (self.sealer.clone(), *key);
            spawn_blocking(move || open(&sealer, &key, &value)).await.ok()?
        };
        opened.inspect_err(|damage| self.counts.damage(*damage)).ok()
    }

    async fn seal(&self, key: &Key, entry: &Entry) -> Option<Vec<u8>> {
        if entry.value.len() < ASIDE_FROM_BYTES {
            return seal(&self.sealer, key, entry);
        }
        let (sealer, key, entry) = (self.sealer.clone(), *key, entry.clone());
        spawn_blocking(move || seal(&sealer, &key, &entry)).await.ok()?
    }

    /// A note as it lies in place of the lease: its kind, who left it, and what else there is to it.
    fn seal_note(&self, key: &Key, token: Token, note: &Note) -> Vec<u8> {
        let (kind, entry) = match note {
            Note::Answer(entry) => (b'A', Some(entry)),
            Note::Shared(entry) => (b'S', Some(entry)),
            Note::Failed(entry) => (b'F', Some(entry)),
            Note::Each => (b'E', None),
            Note::Unshared => (b'U', None),
            Note::Late => (b'T', None),
        };
        let head = [&[kind], &token.0[..]].concat();
        let Some(entry) = entry else { return head };
        if entry.value.len() <= NOTE_BYTES_MAX
            && let Ok(sealed) = self.sealer.seal_as(&head, key, entry)
        {
            return [head, sealed].concat();
        }
        self.seal_note(key, token, &Note::Unshared)
    }

    fn open_note(&self, key: &Key, note: &[u8]) -> Note {
        let (head, sealed) = note.split_at(note.len().min(1 + VERSION_BYTES));
        let kind: fn(Entry) -> Note = match head.first() {
            Some(b'A') => Note::Answer,
            Some(b'S') => Note::Shared,
            Some(b'F') => Note::Failed,
            Some(b'E') => return Note::Each,
            Some(b'T') => return Note::Late,
            _ => return Note::Unshared,
        };
        match self.sealer.open_as(head, key, sealed) {
            Ok(entry) => kind(entry),
            Err(damage) => {
                self.counts.damage(damage);
                Note::Unshared
            }
        }
    }
}

fn seal(sealer: &Sealer, key: &Key, entry: &Entry) -> Option<Vec<u8>> {
    let sealed = sealer.seal(key, entry).ok()?;
    Some([&entry.version.0[..], &sealed].concat())
}

fn open(sealer: &Sealer, key: &Key, value: &[u8]) -> Result<Entry, Damage> {
    let (version, sealed) = value.split_at_checked(VERSION_BYTES).ok_or(Damage::Truncated)?;
    let entry = sealer.open(key, sealed)?;
    if entry.version.0 == version { Ok(entry) } else { Err(Damage::Seal) }
}

#[cfg(test)]
pub(crate) mod tests;

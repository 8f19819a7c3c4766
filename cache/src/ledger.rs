//! What is kept of writes: so that the same idempotency key is one write, and that its caller can ask later what became of it.
//!
//! A write with a key is *reserved* under a lease, then *sent* (told before its first byte leaves), then *done* with its answer, or *unknown*.
//! A reservation whose lease is over may be taken by another; a sent one never runs again. Names are keyed hashes, and what is said of a write is
//! sealed: whoever reads Redis learns neither callers nor keys nor answers.

mod memory;
mod model;
mod names;
mod remote;
mod ticket;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::{
    Sealer,
    clock::Clock,
    redis::{Channel, Gone, Message, Messages, Redis},
};
use memory::Memory;
use model::Step;
use names::Place;
use remote::Remote;

pub use names::{Names, Owner};
pub use ticket::Ticket;

/// Names one write.
pub type OperationId = [u8; 16];

/// What is told of writes beside the path of their calls, at most so many at once.
const ASIDE_MAX: usize = 1024;

/// What is kept of writes. Clones are one ledger.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    settings: Settings,
    names: Names,
    /// All there is without Redis; with it, what could not be told there of writes without a key.
    memory: Memory,
    remote: Option<Arc<Remote>>,
    clock: Clock,
    /// Something in memory has ended.
    ended: Notify,
    aside: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub kept_for: Duration,
    /// How long keys are refused once it was noticed that what was known of them is lost.
    pub refused_after_loss: Duration,
    /// The largest answer that is kept.
    pub answer_bytes_max: usize,
    /// Before a write with a key is sent, a replica of the server must have heard of it, where there are any, within this time.
    pub replica_timeout: Duration,
}

/// A write that is about to be made.
#[derive(Debug, Clone)]
pub struct NewWrite {
    pub operation: OperationId,
    /// How long it counts as alive without a sign of life. Those with a key give one by themselves.
    pub lease: Duration,
    /// Two writes with the same one ask for the same.
    pub print: [u8; 16],
    /// What else is to be known of it later.
    pub about: Bytes,
}

/// What a key came to.
#[derive(Debug)]
pub enum Begun {
    /// It is new, or nothing was ever sent for it.
    First(Ticket),
    /// There was a write with this key before.
    Before(Known),
}

/// What is known of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub operation: OperationId,
    pub print: [u8; 16],
    pub state: State,
    pub about: Bytes,
    /// What it came to, where that is kept.
    pub answer: Option<Bytes>,
    pub started_ms: u64,
    pub ended_ms: Option<u64>,
}

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It waits for its turn; nothing was sent.
    Waiting,
    /// It was sent, and its answer is awaited.
    Sent,
    /// It was sent, and no answer came.
    Unknown,
    /// It ended before anything was sent, or was refused without effect.
    NotMade,
    Done,
}

/// Why a key is not looked at now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknowable {
    #[error("Redis, which knows the keys, cannot be asked")]
    Gone,
    #[error("what was known of keys was lost")]
    Lost { refused_for: Duration },
    #[error("more keys than the memory of one process holds")]
    Full,
}

impl Ledger {
    /// In the memory of this process.
    #[must_use]
    pub fn in_memory(settings: Settings, secret: &[u8; 32]) -> Self {
        Self::new(settings, secret, None)
    }

    /// In Redis, sealed by `sealer`. Must be made within a tokio runtime.
    #[must_use]
    pub fn shared(redis: Redis, settings: Settings, sealer: Sealer, secret: &[u8; 32]) -> Self {
        Self::new(settings, secret, Some(Arc::new(Remote::new(redis, settings, sealer)).watched()))
    }

    fn new(settings: Settings, secret: &[u8; 32], remote: Option<Arc<Remote>>) -> Self {
        Self(Arc::new(Inner {
            settings,
            names: Names::new(secret),
            memory: Memory::default(),
            clock: remote.as_deref().map_or_else(Clock::local, Remote::clock),
            remote,
            ended: Notify::new(),
            aside: Arc::new(Semaphore::new(ASIDE_MAX)),
            tasks: TaskTracker::new(),
        }))
    }

    /// The names of whatever belongs to one caller, and prints of what it asks for.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// Looks at a caller's key and takes it, if no write of it was ever sent or is on its way.
    ///
    /// # Errors
    /// When that cannot be known now: then nothing may be sent.
    pub async fn begin(&self, owner: Owner, key: &[u8], write: &NewWrite) -> Result<Begun, Unknowable> {
        let place = self.0.names.of_key(owner, key);
        let known = match &self.0.remote {
            Some(remote) => {
                let Ok(known) = remote.begin(place, write).await else {
                    // It may have been taken all the same, and nobody is to wait for its lease.
                    Ticket::new(self, place, write).release_aside();
                    return Err(Unknowable::Gone);
                };
                // Asked after it: what was lost before the key was taken is noticed.
                if known.is_none()
                    && let Err(unknowable) = remote.check_loss().await
                {
                    Ticket::new(self, place, write).release().await;
                    return Err(unknowable);
                }
                known
            }
            None => self.0.memory.begin(place, write, self.now_ms(), self.0.settings).ok_or(Unknowable::Full)?,
        };
        Ok(known.map_or_else(|| Begun::First(Ticket::new(self, place, write).renewed()), Begun::Before))
    }

    /// Whether a new key would be taken now.
    ///
    /// # Errors
    /// Why not.
    pub async fn takes_keys(&self) -> Result<(), Unknowable> {
        match &self.0.remote {
            Some(remote) => remote.check_loss().await,
            None if self.0.memory.has_room(self.now_ms()) => Ok(()),
            None => Err(Unknowable::Full),
        }
    }

    /// Whether all replicas know the same.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.remote.is_some()
    }

    /// The ticket of a write without a key. Nothing waits for what is told of it.
    #[must_use]
    pub fn keyless(&self, owner: Owner, write: &NewWrite) -> Ticket {
        Ticket::new(self, self.0.names.of_operation(owner, write.operation), write)
    }

    /// What is known of a write of this caller, and the ticket by which more can be told of it.
    ///
    /// # Errors
    /// When Redis, which may know it, cannot be asked.
    pub async fn find(&self, owner: Owner, operation: OperationId) -> Result<Option<(Known, Ticket)>, Gone> {
        let place = self.0.names.of_operation(owner, operation);
        let here = self.0.memory.find(place, self.now_ms());
        let there = match &self.0.remote {
            Some(remote) => match remote.find(place).await {
                Ok(there) => there,
                Err(_gone) if here.is_some() => None,
                Err(gone) => return Err(gone),
            },
            None => None,
        };
        // While Redis was gone one may have been told a part, and the other the rest.
        let known = here.into_iter().chain(there).max_by_key(|(known, _)| known.state);
        Ok(known.map(|(known, place)| {
            let write = NewWrite { operation, lease: Duration::ZERO, print: known.print, about: known.about.clone() };
            let ticket = Ticket::new(self, place, &write).awaited();
            (known, ticket)
        }))
    }

    /// Hears from now on that writes have ended.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch { messages: self.0.remote.as_deref().map(Remote::messages), ledger: self.clone() }
    }

    /// Waits until what is told beside the path of calls has been told.
    pub async fn settled(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Takes a step of a write.
    async fn step(&self, place: Place, write: &NewWrite, step: &Step) -> Result<bool, Gone> {
        match &self.0.remote {
            Some(remote) => remote.step(place, write, step).await,
            None => Ok(self.step_here(place, write, step)),
        }
    }

    fn step_here(&self, place: Place, write: &NewWrite, step: &Step) -> bool {
        let taken = self.0.memory.step(place, write, step, self.now_ms(), self.0.settings);
        if taken && !matches!(step, Step::Renew | Step::Sent) {
            self.0.ended.notify_waiters();
        }
        taken
    }

    fn now_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// Hears that writes have ended. What is said can be lost, so whoever waits also looks now and then.
#[derive(Debug)]
pub struct Watch {
    messages: Option<Messages>,
    ledger: Ledger,
}

impl Watch {
    /// Ends when this write may have ended, or after `at_most`.
    pub async fn ended(&mut self, operation: OperationId, at_most: Duration) {
        let _elapsed = tokio::time::timeout(at_most, async {
            let Some(messages) = &mut self.messages else { return self.ledger.0.ended.notified().await };
            loop {
                match messages.next().await {
                    Some(Message::Published { channel: Channel::Operations, payload }) if payload == operation[..] => {
                        return;
                    }
                    Some(Message::Published { .. }) => {}
                    Some(Message::Gap) | None => return,
                }
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests;

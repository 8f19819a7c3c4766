//! What entries are about, and whether that has changed since they were read.
//!
//! Each tag has a generation, a random value. An entry holds the generations that its tags had *before* its fetch, and is valid only
//! while none has moved. To say that something changed is to *raise* its tag: to give it a new generation.
//!
//! Some tags are known only from the answer. For these there are *templates*, tags that stand for all tags of a kind and are raised before
//! any of them: a reader notes the template before its fetch, reads the tags after it, and looks at the template last.

mod generation;
mod marks;
mod memory;
#[cfg(test)]
mod model;
mod queue;
mod recent;
mod remote;
mod shared;
mod view;

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::time::Instant;

use self::{marks::WriteId, memory::Memory, remote::InRedis, shared::Shared};
use crate::{entry::TagGeneration, octets::random, redis::Redis};

/// What an entry can be about. It stands for a name without holding it: names are made of arguments, and lie in Redis.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    pub(crate) id: [u8; 16],
    /// Whether its generation is compared in Redis each time an entry with it is served; else a view that may be a second old will do.
    pub(crate) strict: bool,
}

/// The generations of all tags, shared by the process.
#[derive(Clone)]
pub struct Tags {
    kind: Arc<Kind>,
}

/// What a reader noted before its fetch.
#[derive(Debug)]
pub(crate) struct Before {
    known: Vec<TagGeneration>,
    templates: Vec<TagGeneration>,
    storable: bool,
}

/// Whether an entry may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    Valid,
    /// Redis is gone, and the tags, none of them strict, cannot be compared: only how long it is fresh bounds its age.
    Unverified,
    /// Something that it is about has changed.
    Moved,
    /// Redis is gone, and a strict tag cannot be compared.
    Unknowable,
}

/// How far a raise got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    Everywhere,
    /// In this process at once, elsewhere as soon as Redis is back.
    Queued,
}

/// Whether a write may still change something after it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Yes,
    /// It may, for so long.
    Unknown(Duration),
}

/// Nothing may be sent: others would go on serving what it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cache could not be told of this write, and it holds answers that must not outlive it; nothing was sent; try again when Redis is back"
)]
pub struct Unannounced;

/// A write that is under way. While it is, no answer that it may change is stored.
#[must_use = "the write is pending until its end is told"]
pub struct Pending {
    tags: Tags,
    write: WriteId,
    /// Templates first.
    concerned: Vec<Tag>,
    ended: bool,
}

enum Kind {
    Memory(Box<Memory>),
    Shared(Shared),
}

impl Tag {
    /// A name has the same tag in all replicas and for all time: no secret is part of it.
    #[must_use]
    pub fn new(name: &str, strict: bool) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"weir/cache/tag\0");
        context.update(name.as_bytes());
        let digest = context.finish();
        let id = *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Self { id, strict }
    }

    #[must_use]
    pub fn is_strict(self) -> bool {
        self.strict
    }
}

impl Tags {
    /// For one process without Redis. Up to `tags_max` tags are known; one that was forgotten starts anew, so its entries are dead.
    #[must_use]
    pub fn in_memory(tags_max: usize) -> Self {
        Self { kind: Arc::new(Kind::Memory(Box::new(Memory::new(tags_max)))) }
    }

    /// For processes that share what Redis holds, and stay true to their word while it is gone. The view knows up to `tags_max` tags. Before
    /// a write of a strict tag is sent, a replica of the server must have heard of it, where there are any, within `replica_timeout`. Called
    /// within a tokio runtime.
    #[must_use]
    pub fn shared(redis: Redis, tags_max: usize, replica_timeout: Duration) -> Self {
        let remote = Box::new(InRedis::new(redis, replica_timeout));
        Self { kind: Arc::new(Kind::Shared(Shared::new(remote, tags_max))) }
    }

    /// What an entry about `tags` needs from before its fetch. `templates` stand for the tags that only its answer will name.
    pub(crate) async fn before(&self, tags: &[Tag], templates: &[Tag]) -> Before {
        match &*self.kind {
            Kind::Memory(memory) => {
                let (known, tags_settled) = memory.read(tags);
                let (templates, templates_settled) = memory.read(templates);
                Before { known, templates, storable: tags_settled && templates_settled }
            }
            Kind::Shared(shared) => shared.before(tags, templates).await,
        }
    }

    /// The tags of an answer, `result_tags` being those that it named itself. `None`: it must not be stored, since a write may have changed
    /// it while it was on its way.
    pub(crate) async fn after(&self, before: Before, result_tags: &[Tag]) -> Option<Arc<[TagGeneration]>> {
        if !before.storable {
            return None;
        }
        let Before { known: mut tags, templates, .. } = before;
        let new: Vec<Tag> =
            result_tags.iter().filter(|tag| tags.iter().all(|known| known.tag.id != tag.id)).copied().collect();
        match &*self.kind {
            Kind::Memory(memory) => {
                let (named, settled) = memory.read(&new);
                if !settled || !memory.holds(&templates) {
                    return None;
                }
                tags.extend(named);
            }
            Kind::Shared(shared) => tags.extend(shared.after(&templates, &new).await?),
        }
        Some(tags.into())
    }

    /// Whether an entry with `tags` may be served now.
    pub(crate) async fn check(&self, tags: &[TagGeneration]) -> Check {
        match &*self.kind {
            Kind::Memory(memory) if memory.holds(tags) => Check::Valid,
            Kind::Memory(_) => Check::Moved,
            Kind::Shared(shared) => shared.check(tags).await,
        }
    }

    /// A write that changes what `tags` and `templates` stand for is about to be sent, and will have ended after `pending_for`.
    pub async fn begin(&self, tags: &[Tag], templates: &[Tag], pending_for: Duration) -> Result<Pending, Unannounced> {
        let concerned = [templates, tags].concat();
        let write = random();
        match &*self.kind {
            Kind::Memory(memory) => {
                memory.mark(concerned.iter().copied(), write, Instant::now() + pending_for);
                memory.raise(concerned.iter().copied());
            }
            Kind::Shared(shared) => shared.begin(&concerned, write, pending_for).await?,
        }
        Ok(Pending { tags: self.clone(), write, concerned, ended: false })
    }

    /// Something has changed, whoever changed it. Templates come before the tags they stand for.
    pub async fn raise(&self, tags: &[Tag]) -> Raised {
        match &*self.kind {
            Kind::Memory(memory) => {
                memory.raise(tags.iter().copied());
                Raised::Everywhere
            }
            Kind::Shared(shared) => shared.raise(tags).await,
        }
    }

    /// Before the process ends: the others are told of the raises that wait, if Redis is there.
    pub(crate) async fn tell_what_waits(&self) {
        if let Kind::Shared(shared) = &*self.kind {
            shared.tell_what_waits().await;
        }
    }
}

impl Before {
    /// Whether the answer may be stored, as far as can be told before the fetch.
    #[must_use]
    pub(crate) fn storable(&self) -> bool {
        self.storable
    }
}

impl Pending {
    /// The write has ended, and its answer named `result_tags`. Whoever wrote is answered after this.
    pub async fn end(mut self, result_tags: &[Tag], settled: Settled) -> Raised {
        let all = [&self.concerned, result_tags].concat();
        let raised = match &*self.tags.kind {
            Kind::Memory(memory) => {
                let until = match settled {
                    Settled::Yes => None,
                    Settled::Unknown(settles_within) => Some(Instant::now() + settles_within),
                };
                memory.raise(all.iter().copied());
                memory.unmark(all.into_iter(), self.write, until);
                Raised::Everywhere
            }
            Kind::Shared(shared) => shared.end(&all, self.write, settled).await,
        };
        // Only now: dropped before that, it is not ended.
        self.ended = true;
        raised
    }
}

/// Whoever wrote gave up on it, and the downstream may not have: what it changes is raised, and stays pending until the time it was given.
impl Drop for Pending {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        match &*self.tags.kind {
            Kind::Memory(memory) => memory.raise(self.concerned.iter().copied()),
            Kind::Shared(shared) => shared.leave_behind(&self.concerned),
        }
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tag").field("strict", &self.strict).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &*self.kind {
            Kind::Memory(_) => "memory",
            Kind::Shared(_) => "shared",
        };
        f.debug_struct("Tags").field("kind", &kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("tags", &self.concerned.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

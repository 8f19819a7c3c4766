//! What this process knows of the tags that lie in Redis, and whether it may rely on that.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{Tag, generation::Generation, recent::Recent};

/// The view may be relied on for so long after the heartbeat was sent that came back last. Whatever was raised before that was sent has
/// been heard of: messages come in the order in which they were published.
const TRUST: Duration = Duration::from_secs(1);
const STRIPES: usize = 1_024;

/// The generations of tags as they were last read or heard of.
pub(super) struct View {
    known: Recent<Known>,
    /// What was read in an earlier one may have moved unheard.
    epoch: AtomicU64,
    /// How often tags were raised, each counted together with some others. A reading that was asked for before a raise was heard of may
    /// be older than it, whatever order their answers come in.
    raises: [AtomicU64; STRIPES],
    trusted_until_ms: AtomicU64,
    started: Instant,
}

#[derive(Clone, Copy)]
struct Known {
    generation: Generation,
    /// In which it was read, or one of the two below. Those are no epochs: they tell that an older generation has moved, and never that
    /// this one has not.
    epoch: u64,
}

/// Others raised it.
const HEARD: u64 = 0;
/// This process raised it, and has not heard of that yet. What it hears before that is older.
const RAISED: u64 = u64::MAX;

/// A moment before a reading was asked for.
pub(super) struct Moment {
    epoch: u64,
    raises: Vec<u64>,
}

impl View {
    pub(super) fn new(tags_max: usize) -> Self {
        Self {
            known: Recent::new(tags_max),
            epoch: AtomicU64::new(HEARD + 1),
            raises: std::array::from_fn(|_| AtomicU64::new(0)),
            trusted_until_ms: AtomicU64::new(0),
            started: Instant::now(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The epoch that may be relied on now, if any.
    pub(super) fn trusted_epoch(&self) -> Option<u64> {
        // In this order: trust comes back only after a new epoch has begun.
        let trusted = self.now_ms() < self.trusted_until_ms.load(Ordering::Acquire);
        trusted.then(|| self.epoch())
    }

    /// The generation that was read of `tag` in `epoch` and has not been heard to move since.
    pub(super) fn read_in(&self, epoch: u64, tag: Tag) -> Option<Generation> {
        self.known.get(tag).filter(|known| known.epoch == epoch).map(|known| known.generation)
    }

    /// The generation that `tag` had when it was last heard of. It may have moved since.
    pub(super) fn last(&self, tag: Tag) -> Option<Generation> {
        self.known.get(tag).map(|known| known.generation)
    }

    /// To be taken before `tags` are asked for.
    pub(super) fn moment(&self, tags: &[Tag]) -> Moment {
        let raises = tags.iter().map(|tag| self.stripe(tag.id).load(Ordering::Acquire)).collect();
        Moment { epoch: self.epoch(), raises }
    }

    /// What was read of `tags` since `moment`. Those of which more has been heard meanwhile are left as they are.
    pub(super) fn learn(&self, moment: &Moment, tags: &[Tag], generations: &[Option<Generation>]) {
        for ((tag, raises), generation) in tags.iter().zip(&moment.raises).zip(generations) {
            if let Some(generation) = *generation {
                // Asked under the lock: a raise that is counted after this changes the tag after this.
                let unmoved = || self.stripe(tag.id).load(Ordering::Acquire) == *raises;
                self.known.insert_if(*tag, Known { generation, epoch: moment.epoch }, unmoved);
            }
        }
    }

    /// Somebody has raised tags.
    pub(super) fn heard(&self, ids: &[[u8; 16]], generation: Generation) {
        for id in ids {
            self.stripe(*id).fetch_add(1, Ordering::AcqRel);
            let tag = Tag { id: *id, strict: false };
            self.known.update(tag, |known| {
                if known.epoch != RAISED || known.generation == generation {
                    *known = Known { generation, epoch: HEARD };
                }
            });
        }
    }

    /// This process has raised tags. It remembers that also of tags which it did not know: its own entries may be about them.
    pub(super) fn raised(&self, tags: &[Tag], generation: Generation) {
        for tag in tags {
            self.stripe(tag.id).fetch_add(1, Ordering::AcqRel);
            self.known.insert(*tag, Known { generation, epoch: RAISED });
        }
    }

    /// Something may have been missed.
    pub(super) fn gap(&self) {
        self.trusted_until_ms.store(0, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// A heartbeat that was sent at `sent_ms` has come back.
    pub(super) fn beat(&self, sent_ms: u64) {
        if self.trusted_epoch().is_none() {
            // What was read meanwhile may have moved before messages came through again.
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        let trust_ms = u64::try_from(TRUST.as_millis()).expect("a second");
        self.trusted_until_ms.fetch_max(sent_ms + trust_ms, Ordering::AcqRel);
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn stripe(&self, id: [u8; 16]) -> &AtomicU64 {
        // The map takes its shards from the first byte.
        &self.raises[usize::from(u16::from_be_bytes([id[1], id[2]])) % STRIPES]
    }
}

#[cfg(test)]
mod tests;

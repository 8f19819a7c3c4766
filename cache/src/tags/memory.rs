//! Generations in this process alone: what there is without a shared store.

use tokio::time::Instant;

use super::{
    Tag,
    generation::Generation,
    marks::{Marks, WriteId},
    recent::Recent,
};
use crate::{entry::TagGeneration, octets::random};

/// All tags of this process. One that was forgotten starts at a new random value, so the entries that knew it are dead.
pub(super) struct Memory {
    generations: Recent<Generation>,
    marks: Marks,
}

impl Memory {
    pub(super) fn new(tags_max: usize) -> Self {
        Self { generations: Recent::new(tags_max), marks: Marks::default() }
    }

    /// The generations of `tags`, and whether none of them is pending.
    pub(super) fn read(&self, tags: &[Tag]) -> (Vec<TagGeneration>, bool) {
        let start = random();
        let read: Vec<_> = tags
            .iter()
            .map(|tag| TagGeneration { tag: *tag, generation: self.generations.get_or_insert(*tag, start) })
            .collect();
        // The marks last: a write marks before it raises, and raises before it ends its mark. So whoever sees no mark here has read
        // generations that the write is about to move, or those that it has left behind.
        let settled = !tags.iter().any(|tag| self.marks.pending(*tag));
        (read, settled)
    }

    pub(super) fn holds(&self, tags: &[TagGeneration]) -> bool {
        tags.iter().all(|known| self.generations.get(known.tag) == Some(known.generation))
    }

    pub(super) fn mark(&self, tags: impl Iterator<Item = Tag>, write: WriteId, until: Instant) {
        self.marks.set(tags, write, until);
    }

    pub(super) fn unmark(&self, tags: impl Iterator<Item = Tag>, write: WriteId, until: Option<Instant>) {
        self.marks.end(tags, write, until);
    }

    /// In the order that is given.
    pub(super) fn raise(&self, tags: impl Iterator<Item = Tag>) {
        let generation = random();
        for tag in tags {
            self.generations.insert(tag, generation);
        }
    }
}

//! Raises that Redis has not been told of yet.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Tag, generation::Generation};

/// Beyond these, everything is raised instead.
const TAGS_MAX: usize = 16_384;

/// In the order in which they were raised first, so that templates go before the tags they stand for.
pub(super) struct Queue {
    held: Mutex<Held>,
    /// Asked on the path of a call.
    length: AtomicUsize,
    /// The tag of every entry.
    everything: Tag,
}

#[derive(Default)]
struct Held {
    order: VecDeque<Tag>,
    generations: HashMap<[u8; 16], Generation>,
    /// There were too many: the tag of every entry stands for all.
    overflowed: bool,
}

impl Queue {
    pub(super) fn new(everything: Tag) -> Self {
        Self { held: Mutex::default(), length: AtomicUsize::new(0), everything }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length.load(Ordering::Acquire) == 0
    }

    /// Until Redis is told, `generation` stands for the one that the tags will get.
    pub(super) fn push(&self, tags: impl Iterator<Item = Tag>, generation: Generation) {
        let mut held = self.lock();
        for tag in tags {
            let full = held.order.len() >= TAGS_MAX && !held.generations.contains_key(&tag.id);
            if full {
                *held = Held { overflowed: true, ..Held::default() };
            }
            let tag = if held.overflowed { self.everything } else { tag };
            if held.generations.insert(tag.id, generation).is_none() {
                held.order.push_back(tag);
            }
        }
        self.length.store(held.order.len(), Ordering::Release);
    }

    pub(super) fn get(&self, tag: Tag) -> Option<Generation> {
        if self.is_empty() {
            return None;
        }
        self.lock().generations.get(&tag.id).copied()
    }

    /// Those to go first.
    pub(super) fn first(&self, tags_max: usize) -> Vec<(Tag, Generation)> {
        let held = self.lock();
        held.order.iter().take(tags_max).map(|tag| (*tag, held.generations[&tag.id])).collect()
    }

    /// Redis was told of these, which were the [`first`](Self::first). What was raised again meanwhile stays where it is.
    pub(super) fn told(&self, tags: &[(Tag, Generation)]) {
        let mut held = self.lock();
        let Held { order, generations, overflowed } = &mut *held;
        for (tag, generation) in tags {
            if generations.get(&tag.id) == Some(generation) {
                generations.remove(&tag.id);
            }
        }
        let first = order.drain(..tags.len().min(order.len()));
        let left: Vec<Tag> = first.filter(|tag| generations.contains_key(&tag.id)).collect();
        for tag in left.into_iter().rev() {
            order.push_front(tag);
        }
        *overflowed &= !order.is_empty();
        self.length.store(order.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Queue, TAGS_MAX, Tag};

    fn tag(number: usize) -> Tag {
        Tag::new(&format!("ticket:{number}"), false)
    }

    #[test]
    fn raises_leave_in_their_order_and_what_was_raised_again_stays() {
        let queue = Queue::new(tag(0));
        queue.push([tag(1), tag(2), tag(3)].into_iter(), [1; 16]);
        let first = queue.first(2);
        assert_eq!(first, [(tag(1), [1; 16]), (tag(2), [1; 16])]);
        queue.push([tag(2)].into_iter(), [2; 16]);
        queue.told(&first);
        assert_eq!(queue.first(9), [(tag(2), [2; 16]), (tag(3), [1; 16])]);
        assert_eq!((queue.get(tag(1)), queue.get(tag(2))), (None, Some([2; 16])));
        queue.told(&queue.first(9));
        assert!(queue.is_empty());
    }

    #[test]
    fn too_many_raises_become_one_of_everything() {
        let queue = Queue::new(tag(0));
        queue.push((1..=TAGS_MAX).map(tag), [1; 16]);
        assert_eq!(queue.first(usize::MAX).len(), TAGS_MAX);
        queue.push([tag(TAGS_MAX + 1)].into_iter(), [2; 16]);
        queue.push([tag(5)].into_iter(), [3; 16]);
        assert_eq!(queue.first(usize::MAX), [(tag(0), [3; 16])]);
        queue.told(&queue.first(1));
        queue.push([tag(5)].into_iter(), [4; 16]);
        assert_eq!(queue.first(usize::MAX), [(tag(5), [4; 16])]);
    }
}

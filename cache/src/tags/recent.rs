//! A map of tags that forgets those that were not used for long, so that it never grows beyond its bound.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use super::Tag;

const SHARDS: usize = 16;

/// What is known of tags.
///
/// Each shard has two halves: what was used since the last turn, and what was used in the turn before. When the young half is full, it
/// becomes the old one and the old one goes. So a look-up needs no more than a shared lock, but for one in each turn.
pub(super) struct Recent<V> {
    shards: [RwLock<Shard<V>>; SHARDS],
    half_max: usize,
}

struct Shard<V> {
    young: HashMap<[u8; 16], V>,
    old: HashMap<[u8; 16], V>,
}

impl<V: Copy> Recent<V> {
    /// Remembers at least half of `tags_max` tags, those used last, and never more than `tags_max` (or a few, when that is smaller).
    pub(super) fn new(tags_max: usize) -> Self {
        let half_max = (tags_max / SHARDS / 2).max(1);
        let shard = || RwLock::new(Shard { young: HashMap::new(), old: HashMap::new() });
        Self { shards: std::array::from_fn(|_| shard()), half_max }
    }

    pub(super) fn get(&self, tag: Tag) -> Option<V> {
        let old = {
            let shard = self.read(tag);
            if let Some(value) = shard.young.get(&tag.id) {
                return Some(*value);
            }
            shard.old.contains_key(&tag.id)
        };
        if !old {
            return None;
        }
        let mut shard = self.write(tag);
        // Another thread may have been here since.
        let value = shard.young.get(&tag.id).copied().or_else(|| shard.old.remove(&tag.id))?;
        shard.put(tag, value, self.half_max);
        Some(value)
    }

    /// What is known of `tag`, which is `start` if nothing was.
    pub(super) fn get_or_insert(&self, tag: Tag, start: V) -> V {
        if let Some(value) = self.get(tag) {
            return value;
        }
        let mut shard = self.write(tag);
        if let Some(value) = shard.young.get(&tag.id) {
            return *value;
        }
        shard.put(tag, start, self.half_max);
        start
    }

    pub(super) fn insert(&self, tag: Tag, value: V) {
        self.write(tag).put(tag, value, self.half_max);
    }

    /// Puts `value` there if `condition` holds once nobody else can change what is known of `tag`.
    pub(super) fn insert_if(&self, tag: Tag, value: V, condition: impl FnOnce() -> bool) {
        let mut shard = self.write(tag);
        if condition() {
            shard.put(tag, value, self.half_max);
        }
    }

    /// Changes what is known of `tag`, if anything is. Not a use of it.
    pub(super) fn update(&self, tag: Tag, change: impl FnOnce(&mut V)) {
        let mut shard = self.write(tag);
        let Shard { young, old } = &mut *shard;
        if let Some(value) = young.get_mut(&tag.id).or_else(|| old.get_mut(&tag.id)) {
            change(value);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| {
                let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
                shard.young.len() + shard.old.len()
            })
            .sum()
    }

    fn read(&self, tag: Tag) -> RwLockReadGuard<'_, Shard<V>> {
        self.shard(tag).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, tag: Tag) -> RwLockWriteGuard<'_, Shard<V>> {
        self.shard(tag).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, tag: Tag) -> &RwLock<Shard<V>> {
        &self.shards[usize::from(tag.id[0]) % SHARDS]
    }
}

impl<V> Shard<V> {
    fn put(&mut self, tag: Tag, value: V, half_max: usize) {
        self.old.remove(&tag.id);
        if self.young.len() >= half_max && !self.young.contains_key(&tag.id) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(tag.id, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{Recent, Tag};

    fn tag(number: usize) -> Tag {
        Tag::new(&format!("ticket:{number}"), false)
    }

    #[test]
    fn tags_that_are_used_stay_and_the_bound_holds() {
        let recent = Recent::new(320);
        recent.insert(tag(0), 7);
        for number in 1..10_000 {
            recent.insert(tag(number), number);
            assert_eq!(recent.get(tag(0)), Some(7), "after {number} others");
            assert!(recent.len() <= 320);
        }
        assert_eq!(recent.get(tag(1)), None);
        assert_eq!(recent.get(tag(9_999)), Some(9_999));
    }

    #[test]
    fn a_tag_has_one_value() {
        let recent = Recent::new(32);
        for number in 0..100 {
            recent.insert(tag(number), number);
            assert_eq!(recent.get_or_insert(tag(number), 0), number);
            recent.update(tag(number), |value| *value += 1_000);
            assert_eq!(recent.get(tag(number)), Some(number + 1_000));
        }
        recent.update(tag(100), |value| *value = 1);
        assert_eq!(recent.get(tag(100)), None);
    }
}

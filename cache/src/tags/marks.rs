//! The writes of this process that are under way, or may still settle.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::time::Instant;

use super::Tag;

/// Marks beyond these fall together into one that stands for all tags.
const MARKS_MAX: usize = 16_384;
/// Marks that have ended are looked for when there are this many, and from then on whenever their number has doubled.
const SWEEP_FROM: usize = 64;

/// Which tags are pending: a write that concerns them has begun and may still change what is read.
#[derive(Default)]
pub(super) struct Marks {
    held: Mutex<Held>,
    /// Whether there may be any: reads ask for each miss, and there are far more of those than writes.
    any: AtomicBool,
}

#[derive(Default)]
struct Held {
    by_tag: HashMap<[u8; 16], Vec<Mark>>,
    count: usize,
    sweep_at: usize,
    everything_until: Option<Instant>,
}

struct Mark {
    write: WriteId,
    until: Instant,
}

/// Random, so that writes of all replicas differ.
pub(super) type WriteId = [u8; 16];

impl Marks {
    pub(super) fn set(&self, tags: impl Iterator<Item = Tag>, write: WriteId, until: Instant) {
        let mut held = self.lock();
        self.any.store(true, Ordering::Release);
        for tag in tags {
            held.set(tag, write, until);
        }
    }

    /// Ends the marks of `write`, or lets them stay until the moment that is given.
    pub(super) fn end(&self, tags: impl Iterator<Item = Tag>, write: WriteId, until: Option<Instant>) {
        let mut held = self.lock();
        for tag in tags {
            held.remove(tag, write);
            if let Some(until) = until {
                held.set(tag, write, until);
            }
        }
        let none = held.count == 0 && held.everything_until.is_none();
        self.any.store(!none, Ordering::Release);
    }

    pub(super) fn pending(&self, tag: Tag) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let now = Instant::now();
        let held = self.lock();
        held.everything_until.is_some_and(|until| now < until)
            || held.by_tag.get(&tag.id).is_some_and(|marks| marks.iter().any(|mark| now < mark.until))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn set(&mut self, tag: Tag, write: WriteId, until: Instant) {
        if self.count >= self.sweep_at.clamp(SWEEP_FROM, MARKS_MAX) {
            self.sweep();
        }
        if self.count >= MARKS_MAX {
            self.everything_until = self.everything_until.max(Some(until));
            return;
        }
        self.by_tag.entry(tag.id).or_default().push(Mark { write, until });
        self.count += 1;
    }

    fn remove(&mut self, tag: Tag, write: WriteId) {
        let Some(marks) = self.by_tag.get_mut(&tag.id) else { return };
        let before = marks.len();
        marks.retain(|mark| mark.write != write);
        self.count -= before - marks.len();
        if marks.is_empty() {
            self.by_tag.remove(&tag.id);
        }
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        self.everything_until = self.everything_until.filter(|until| now < *until);
        self.by_tag.retain(|_, marks| {
            marks.retain(|mark| now < mark.until);
            !marks.is_empty()
        });
        self.count = self.by_tag.values().map(Vec::len).sum();
        self.sweep_at = self.count * 2;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::{MARKS_MAX, Marks, Tag};

    const PERIOD: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_tag_is_pending_while_any_write_is() {
        let marks = Marks::default();
        let (one, other) = (Tag::new("ticket:1", true), Tag::new("ticket:2", true));
        assert!(!marks.pending(one));
        marks.set([one].into_iter(), [1; 16], Instant::now() + PERIOD);
        marks.set([one].into_iter(), [2; 16], Instant::now() + 2 * PERIOD);
        assert!(marks.pending(one) && !marks.pending(other));
        marks.end([one].into_iter(), [1; 16], None);
        assert!(marks.pending(one));
        advance(2 * PERIOD).await;
        assert!(!marks.pending(one));
        marks.end([one].into_iter(), [2; 16], Some(Instant::now() + PERIOD));
        assert!(marks.pending(one));
        advance(PERIOD).await;
        assert!(!marks.pending(one));
    }

    #[tokio::test(start_paused = true)]
    async fn marks_beyond_the_bound_stand_for_all_tags_until_they_end() {
        let marks = Marks::default();
        let tag = |number: usize| Tag::new(&format!("ticket:{number}"), false);
        marks.set((0..MARKS_MAX + 1).map(tag), [1; 16], Instant::now() + PERIOD);
        assert_eq!(marks.lock().count, MARKS_MAX);
        let other = Tag::new("customer:1", false);
        assert!(marks.pending(other));
        advance(PERIOD).await;
        assert!(!marks.pending(other));
        marks.set([other].into_iter(), [2; 16], Instant::now() + PERIOD);
        assert_eq!(marks.lock().count, 1);
    }
}

//! The ledger in the memory of one process, bounded: what does not fit is refused where a promise hangs on it, and forgotten elsewhere.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Known, NewWrite, Settings,
    model::{Record, Step},
    names::{Kind, Place},
};

/// Of writes with a key: one more is refused.
const RECORDS_MAX: usize = 100_000;
/// Of writes without one: the oldest is forgotten. They take nothing from those with a key, on which a promise hangs.
const KEYLESS_MAX: usize = 50_000;
/// Beyond it an answer is not kept, only that there was one.
const ANSWERS_BYTES_MAX: usize = 64 << 20;

#[derive(Default)]
pub(super) struct Memory(Mutex<Records>);

#[derive(Default)]
struct Records {
    by_place: HashMap<Place, Kept>,
    /// In the order in which they end. A place stands here again when it was taken again.
    ends: VecDeque<(u64, Place)>,
    /// The same of writes without a key.
    keyless_ends: VecDeque<(u64, Place)>,
    answers_bytes: usize,
}

struct Kept {
    what: What,
    ends_ms: u64,
}

enum What {
    Record(Record),
    /// The write had a key, and lies there.
    At(Place),
}

impl Memory {
    /// What there was under a key before, or `Some(None)` when the key was taken; `None` when there is no room.
    pub(super) fn begin(
        &self,
        place: Place,
        write: &NewWrite,
        now_ms: u64,
        settings: Settings,
    ) -> Option<Option<Known>> {
        let mut records = self.records();
        records.forget(now_ms);
        if let Some(record) = records.record(place).filter(|record| !record.is_free(now_ms)) {
            return Some(Some(record.known(now_ms)));
        }
        if !records.have_room() {
            return None;
        }
        let ends_ms = now_ms.saturating_add(millis(settings.kept_for));
        let record = What::Record(Record::new(write, millis(write.lease), now_ms));
        for (place, what) in [(place, record), (place.of_operation(write.operation), What::At(place))] {
            records.keep(place, what, ends_ms);
            records.ends.push_back((ends_ms, place));
        }
        Some(None)
    }

    /// Takes a step of a write; one without a key has no record before its first.
    pub(super) fn step(&self, place: Place, write: &NewWrite, step: &Step, now_ms: u64, settings: Settings) -> bool {
        let mut records = self.records();
        records.forget(now_ms);
        let lease_ms = millis(write.lease);
        if place.kind == Kind::Operation && !records.by_place.contains_key(&place) {
            if records.keyless_ends.len() >= KEYLESS_MAX
                && let Some(oldest) = records.keyless_ends.pop_front()
            {
                records.end(oldest);
            }
            let ends_ms = now_ms.saturating_add(millis(settings.kept_for));
            records.keep(place, What::Record(Record::new(write, lease_ms, now_ms)), ends_ms);
            records.keyless_ends.push_back((ends_ms, place));
        }
        let room = ANSWERS_BYTES_MAX.saturating_sub(records.answers_bytes);
        let Some(Kept { what: What::Record(record), .. }) = records.by_place.get_mut(&place) else { return false };
        let step = match step {
            Step::Done(Some(answer)) if answer.len() > room => &Step::Done(None),
            step => step,
        };
        let taken = record.step(write.operation, step, lease_ms, now_ms);
        if taken && let Step::Done(Some(answer)) = step {
            records.answers_bytes += answer.len();
        }
        taken
    }

    /// What is known of the write with this place, and where it lies.
    pub(super) fn find(&self, place: Place, now_ms: u64) -> Option<(Known, Place)> {
        let mut records = self.records();
        records.forget(now_ms);
        let place_of_record = match records.by_place.get(&place)?.what {
            What::Record(_) => place,
            What::At(key) => key,
        };
        // Where nothing was sent its key may have gone to another write since.
        let record = records.record(place_of_record).filter(|record| record.operation == place.name)?;
        Some((record.known(now_ms), place_of_record))
    }

    /// Whether a new key would be taken.
    pub(super) fn has_room(&self, now_ms: u64) -> bool {
        let mut records = self.records();
        records.forget(now_ms);
        records.have_room()
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn have_room(&self) -> bool {
        self.ends.len() + 2 <= RECORDS_MAX
    }

    fn record(&self, place: Place) -> Option<&Record> {
        match &self.by_place.get(&place)?.what {
            What::Record(record) => Some(record),
            What::At(_) => None,
        }
    }

    fn keep(&mut self, place: Place, what: What, ends_ms: u64) {
        let before = self.by_place.insert(place, Kept { what, ends_ms });
        self.answers_bytes -= before.as_ref().map_or(0, Kept::answer_bytes);
    }

    fn forget(&mut self, now_ms: u64) {
        let is_over = |end: &mut (u64, Place)| end.0 <= now_ms;
        while let Some(end) = self.ends.pop_front_if(is_over).or_else(|| self.keyless_ends.pop_front_if(is_over)) {
            self.end(end);
        }
    }

    fn end(&mut self, (ends_ms, place): (u64, Place)) {
        // One that was taken again ends later.
        if self.by_place.get(&place).is_some_and(|kept| kept.ends_ms == ends_ms) {
            self.answers_bytes -= self.by_place.remove(&place).as_ref().map_or(0, Kept::answer_bytes);
        }
    }
}

impl Kept {
    fn answer_bytes(&self) -> usize {
        match &self.what {
            What::Record(record) => record.answer.as_ref().map_or(0, bytes::Bytes::len),
            What::At(_) => 0,
        }
    }
}

pub(super) fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

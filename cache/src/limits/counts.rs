//! The counts of this process: all there is without Redis; with it, what was last heard there, so that what is refused for a known time is
//! not asked again, and so that a process which loses Redis goes on from there.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    gcra::{Quota, Verdict},
    subject::Subject,
};

/// What was heard of a count is good for refusing so long: an operator may have mended it meanwhile.
const HEARD_FOR_US: u64 = 5_000_000;
/// Counts that are whole again are dropped with each charge, at most so many, so that no call pays for a quiet hour.
const DROPPED_AT_ONCE: usize = 4;

/// Counts under names. Where there is no room for another, the one is forgotten that is nearest to whole: the least is lost with it.
pub(super) struct Counts {
    all: Mutex<All>,
}

struct All {
    counts: HashMap<Subject, Count>,
    /// When each of them is whole again.
    in_order: BTreeSet<(u64, Subject)>,
    counts_max: usize,
    /// What Redis is being asked for, as the time in which it would grow back.
    asked_us: HashMap<Subject, u64>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    whole_at_us: u64,
    /// When Redis last told of it.
    heard_at_us: Option<u64>,
    /// How long it was under way: so much later may be what it told of.
    late_us: u64,
    /// What was charged here while Redis was gone, as the time in which all of the limit would have grown it back.
    owed_us: u64,
}

/// What Redis is asked for, until it answered or nobody waits for that any more.
///
/// What is asked for counts as taken meanwhile: of a flood at an empty limit no more go to Redis than can get through, each time that
/// something has grown back.
#[must_use]
pub(super) struct Asked<'a> {
    counts: &'a Counts,
    items: &'a [Item],
    /// What it is to be told of each that was charged here.
    pub(super) owed_us: Vec<u64>,
}

/// One count and what is asked of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) subject: Subject,
    pub(super) quota: Quota,
    pub(super) cost: u64,
    /// What Redis is to be told of this charge, in the same form as `owed_us`.
    pub(super) owes_us: u64,
}

/// Why a step is refused: the item that has to wait longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Over {
        index: usize,
        wait_us: u64,
    },
    Never {
        index: usize,
    },
    /// The counts allow it, and something else did not.
    Else,
}

impl Counts {
    pub(super) fn new(counts_max: usize) -> Self {
        Self {
            all: Mutex::new(All {
                counts: HashMap::new(),
                in_order: BTreeSet::new(),
                counts_max,
                asked_us: HashMap::new(),
            }),
        }
    }

    /// Charges all of `items`, or none. Answers when each is whole again.
    pub(super) fn charge(&self, items: &[Item], now_us: u64, and: impl FnOnce() -> bool) -> Result<Vec<u64>, Refusal> {
        let mut all = self.all();
        for item in items {
            let mut count = all.get(&item.subject);
            // The limit was larger: whoever is refused now must not be for as long as that one took.
            if count.whole_at_us > now_us + item.quota.whole_us() {
                count.whole_at_us = now_us + item.quota.whole_us();
                all.put(item.subject, count, now_us);
            }
        }
        let charged = judge(items, now_us, items.iter().map(|item| all.get(&item.subject).whole_at_us))?;
        if !and() {
            return Err(Refusal::Else);
        }
        for (item, whole_at_us) in items.iter().zip(&charged) {
            let mut count = all.get(&item.subject);
            count.whole_at_us = *whole_at_us;
            count.owed_us = count.owed_us.saturating_add(item.owes_us);
            all.put(item.subject, count, now_us);
        }
        Ok(charged)
    }

    /// Refuses `items` where what was heard does so already; else they are to be asked for.
    pub(super) fn ask<'a>(&'a self, items: &'a [Item], now_us: u64, seen: u32) -> Result<Asked<'a>, Refusal> {
        let mut all = self.all();
        let known = |item: &Item| {
            let (count, asked_us) = (all.get(&item.subject), all.asked_us.get(&item.subject));
            let fresh = count.heard_at_us.is_some_and(|heard_at_us| now_us < heard_at_us + HEARD_FOR_US);
            // One is enough to hear whether what is no longer fresh is still so.
            let whole_at_us = if fresh || asked_us.is_some() { count.whole_at_us } else { 0 };
            whole_at_us.max(now_us) + asked_us.copied().unwrap_or_default()
        };
        judge(items, now_us, items.iter().map(known)).map_err(|refusal| match refusal {
            Refusal::Over { index, wait_us } => {
                Refusal::Over { index, wait_us: wait_us + all.get(&items[index].subject).late_us }
            }
            other => other,
        })?;
        let mut owed_us = Vec::with_capacity(items.len());
        for item in items {
            *all.asked_us.entry(item.subject).or_default() += item.quota.takes_us(item.cost).unwrap_or_default();
            let left_us = all.counts.get_mut(&item.subject).map(|count| {
                // What has grown back since, by the share of this process, is owed no more.
                let left_us = count.whole_at_us.saturating_sub(now_us) / u64::from(seen.max(1));
                std::mem::take(&mut count.owed_us).min(left_us)
            });
            owed_us.push(left_us.unwrap_or_default());
        }
        Ok(Asked { counts: self, items, owed_us })
    }

    /// It could not be told.
    pub(super) fn still_owed(&self, items: &[Item], owed_us: &[u64]) {
        let mut all = self.all();
        for (item, owed_us) in items.iter().zip(owed_us) {
            if let Some(count) = all.counts.get_mut(&item.subject) {
                count.owed_us = count.owed_us.saturating_add(*owed_us);
            }
        }
    }

    /// Redis told when each is whole again, as if it had answered at once; it took `late_us`. It knows better than this process, even where
    /// that knew of more.
    pub(super) fn heard(&self, items: &[Item], whole_at_us: &[u64], now_us: u64, late_us: u64) {
        let mut all = self.all();
        for (item, whole_at_us) in items.iter().zip(whole_at_us) {
            let owed_us = all.get(&item.subject).owed_us;
            let count = Count { whole_at_us: *whole_at_us, heard_at_us: Some(now_us), late_us, owed_us };
            all.put(item.subject, count, now_us);
        }
    }

    /// When each is whole again, as far as it is known here.
    pub(super) fn look(&self, items: &[Item]) -> Vec<u64> {
        let all = self.all();
        items.iter().map(|item| all.get(&item.subject).whole_at_us).collect()
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("owed_us", &self.owed_us).finish_non_exhaustive()
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut all = self.counts.all();
        // Also what others ask for: an answer tells of most of it, and the next one of the rest.
        for item in self.items {
            all.asked_us.remove(&item.subject);
        }
    }
}

/// What becomes of `items` together, given when each count is whole again.
pub(super) fn judge(items: &[Item], now_us: u64, whole_at_us: impl Iterator<Item = u64>) -> Result<Vec<u64>, Refusal> {
    let mut charged = Vec::with_capacity(items.len());
    let mut longest: Option<(usize, u64)> = None;
    for (index, (item, whole_at_us)) in items.iter().zip(whole_at_us).enumerate() {
        match item.quota.judge(whole_at_us, now_us, item.cost) {
            Verdict::Admitted { whole_at_us } => charged.push(whole_at_us),
            Verdict::Over { wait_us } if longest.is_none_or(|(_, other_us)| other_us < wait_us) => {
                longest = Some((index, wait_us));
            }
            Verdict::Over { .. } => {}
            Verdict::Never => return Err(Refusal::Never { index }),
        }
    }
    match longest {
        Some((index, wait_us)) => Err(Refusal::Over { index, wait_us }),
        None => Ok(charged),
    }
}

impl All {
    fn get(&self, subject: &Subject) -> Count {
        self.counts.get(subject).copied().unwrap_or_default()
    }

    fn put(&mut self, subject: Subject, count: Count, now_us: u64) {
        for _ in 0..DROPPED_AT_ONCE {
            match self.in_order.first() {
                Some((whole_at_us, _)) if *whole_at_us <= now_us => self.drop_first(),
                _ => break,
            }
        }
        if let Some(before) = self.counts.remove(&subject) {
            self.in_order.remove(&(before.whole_at_us, subject));
        }
        if count.whole_at_us <= now_us {
            return;
        }
        if self.counts.len() >= self.counts_max {
            self.drop_first();
        }
        self.counts.insert(subject, count);
        self.in_order.insert((count.whole_at_us, subject));
    }

    fn drop_first(&mut self) {
        if let Some((_, subject)) = self.in_order.pop_first() {
            self.counts.remove(&subject);
        }
    }
}

#[cfg(test)]
mod tests;

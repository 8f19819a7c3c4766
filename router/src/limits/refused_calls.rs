//! How many calls of one caller are refused for what they ask, before it is heard no more for a while.
//!
//! Weir's own bound, and one for each process: a confused agent that repeats its mistake costs little by it, and who tries names takes long.
//! It is so high that no work comes near it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use adapters::Principal;
use cache::limits::{Limit, Rate, WhenGone};
use config::limits::REFUSED_CALLS;
use tokio::time::Instant;

/// How many refused calls there may be at once.
const BURST: u32 = 300;
/// How long it takes until one of them is forgotten.
const INTERVAL: Duration = Duration::from_millis(200);
/// How many callers are counted at once. Beyond it the one is forgotten that has to wait least.
const CALLERS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct RefusedCalls {
    limit: Arc<Limit>,
    counts: Mutex<Counts>,
    /// Whether anybody is counted: most of the time nobody is, and then no lock is taken.
    any: AtomicBool,
}

/// By caller, when all its refused calls are forgotten.
#[derive(Debug, Default)]
struct Counts(HashMap<Principal, Instant>);

impl RefusedCalls {
    pub(super) fn new() -> Self {
        let rate = Rate { amount: 5, per: INTERVAL * 5 };
        let limit = Limit { name: REFUSED_CALLS.into(), rate, burst: BURST.into(), when_gone: WhenGone::Open };
        Self { limit: Arc::new(limit), counts: Mutex::default(), any: AtomicBool::new(false) }
    }

    /// How it is told to callers.
    pub(super) fn limit(&self) -> &Arc<Limit> {
        &self.limit
    }

    /// How long a caller has to wait of whom too many calls were refused; `None` for all others.
    pub(super) fn wait(&self, caller: &Principal, now: Instant) -> Option<Duration> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).wait(caller, now)
    }

    /// Counts a refused call.
    pub(super) fn count(&self, caller: &Principal, now: Instant) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.count(caller, now);
        self.any.store(true, Ordering::Release);
    }
}

impl Counts {
    fn wait(&self, caller: &Principal, now: Instant) -> Option<Duration> {
        let all_forgotten = *self.0.get(caller)?;
        let one_more = all_forgotten + INTERVAL;
        let wait = one_more.checked_duration_since(now + INTERVAL * BURST)?;
        (!wait.is_zero()).then_some(wait)
    }

    fn count(&mut self, caller: &Principal, now: Instant) {
        if let Some(all_forgotten) = self.0.get_mut(caller) {
            *all_forgotten = (*all_forgotten).max(now) + INTERVAL;
            return;
        }
        if self.0.len() >= CALLERS_MAX {
            self.0.retain(|_, all_forgotten| *all_forgotten > now);
        }
        if self.0.len() >= CALLERS_MAX
            && let Some(least) = self.0.iter().min_by_key(|(_, at)| **at).map(|(caller, _)| caller.clone())
        {
            self.0.remove(&least);
        }
        self.0.insert(caller.clone(), now + INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adapters::Principal;
    use tokio::time::Instant;

    use super::{BURST, CALLERS_MAX, Counts, INTERVAL};

    fn caller(subject: &str) -> Principal {
        Principal { issuer: "weir".into(), subject: subject.into(), tenant: None }
    }

    #[test]
    fn who_was_refused_too_often_waits_exactly_until_one_refusal_is_forgotten() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        let (ann, bob) = (caller("ann"), caller("bob"));
        for _ in 0..BURST {
            assert_eq!(counts.wait(&ann, now), None);
            counts.count(&ann, now);
        }
        assert_eq!(counts.wait(&ann, now), Some(INTERVAL));
        assert_eq!(counts.wait(&bob, now), None);
        let almost = now + INTERVAL - Duration::from_micros(1);
        assert_eq!(counts.wait(&ann, almost), Some(Duration::from_micros(1)));
        assert_eq!(counts.wait(&ann, now + INTERVAL), None);
        counts.count(&ann, now + INTERVAL);
        assert_eq!(counts.wait(&ann, now + INTERVAL), Some(INTERVAL));
        assert_eq!(counts.wait(&ann, now + INTERVAL * (BURST + 1)), None);
    }

    #[test]
    fn so_many_callers_are_counted_and_no_more() {
        let (mut counts, now) = (Counts::default(), Instant::now());
        (0..BURST).for_each(|_| counts.count(&caller("worst"), now));
        for other in 0..CALLERS_MAX + 10 {
            counts.count(&caller(&other.to_string()), now);
            assert!(counts.0.len() <= CALLERS_MAX);
        }
        assert!(counts.wait(&caller("worst"), now).is_some(), "the worst is not the one that is forgotten");
        counts.count(&caller("late"), now + INTERVAL * 2);
        assert_eq!(counts.0.len(), 2, "those whose refusals are forgotten make room first");
    }
}

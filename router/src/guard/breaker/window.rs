//! How many attempts there were lately, and how many of them failed.

use std::time::Duration;

/// So many parts make up the time that is looked back on; the oldest part is forgotten as a whole.
const PARTS: usize = 10;

#[derive(Debug, Clone)]
pub(super) struct Window {
    part: Duration,
    parts: [Counts; PARTS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Which part since the beginning this one is.
    number: u64,
    attempts: u32,
    failures: u32,
}

impl Window {
    pub(super) fn new(within: Duration) -> Self {
        Self { part: (within / PARTS as u32).max(Duration::from_millis(1)), parts: [Counts::default(); PARTS] }
    }

    pub(super) fn count(&mut self, now: Duration, failed: bool) {
        let number = self.number(now);
        let counts = &mut self.parts[(number % PARTS as u64) as usize];
        if counts.number != number {
            *counts = Counts { number, ..Counts::default() };
        }
        counts.attempts = counts.attempts.saturating_add(1);
        counts.failures = counts.failures.saturating_add(u32::from(failed));
    }

    /// Attempts and failures of the last time.
    pub(super) fn sums(&self, now: Duration) -> (u32, u32) {
        let oldest = (self.number(now) + 1).saturating_sub(PARTS as u64);
        let recent = self.parts.iter().filter(|counts| counts.number >= oldest);
        recent.fold((0, 0), |(attempts, failures), counts| {
            (attempts.saturating_add(counts.attempts), failures.saturating_add(counts.failures))
        })
    }

    fn number(&self, now: Duration) -> u64 {
        u64::try_from(now.as_nanos() / self.part.as_nanos()).unwrap_or(u64::MAX)
    }
}

//! The model of a limit, as arithmetic on one number: when its count would be whole again if nobody asked any more. Pure: it takes `now`.
//!
//! All is in whole microseconds, in numbers that Lua has without loss. `admit.lua` says the same; a property test holds the two together.

use std::time::Duration;

use super::Rate;

/// No count takes longer than this to be whole again: about 71 years, so that a time and this together stay below 2^53.
const WHOLE_US_MAX: u64 = 1 << 51;

/// How much there is of something, and how fast it grows back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    /// How long one unit takes to grow back. Rounded up: what a limit lets through is never more than it says.
    interval_us: u64,
    /// How long all of it takes.
    whole_us: u64,
}

/// What a count says to one who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted {
        /// When the count is whole again if this is charged.
        whole_at_us: u64,
    },
    /// In so long, and not a microsecond before, unless others are faster.
    Over { wait_us: u64 },
    /// There is never so much of it.
    Never,
}

impl Quota {
    pub(super) fn new(rate: Rate, burst: u64) -> Self {
        let per_us = u64::try_from(rate.per.as_micros()).unwrap_or(u64::MAX);
        let interval_us = per_us.div_ceil(rate.amount.max(1)).clamp(1, WHOLE_US_MAX);
        Self::of(interval_us, burst)
    }

    fn of(interval_us: u64, burst: u64) -> Self {
        Self { interval_us, whole_us: burst.min(WHOLE_US_MAX / interval_us) * interval_us }
    }

    /// The part of one of `seen` processes, so that all parts together are never more than the whole. What cannot be divided goes to those of
    /// the lowest ranks.
    pub(super) fn share(self, seen: u32, rank: u32) -> Self {
        let (seen, rank) = (u64::from(seen.max(1)), u64::from(rank));
        let burst = self.whole_us / self.interval_us;
        let own = burst / seen + u64::from(rank < burst % seen);
        // Where some have nothing, the others grow back as fast as all of it does.
        Self::of(self.interval_us.saturating_mul(seen.min(burst.max(1))).min(WHOLE_US_MAX), own)
    }

    /// How long so much takes to grow back, or `None` where there is never so much.
    pub(super) fn takes_us(self, cost: u64) -> Option<u64> {
        cost.checked_mul(self.interval_us).filter(|takes_us| *takes_us <= self.whole_us)
    }

    pub(super) fn whole_us(self) -> u64 {
        self.whole_us
    }

    pub(super) fn judge(self, whole_at_us: u64, now_us: u64, cost: u64) -> Verdict {
        let Some(takes_us) = self.takes_us(cost) else { return Verdict::Never };
        let charged_us = self.clamp(whole_at_us, now_us) + takes_us;
        match charged_us.checked_sub(now_us + self.whole_us) {
            None | Some(0) => Verdict::Admitted { whole_at_us: charged_us },
            Some(wait_us) => Verdict::Over { wait_us },
        }
    }

    /// A count is never further from whole than empty. One that seems so was written before the clock was set back, or under a larger limit.
    fn clamp(self, whole_at_us: u64, now_us: u64) -> u64 {
        whole_at_us.clamp(now_us, now_us + self.whole_us)
    }

    /// How much may be charged now.
    pub(super) fn remaining(self, whole_at_us: u64, now_us: u64) -> u64 {
        (now_us + self.whole_us - self.clamp(whole_at_us, now_us)) / self.interval_us
    }

    /// How long until it is whole again.
    pub(super) fn reset(self, whole_at_us: u64, now_us: u64) -> Duration {
        Duration::from_micros(self.clamp(whole_at_us, now_us) - now_us)
    }
}

#[cfg(test)]
mod tests;

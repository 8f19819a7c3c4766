//! One time for all replicas: that of Redis, as last sampled, carried on by this machine's monotonic clock. Without Redis, this machine's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// A sample further back than this says that the clock of Redis was set back; anything less is how long a reply took.
const STEP_BACK_US: u64 = 2_000_000;
/// How fast the clock follows samples that lag, in microseconds per second: enough for any drift between two quartzes.
const FOLLOW_US_PER_S: u64 = 500;

/// Milliseconds since the epoch, by one clock for all replicas that share a Redis.
///
/// A sample is always late by what the reply took, so the clock takes the latest it was ever told, never the average: it
/// is then never ahead of Redis, and a reader that samples before it judges an entry never sees one from the future.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    started: Instant,
    /// What the clock says at `started`, in microseconds since the epoch.
    start_us: AtomicU64,
    /// When a lagging sample last moved it, in microseconds since `started`; 0 before the first sample.
    followed_us: AtomicU64,
}

impl Clock {
    /// By the system's clock, until it is told of another. It is never set back: what is held would seem younger than it is.
    #[must_use]
    pub(crate) fn local() -> Self {
        Self {
            state: Arc::new(State {
                started: Instant::now(),
                start_us: AtomicU64::new(system_us()),
                followed_us: AtomicU64::new(0),
            }),
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub(crate) fn now_ms(&self) -> u64 {
        let elapsed_us = self.elapsed_us();
        if self.state.followed_us.load(Ordering::Relaxed) == 0 {
            self.catch_up(system_us(), elapsed_us);
        }
        self.state.start_us.load(Ordering::Relaxed).saturating_add(elapsed_us) / 1_000
    }

    /// Monotonic time stands still while a laptop sleeps, and what it holds grows older all the same.
    fn catch_up(&self, system_us: u64, elapsed_us: u64) {
        let start_us = self.state.start_us.load(Ordering::Relaxed);
        let system_start_us = system_us.saturating_sub(elapsed_us);
        if system_start_us > start_us {
            // Whoever was told of another time meanwhile is right.
            let _ =
                self.state.start_us.compare_exchange(start_us, system_start_us, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Redis said that it was `redis_now_ms` when it answered; called as soon as the answer is here.
    pub(crate) fn sample(&self, redis_now_ms: u64) {
        self.sample_at(redis_now_ms, self.elapsed_us());
    }

    fn sample_at(&self, redis_now_ms: u64, elapsed_us: u64) {
        let state = &*self.state;
        let told_us = redis_now_ms.saturating_mul(1_000).saturating_sub(elapsed_us);
        let followed_us = state.followed_us.load(Ordering::Relaxed);
        let first = followed_us == 0;
        // Two samples at once may cost one of them; the next is at most a second away.
        let current_us = state.start_us.load(Ordering::Relaxed);
        let next_us = if told_us >= current_us || first || current_us - told_us > STEP_BACK_US {
            told_us
        } else {
            let most_us = (elapsed_us.saturating_sub(followed_us) / 1_000).saturating_mul(FOLLOW_US_PER_S) / 1_000;
            if most_us == 0 {
                return;
            }
            told_us.max(current_us.saturating_sub(most_us))
        };
        state.followed_us.store(elapsed_us.max(1), Ordering::Relaxed);
        state.start_us.store(next_us, Ordering::Relaxed);
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.state.started.elapsed().as_micros()).unwrap_or(u64::MAX / 2)
    }
}

fn system_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slept_is_as_late_as_its_clock_says_and_one_that_is_set_back_is_no_earlier() {
        let clock = Clock::local();
        let now_ms = clock.now_ms();
        let (system_us, elapsed_us) = (now_ms * 1_000, clock.elapsed_us());
        clock.catch_up(system_us + 8 * 3_600_000_000, elapsed_us);
        assert!(clock.now_ms() >= now_ms + 8 * 3_600_000);
        clock.catch_up(system_us, elapsed_us);
        assert!(clock.now_ms() >= now_ms + 8 * 3_600_000);
        clock.sample(now_ms);
        assert!(clock.now_ms() < now_ms + 60_000, "Redis knows better");
    }

    /// What the clock says `elapsed_us` after its start.
    fn at_ms(clock: &Clock, elapsed_us: u64) -> u64 {
        (clock.state.start_us.load(Ordering::Relaxed) + elapsed_us) / 1_000
    }

    #[test]
    fn the_first_sample_replaces_the_systems_clock_whichever_way_it_differs() {
        for wrong_by_s in [-3_600_i64, 3_600] {
            let clock = Clock::local();
            let redis_now_ms = clock.now_ms().saturating_add_signed(wrong_by_s * 1_000);
            clock.sample_at(redis_now_ms, 5_000);
            assert_eq!(at_ms(&clock, 5_000), redis_now_ms, "wrong by {wrong_by_s} s");
        }
    }

    #[test]
    fn a_late_reply_does_not_set_the_clock_back() {
        let clock = Clock::local();
        clock.sample_at(1_000_000, 10_000);
        // 40 ms later by this machine, a reply that was 30 ms under way.
        clock.sample_at(1_000_010, 50_000);
        let at_ms = at_ms(&clock, 50_000);
        // Less than a millisecond is what it follows in that time.
        assert!((1_000_039..=1_000_040).contains(&at_ms), "{at_ms}");
    }

    #[test]
    fn a_sample_is_never_behind_what_redis_just_said() {
        let clock = Clock::local();
        for (redis_now_ms, elapsed_us) in
            [(1_000_000, 5_900), (1_000_001, 6_850), (1_000_002, 7_801), (1_000_900, 905_999)]
        {
            clock.sample_at(redis_now_ms, elapsed_us);
            assert!(at_ms(&clock, elapsed_us) >= redis_now_ms);
        }
    }

    #[test]
    fn a_clock_of_redis_that_was_set_back_is_followed() {
        let clock = Clock::local();
        clock.sample_at(1_000_000, 1_000);
        clock.sample_at(940_000, 2_000);
        assert_eq!(at_ms(&clock, 2_000), 940_000);
    }

    #[test]
    fn a_monotonic_clock_that_runs_fast_is_held_back_slowly() {
        let clock = Clock::local();
        clock.sample_at(1_000_000, 1);
        // A hundred seconds by Redis are 10 ms more by this machine.
        for second in 1..=100_u64 {
            clock.sample_at(1_000_000 + second * 1_000, second * 1_000_100);
        }
        let ahead_ms = at_ms(&clock, 100 * 1_000_100).saturating_sub(1_100_000);
        assert!(ahead_ms <= 1, "{ahead_ms} ms ahead");
    }
}

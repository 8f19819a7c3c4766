//! How long to wait between attempts to reach a downstream, or for the stdio bridge the router: the one place that uses `backoff`, for its interval arithmetic alone.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff};

/// About the first wait, and the longest of all.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// Each wait lies between half and one and a half times its interval, so that replicas do not come back in step.
const JITTER: f64 = 0.5;

/// The waits between attempts to reach one place: doubling, jittered, never giving up.
#[derive(Debug)]
pub struct Delays {
    backoff: ExponentialBackoff,
    longest: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self::new(FIRST, LONGEST)
    }
}

impl Delays {
    /// Waits from about `first` up to `longest`, which is never exceeded.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        let backoff = ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            // The longest wait with its jitter is `longest`. Cutting off what lies above would make many wait exactly that.
            max_interval: longest.div_f64(1.0 + JITTER),
            randomization_factor: JITTER,
            multiplier: 2.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { backoff, longest }
    }

    /// Waits for repeats of one call: any part of an interval that doubles from `first` up to `longest`, so that calls which failed together
    /// do not come back together.
    #[must_use]
    pub fn for_repeats(first: Duration, longest: Duration) -> Self {
        // Around half of the interval and up to half of it away: from nothing to the whole.
        let backoff = ExponentialBackoff {
            current_interval: first / 2,
            initial_interval: first / 2,
            max_interval: longest / 2,
            randomization_factor: 1.0,
            multiplier: 2.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { backoff, longest }
    }

    /// How long to wait before the next attempt.
    #[allow(clippy::should_implement_trait, reason = "it never ends and is no sequence of items")]
    pub fn next(&mut self) -> Duration {
        self.backoff.next_backoff().unwrap_or(self.longest)
    }

    /// Starts again from the shortest wait: an attempt went well.
    pub fn reset(&mut self) {
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::Delays;

    #[test]
    fn waits_double_with_jitter_up_to_the_longest_and_never_end() {
        let mut delays = Delays::default();
        for attempt in 0..1_000_u32 {
            let interval = (0.1 * 2_f64.powf(attempt.into())).min(10.0 / 1.5);
            let wait = delays.next().as_secs_f64();
            assert!(wait >= interval * 0.499 && wait <= interval * 1.501 && wait < 10.001, "{attempt}: {wait}");
        }
    }

    #[test]
    fn a_repeat_waits_for_any_part_of_its_interval() {
        let (mut shortest, mut longest) = ([f64::MAX; 4], [0.0_f64; 4]);
        for _ in 0..1_000 {
            let mut delays = Delays::for_repeats(Duration::from_millis(50), Duration::from_millis(200));
            for attempt in 0..4 {
                let wait_ms = delays.next().as_secs_f64() * 1000.0;
                shortest[attempt] = shortest[attempt].min(wait_ms);
                longest[attempt] = longest[attempt].max(wait_ms);
            }
        }
        for (attempt, interval_ms) in [50.0, 100.0, 200.0, 200.0].into_iter().enumerate() {
            assert!(shortest[attempt] < interval_ms * 0.1, "never soon: {shortest:?}");
            assert!(longest[attempt] > interval_ms * 0.9 && longest[attempt] <= interval_ms * 1.001, "{longest:?}");
        }
    }

    #[test]
    fn replicas_that_lost_the_same_downstream_come_back_at_different_moments() {
        let first: BTreeSet<_> = (0..100).map(|_| Delays::default().next()).collect();
        assert!(first.len() > 90, "only {} different first waits", first.len());
    }

    #[test]
    fn after_a_success_waits_are_short_again() {
        let mut delays = Delays::default();
        (0..20).for_each(|_| _ = delays.next());
        delays.reset();
        assert!(delays.next() <= Duration::from_millis(150));
    }
}

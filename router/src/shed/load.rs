//! Whether a process keeps up. Pure: it is told how late the process was, and when.
//!
//! As CoDel judges a queue (RFC 8289) by the shortest wait in it and not by the longest, this judges by the least lateness of a while: a burst is
//! over within it, a process that is stopped or blocked once is late once, and only one that never catches up is always late.

use std::time::Duration;

/// All calls.
pub(super) const WHOLE: u32 = 1000;
/// Some are let in always: by them it shows that the process keeps up again.
const SHARE_MIN: u32 = WHOLE / 20;
/// The while of which the least lateness counts.
const WINDOW: Duration = Duration::from_millis(100);
/// A process that is never less late than this does not keep up: whatever it does takes several such steps.
const LATE_MAX: Duration = Duration::from_millis(50);
/// For so long it may, before the first call is refused.
const PATIENCE: Duration = Duration::from_secs(1);
/// What remains of the share with each further window, in percent.
const LESS: u32 = 70;
/// What it gains with each window in which the process was on time. A little, since the crowd may still be there; all of it takes two seconds.
const MORE: u32 = WHOLE / 20;

/// What is known of the process.
#[derive(Debug)]
pub(super) struct Load {
    share: u32,
    window_ends: Duration,
    least: Duration,
    /// Since when it does not keep up.
    late_since: Option<Duration>,
}

impl Default for Load {
    fn default() -> Self {
        Self { share: WHOLE, window_ends: WINDOW, least: Duration::MAX, late_since: None }
    }
}

impl Load {
    /// The process was so late. Gives the share of calls to let in from now on, in parts of [`WHOLE`].
    pub(super) fn look(&mut self, late: Duration, now: Duration) -> u32 {
        self.least = self.least.min(late);
        if now < self.window_ends {
            return self.share;
        }
        if self.least > LATE_MAX {
            let since = *self.late_since.get_or_insert(now);
            if self.share < WHOLE || now.saturating_sub(since) >= PATIENCE {
                self.share = (self.share * LESS / 100).max(SHARE_MIN);
            }
        } else {
            self.late_since = None;
            self.share = (self.share + MORE).min(WHOLE);
        }
        (self.least, self.window_ends) = (Duration::MAX, now + WINDOW);
        self.share
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{prop, prop_assert, proptest};

    use super::{Load, SHARE_MIN, WHOLE};

    /// What a process lets in that is late by these milliseconds, looked at every 20 ms after it is.
    fn shares(lateness_ms: &[u64]) -> Vec<u32> {
        let (mut load, mut now) = (Load::default(), Duration::ZERO);
        let look = |&late_ms: &u64| {
            let late = Duration::from_millis(late_ms);
            now += Duration::from_millis(20) + late;
            load.look(late, now)
        };
        lateness_ms.iter().map(look).collect()
    }

    #[test]
    fn a_burst_and_a_stop_are_no_overload() {
        for lateness_ms in [
            vec![0; 1000],
            vec![50; 1000],
            vec![3_600_000, 0, 0, 0],
            // Half a second of it.
            [vec![0; 10], vec![80; 5], vec![0; 10]].concat(),
            // Most is late, and something is on time in each while.
            [60, 40, 90, 10].repeat(50),
            [300, 0].repeat(50),
        ] {
            let shares = shares(&lateness_ms);
            assert!(shares.iter().all(|share| *share == WHOLE), "{lateness_ms:?}: {shares:?}");
        }
    }

    #[test]
    fn a_process_that_never_catches_up_lets_in_less_and_less_and_soon_all_again() {
        let shares = shares(&[vec![200; 30], vec![0; 150]].concat());
        let begins = shares.iter().position(|share| *share < WHOLE);
        assert_eq!(begins, Some(5), "after a second");
        assert!(shares[..30].windows(2).all(|pair| pair[1] <= pair[0]) && shares[29] == SHARE_MIN, "{shares:?}");
        assert!(shares[30..].windows(2).all(|pair| pair[1] >= pair[0]) && shares[179] == WHOLE, "{shares:?}");
    }

    proptest! {
        #[test]
        fn something_is_always_let_in(lateness_ms in prop::collection::vec(0..2000_u64, 0..500)) {
            prop_assert!(shares(&lateness_ms).iter().all(|share| (SHARE_MIN..=WHOLE).contains(share)));
        }
    }
}

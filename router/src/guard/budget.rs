//! How many attempts may be repeats, so that repeating does not make a bad hour worse. Knows no clock: `now` is the time since it was made.

use std::time::Duration;

/// Parts of one repeat, so that percents stay whole.
const WHOLE: u64 = 100;
/// What is not used is kept for so many seconds.
const KEPT_SECONDS: u64 = 10;
/// What is kept at least, where the config gives nothing for each second.
const KEPT_MIN: u64 = 10 * WHOLE;

/// The repeats of one downstream: so many for each hundred calls, and some each second besides.
#[derive(Debug)]
pub(super) struct Budget {
    percent: u64,
    per_second: u64,
    /// In hundredths of a repeat.
    balance: u64,
    /// Up to when the share of time is in `balance`.
    credited_until: Duration,
}

impl Budget {
    pub(super) fn new(retries: config::downstream::Retries) -> Self {
        let per_second = u64::from(retries.budget_per_second);
        // The first second's worth is there at once: the first call may meet a connection that is just being refused.
        Self {
            percent: retries.budget_percent.into(),
            per_second,
            balance: per_second * WHOLE,
            credited_until: Duration::ZERO,
        }
    }

    /// A call goes to the downstream for the first time.
    pub(super) fn called(&mut self) {
        self.credit(self.percent);
    }

    /// Takes one repeat, if there is one.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        self.refill(now);
        let is_there = self.balance >= WHOLE;
        if is_there {
            self.balance -= WHOLE;
        }
        is_there
    }

    /// How many repeats there are now.
    pub(super) fn left(&mut self, now: Duration) -> u64 {
        self.refill(now);
        self.balance / WHOLE
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.credited_until);
        let per_second = self.per_second * WHOLE;
        if passed >= Duration::from_secs(KEPT_SECONDS) {
            self.credited_until = now;
            return self.credit(per_second * KEPT_SECONDS);
        }
        let earned = passed.as_millis() as u64 * per_second / 1000;
        // Whole hundredths only; the rest of the time counts the next time.
        let Some(earning_ms) = (earned * 1000).checked_div(per_second) else { return };
        self.credited_until += Duration::from_millis(earning_ms);
        self.credit(earned);
    }

    fn credit(&mut self, hundredths: u64) {
        let most = (self.per_second * WHOLE * KEPT_SECONDS).max(KEPT_MIN);
        self.balance = self.balance.saturating_add(hundredths).min(most);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::downstream::Retries;
    use proptest::prelude::*;

    use super::Budget;

    fn budget(percent: u32, per_second: u32) -> Budget {
        Budget::new(Retries { budget_percent: percent, budget_per_second: per_second, ..Retries::default() })
    }

    #[test]
    fn a_tenth_of_the_calls_and_three_a_second_may_be_repeated() {
        let mut budget = budget(10, 3);
        let at = Duration::from_secs;
        let all = |budget: &mut Budget, now| (0..1000).take_while(|_| budget.take(now)).count();
        assert_eq!(all(&mut budget, at(0)), 3);
        assert_eq!(all(&mut budget, at(2)), 6);
        (0..100).for_each(|_| budget.called());
        assert_eq!(all(&mut budget, at(2)), 10);
        assert_eq!(all(&mut budget, at(1000)), 30, "what was not used is kept for ten seconds");
        (0..10_000).for_each(|_| budget.called());
        assert_eq!(all(&mut budget, at(1000)), 30, "and so is what calls brought");
    }

    #[test]
    fn without_a_budget_nothing_is_repeated() {
        let mut budget = budget(0, 0);
        (0..1000).for_each(|_| budget.called());
        assert!(!budget.take(Duration::from_secs(1000)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Call,
        Take,
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![Just(Step::Call), Just(Step::Take), (0_u64..3000).prop_map(Step::Wait)];
        proptest::collection::vec(step, 0..400)
    }

    proptest! {
        #[test]
        fn repeats_never_exceed_the_share_of_calls_and_of_time(
            percent in 0_u32..=100, per_second in 0_u32..20, steps in steps()
        ) {
            let mut budget = budget(percent, per_second);
            let (mut calls, mut taken, mut now_ms) = (0_u64, 0_u64, 0_u64);
            for step in steps {
                match step {
                    Step::Call => {
                        calls += 1;
                        budget.called();
                    }
                    Step::Take => taken += u64::from(budget.take(Duration::from_millis(now_ms))),
                    Step::Wait(ms) => now_ms += ms,
                }
                let (percent, per_second) = (u64::from(percent), u64::from(per_second));
                let most = per_second * 1000 + calls * percent * 10 + per_second * now_ms;
                prop_assert!(taken * 1000 <= most, "{taken} repeats of {calls} calls in {now_ms} ms");
            }
        }
    }
}

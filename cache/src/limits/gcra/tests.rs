use proptest::prelude::*;

use super::*;

const S: u64 = 1_000_000;
const DAY: u64 = 86_400 * S;
/// About now.
const NOW_US: u64 = 1_795_000_000 * S;

fn quota(amount: u64, per_s: u64, burst: u64) -> Quota {
    Quota::new(Rate { amount, per: Duration::from_secs(per_s) }, burst)
}

#[test]
fn a_rested_limit_admits_its_burst_and_then_one_for_each_interval() {
    for (amount, per_s, burst, interval_us) in [
        (100, 1, 50, 10_000),
        (10, 3_600, 10, 360 * S),
        (1_000, 3_600, 1, 3_600_000),
        (7, 1, 3, 142_858),
        (1, 86_400, 1, DAY),
    ] {
        let quota = quota(amount, per_s, burst);
        let mut whole_at_us = 0;
        for nth in 0..burst {
            assert_eq!(quota.remaining(whole_at_us, NOW_US), burst - nth);
            let Verdict::Admitted { whole_at_us: next_us } = quota.judge(whole_at_us, NOW_US, 1) else {
                panic!("{amount}/{per_s}s refused the {nth}th of {burst}");
            };
            whole_at_us = next_us;
        }
        assert_eq!(quota.remaining(whole_at_us, NOW_US), 0);
        assert_eq!(quota.judge(whole_at_us, NOW_US, 1), Verdict::Over { wait_us: interval_us });
        assert_eq!(quota.judge(whole_at_us, NOW_US + interval_us - 1, 1), Verdict::Over { wait_us: 1 });
        let admitted = Verdict::Admitted { whole_at_us: whole_at_us + interval_us };
        assert_eq!(quota.judge(whole_at_us, NOW_US + interval_us, 1), admitted);
        assert_eq!(quota.judge(0, NOW_US, burst + 1), Verdict::Never);
    }
}

#[test]
fn a_clock_that_is_set_back_refuses_for_no_longer_than_the_limit_takes_to_be_whole() {
    let quota = quota(100, 1, 50);
    let exhausted_us = NOW_US + 500_000;
    for back_s in [300, 3_600] {
        let now_us = NOW_US - back_s * S;
        assert_eq!(quota.judge(exhausted_us, now_us, 1), Verdict::Over { wait_us: 10_000 }, "{back_s} s back");
        assert_eq!(quota.reset(exhausted_us, now_us), Duration::from_millis(500));
    }
}

#[test]
fn numbers_stay_within_what_lua_has_without_loss() {
    for (amount, per_s, burst) in
        [(0, 86_400, u64::MAX), (u64::MAX, 1, u64::MAX), (1, u64::MAX, 1), (1, 86_400, u64::from(u32::MAX))]
    {
        let quota = quota(amount, per_s, burst);
        assert!(NOW_US + 2 * quota.whole_us < 1 << 53, "{quota:?}");
        let share = quota.share(3, 0);
        assert!(share.whole_us <= WHOLE_US_MAX && share.interval_us >= quota.interval_us, "{share:?}");
    }
}

/// What came at which distance from the one before, and how much it cost.
fn history() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((prop_oneof![0..20_000_u64, 0..2 * S], 0..5_u64), 1..200)
}

proptest! {
    #[test]
    fn no_window_has_more_than_the_burst_and_what_grows_back_in_it(
        (amount, burst) in (1..2_000_u64, 1..60_u64),
        history in history(),
    ) {
        let quota = quota(amount, 1, burst);
        let (mut now_us, mut whole_at_us, mut admitted) = (NOW_US, 0, Vec::new());
        for (pause_us, cost) in history {
            now_us += pause_us;
            match quota.judge(whole_at_us, now_us, cost) {
                Verdict::Admitted { whole_at_us: next_us } => {
                    whole_at_us = next_us;
                    admitted.push((now_us, cost));
                }
                Verdict::Over { wait_us } => {
                    let before = matches!(quota.judge(whole_at_us, now_us + wait_us - 1, cost), Verdict::Over { .. });
                    let then = matches!(quota.judge(whole_at_us, now_us + wait_us, cost), Verdict::Admitted { .. });
                    prop_assert!(before && then, "the wait is exact");
                }
                Verdict::Never => prop_assert!(cost > burst),
            }
        }
        for (first, (from_us, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (until_us, cost) in &admitted[first..] {
                sum += cost;
                prop_assert!(sum * S <= burst * S + amount * (until_us - from_us), "{sum} within {} us", until_us - from_us);
            }
        }
    }

    #[test]
    fn shares_together_are_never_more_than_the_whole(
        (amount, burst, seen) in (1..10_000_u64, 1..100_u64, 1..20_u32),
        elapsed_us in 0..100 * S,
    ) {
        let whole = quota(amount, 1, burst);
        let most = |quota: Quota| quota.whole_us / quota.interval_us + if quota.whole_us == 0 { 0 } else { elapsed_us / quota.interval_us };
        let together: u64 = (0..seen).map(|rank| most(whole.share(seen, rank))).sum();
        prop_assert!(together <= most(whole));
        prop_assert_eq!((0..seen).map(|rank| whole.share(seen, rank)).map(|share| share.whole_us / share.interval_us).sum::<u64>(), burst);
    }
}

//! Chance and rest: when a fetch in the background is begun.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{key::Key, octets::random};

/// How long a key is left alone after a fetch in the background failed: callers are served meanwhile, and a downstream in trouble is not
/// asked as fast as it refuses.
const REST: Duration = Duration::from_millis(500);
/// Beyond that many, keys do not rest.
const KEYS_MAX: usize = 4_096;

/// The keys that are left alone for now.
#[derive(Debug, Default)]
pub(super) struct Resting {
    until: Mutex<HashMap<Key, Instant>>,
}

impl Resting {
    pub(super) fn rest(&self, key: Key) {
        let now = Instant::now();
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= KEYS_MAX {
            until.retain(|_, until| now < *until);
        }
        if until.len() < KEYS_MAX {
            until.insert(key, now + REST);
        }
    }

    pub(super) fn rests(&self, key: &Key) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match until.get(key) {
            Some(end) if Instant::now() < *end => true,
            Some(_) => {
                until.remove(key);
                false
            }
            None => false,
        }
    }
}

/// Numbers that are as good as random, for one addition each.
#[derive(Debug)]
pub(super) struct Dice {
    state: AtomicU64,
}

impl Dice {
    pub(super) fn new() -> Self {
        Self { state: AtomicU64::new(u64::from_le_bytes(random())) }
    }

    /// Uniform in (0, 1]. This is SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    pub(super) fn roll(&self) -> f64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((mixed >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Dice, KEYS_MAX, REST, Resting};
    use crate::testing::key;

    #[test]
    fn numbers_are_spread_evenly_over_their_range() {
        let dice = Dice::new();
        let mut tenths = [0_u32; 10];
        for _ in 0..100_000 {
            let number = dice.roll();
            assert!(number > 0.0 && number <= 1.0, "{number}");
            tenths[((number * 10.0) as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (9_500..10_500).contains(count)), "{tenths:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_rests_for_its_time_and_many_keys_cost_no_more_than_the_bound() {
        let resting = Resting::default();
        resting.rest(key(0));
        assert!(resting.rests(&key(0)) && !resting.rests(&key(1)));
        advance(REST).await;
        assert!(!resting.rests(&key(0)));
        (0..KEYS_MAX + 1).for_each(|call| resting.rest(key(call)));
        assert!(!resting.rests(&key(KEYS_MAX)) && resting.rests(&key(KEYS_MAX - 1)));
        advance(REST + Duration::from_millis(1)).await;
        resting.rest(key(KEYS_MAX));
        assert!(resting.rests(&key(KEYS_MAX)));
    }
}

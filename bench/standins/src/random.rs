//! Randomness that is the same on every machine and for every version of every crate: SplitMix64.

/// A stream of numbers that the seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Streams of different names are independent, so that one kind of data does not shift when another one changes.
    pub(crate) fn new(seed: u64, stream: &str) -> Self {
        let start = stream.bytes().fold(seed, |state, byte| Self(state ^ u64::from(byte)).next());
        Self(start)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` up to, but not including, `high`. The slight bias of the remainder does not matter for test data.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        assert!(low < high, "an empty range");
        let span = high.wrapping_sub(low).cast_unsigned();
        low.wrapping_add((self.next() % span).cast_signed())
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        (self.next() % len as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// In `0.0..1.0`.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

//! Who else counts against the same limits.

/// The replicas that were last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// How many, this one included.
    pub seen: u32,
    /// This one's place among them, from 0: what cannot be divided goes to those that come first.
    pub rank: u32,
}

impl Replicas {
    /// Nobody else was ever seen.
    pub(super) const ALONE: Self = Self { seen: 1, rank: 0 };

    /// This one's part of so many.
    pub(super) fn share(self, of: usize) -> usize {
        let (seen, rank) = (self.seen.max(1) as usize, self.rank as usize);
        of / seen + usize::from(rank < of % seen)
    }
}

//! Random values that say nothing but whether something has moved.

use aws_lc_rs::rand;

/// What a tag had when it was read.
pub(crate) type Generation = [u8; 16];

/// A value that never was and never comes again.
pub(super) fn random() -> Generation {
    let mut generation = Generation::default();
    rand::fill(&mut generation).expect("the system has random bytes");
    generation
}

//! What strangers may write to a Redis, for the fuzzer.

use crate::{Sealer, sealed, testing};

const VALUE_BYTES_MAX: usize = 1 << 20;

/// A value as Redis gives it back: `data` is taken for one, and for what is within the seal of one.
pub fn value(data: &[u8]) {
    let sealer = Sealer::new(&[7; 32], &[[9; 32]], VALUE_BYTES_MAX);
    let key = testing::key(0);
    let _ = sealer.open(&key, data);
    let Ok(entry) = sealed::unsealed(data.to_vec(), VALUE_BYTES_MAX) else { return };
    assert!(entry.value.len() <= VALUE_BYTES_MAX);
    let sealed = sealer.seal(&key, &entry).expect("it came out of the bounds");
    assert_eq!(sealer.open(&key, &sealed).expect("it was just sealed").value, entry.value);
}

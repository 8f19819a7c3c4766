//! Whether a write has left.
//!
//! Compiled twice: with the atomics of std, and for a test with those of loom, which tries every order in which two threads may meet.

use super::atomic::{AtomicU8, Ordering};

/// Settles the race between a caller that gives up and the first byte of a write: exactly one of the two wins.
#[derive(Debug, Default)]
pub struct SendGate(AtomicU8);

const WAITING: u8 = 0;
const PASSED: u8 = 1;
const WITHDRAWN: u8 = 2;

impl SendGate {
    /// Lets the write out. False when the call was withdrawn before; true again on a second attempt of the same call.
    pub fn pass(&self) -> bool {
        match self.0.compare_exchange(WAITING, PASSED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state == PASSED,
        }
    }

    /// Withdraws the call. False when it has passed already.
    pub fn withdraw(&self) -> bool {
        match self.0.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state == WITHDRAWN,
        }
    }

    /// Whether bytes of the call may have left.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.0.load(Ordering::Acquire) == PASSED
    }
}

//! When a lost server is tried again: what may be replaced at once, what is waited for, and what is left alone for long.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{ErrorClass, reconnect::Delays};

/// A connection that lasted this long was a good one: waits start from the shortest again.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// How often a lost connection may be replaced at once, so that a server that hangs up on everybody is not hurried.
const AT_ONCE_EVERY: Duration = Duration::from_secs(5);
/// A program that fails this often within this time is quarantined, and is out of quarantine when it has run for as long.
pub(super) const FAILURES_MAX: usize = 5;
const FAILURES_WITHIN: Duration = Duration::from_secs(60);

/// What becomes of a server that was lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is tried again, and calls wait for how that ends.
    AtOnce,
    After(Duration),
    /// It fails so often that it is left alone.
    Quarantine(Duration),
}

/// How long to wait for one server.
pub(super) struct Waits {
    delays: Delays,
    kind: Kind,
}

enum Kind {
    /// Someone else starts it again: a lost connection may find it back already.
    Connection { at_once_after: Option<Instant> },
    /// Weir itself starts it, which costs the machine something.
    Program { failures: VecDeque<Instant>, quarantined: bool, quarantine: Duration },
}

impl Waits {
    pub(super) fn for_connection() -> Self {
        Self { delays: Delays::default(), kind: Kind::Connection { at_once_after: None } }
    }

    pub(super) fn for_program(quarantine: Duration) -> Self {
        let kind = Kind::Program { failures: VecDeque::new(), quarantined: false, quarantine };
        Self { delays: Delays::default(), kind }
    }

    /// The server was lost `now`, after it had been usable for so long; `None` when it never was.
    pub(super) fn next(&mut self, now: Instant, class: ErrorClass, usable_for: Option<Duration>) -> Next {
        if usable_for.is_some_and(|period| period >= GOOD_AFTER) {
            self.delays.reset();
        }
        match &mut self.kind {
            // A server that fell silent does not answer a new connection either: calls need not wait for that.
            Kind::Connection { at_once_after }
                if usable_for.is_some()
                    && class != ErrorClass::Timeout
                    && at_once_after.is_none_or(|after| now >= after) =>
            {
                *at_once_after = Some(now + AT_ONCE_EVERY);
                Next::AtOnce
            }
            Kind::Connection { .. } => Next::After(self.delays.next()),
            Kind::Program { failures, quarantined, quarantine } => {
                if usable_for.is_some_and(|period| period >= FAILURES_WITHIN) {
                    failures.clear();
                    *quarantined = false;
                }
                failures.push_back(now);
                while failures.front().is_some_and(|&failed| now.duration_since(failed) >= FAILURES_WITHIN) {
                    failures.pop_front();
                }
                failures.truncate(FAILURES_MAX);
                *quarantined |= failures.len() == FAILURES_MAX;
                if *quarantined { Next::Quarantine(*quarantine) } else { Next::After(self.delays.next()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARANTINE: Duration = Duration::from_secs(60);
    const LOST: ErrorClass = ErrorClass::ConnectionLost;
    const MOMENT: Option<Duration> = Some(Duration::from_millis(20));

    #[test]
    fn a_lost_connection_is_replaced_at_once_now_and_then() {
        let (start, mut waits) = (Instant::now(), Waits::for_connection());
        assert_eq!(waits.next(start, LOST, MOMENT), Next::AtOnce);
        assert!(matches!(waits.next(start, LOST, MOMENT), Next::After(_)));
        assert_eq!(waits.next(start + AT_ONCE_EVERY, LOST, MOMENT), Next::AtOnce);
        let mut waits = Waits::for_connection();
        assert!(matches!(waits.next(start, ErrorClass::Timeout, MOMENT), Next::After(_)));
        assert!(matches!(waits.next(start, LOST, None), Next::After(_)));
    }

    #[test]
    fn a_program_that_fails_five_times_within_a_minute_is_quarantined_until_it_has_run_for_a_minute() {
        let (mut now, mut waits) = (Instant::now(), Waits::for_program(QUARANTINE));
        let mut before = Duration::ZERO;
        for _ in 1..FAILURES_MAX {
            now += Duration::from_secs(2);
            let Next::After(wait) = waits.next(now, LOST, MOMENT) else { panic!("it is quarantined too early") };
            assert!(wait > before / 4 && wait < Duration::from_secs(2), "{wait:?} after {before:?}");
            before = wait;
        }
        for _ in 0..3 {
            assert_eq!(waits.next(now, LOST, MOMENT), Next::Quarantine(QUARANTINE));
            // Long after the failures that brought it there.
            now += Duration::from_secs(300);
        }
        let Next::After(wait) = waits.next(now, LOST, Some(FAILURES_WITHIN)) else { panic!("still quarantined") };
        assert!(wait <= Duration::from_millis(150), "{wait:?}");
    }

    #[test]
    fn a_program_that_fails_now_and_then_is_never_quarantined() {
        let (mut now, mut waits) = (Instant::now(), Waits::for_program(QUARANTINE));
        for _ in 0..100 {
            now += Duration::from_secs(16);
            assert!(matches!(waits.next(now, LOST, Some(Duration::from_secs(15))), Next::After(_)));
        }
    }
}

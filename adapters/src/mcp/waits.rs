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
    at_once_after: Option<Instant>,
    /// Of a program, which Weir itself starts: that costs the machine something.
    restarts: Option<Restarts>,
}

struct Restarts {
    failures: VecDeque<Instant>,
    quarantined: bool,
    quarantine: Duration,
}

impl Waits {
    pub(super) fn for_connection() -> Self {
        Self { delays: Delays::default(), at_once_after: None, restarts: None }
    }

    pub(super) fn for_program(quarantine: Duration) -> Self {
        let restarts = Restarts { failures: VecDeque::new(), quarantined: false, quarantine };
        Self { restarts: Some(restarts), ..Self::for_connection() }
    }

    /// The server was lost `now`, after it had been usable for so long; `None` when it never was.
    pub(super) fn next(&mut self, now: Instant, class: ErrorClass, usable_for: Option<Duration>) -> Next {
        if let Some(restarts) = &mut self.restarts
            && restarts.is_too_often(now, usable_for)
        {
            return Next::Quarantine(restarts.quarantine);
        }
        if usable_for.is_some_and(|period| period >= GOOD_AFTER) {
            self.delays.reset();
        }
        // A server that fell silent does not answer a new connection either: calls need not wait for that.
        let worth_it = usable_for.is_some() && class != ErrorClass::Timeout;
        if worth_it && self.at_once_after.is_none_or(|after| now >= after) {
            self.at_once_after = Some(now + AT_ONCE_EVERY);
            return Next::AtOnce;
        }
        Next::After(self.delays.next())
    }
}

impl Restarts {
    /// Counts a failure.
    fn is_too_often(&mut self, now: Instant, usable_for: Option<Duration>) -> bool {
        if usable_for.is_some_and(|period| period >= FAILURES_WITHIN) {
            self.failures.clear();
            self.quarantined = false;
        }
        self.failures.push_back(now);
        while self.failures.len() > FAILURES_MAX
            || self.failures.front().is_some_and(|&failed| now.duration_since(failed) >= FAILURES_WITHIN)
        {
            self.failures.pop_front();
        }
        self.quarantined |= self.failures.len() == FAILURES_MAX;
        self.quarantined
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
        assert_eq!(waits.next(now, LOST, MOMENT), Next::AtOnce);
        for interval_ms in [100, 200, 400] {
            now += Duration::from_secs(1);
            let Next::After(wait) = waits.next(now, LOST, MOMENT) else {
                panic!("at once, or too early: {interval_ms}")
            };
            let interval = Duration::from_millis(interval_ms);
            assert!(wait >= interval / 2 && wait <= interval * 2, "{wait:?} of {interval:?}");
        }
        for _ in 0..3 {
            assert_eq!(waits.next(now, LOST, MOMENT), Next::Quarantine(QUARANTINE));
            // Long after the failures that brought it there.
            now += Duration::from_secs(300);
        }
        assert_eq!(waits.next(now, LOST, Some(FAILURES_WITHIN)), Next::AtOnce);
    }

    #[test]
    fn a_program_that_fails_now_and_then_is_never_quarantined() {
        let (mut now, mut waits) = (Instant::now(), Waits::for_program(QUARANTINE));
        for _ in 0..100 {
            now += Duration::from_secs(16);
            assert_eq!(waits.next(now, LOST, Some(Duration::from_secs(15))), Next::AtOnce);
        }
    }
}

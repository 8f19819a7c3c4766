//! What is known of one downstream's failures: its breaker, the rests it asked for, its budget of repeats. Knows no clock.
//!
//! A rest that a downstream asks for (`Retry-After`) is first that of the tool it was asked at: many systems have a limit for each kind of
//! request. When a second tool is told the same while the first one rests, it is the whole system that has enough.

use std::{collections::HashMap, sync::Arc, time::Duration};

use adapters::{AdapterError, Delays, ErrorClass, Sent};
use jiff::Timestamp;

use super::{
    breaker::{Breaker, Cause, Change, Pass, Refused, Shown, State, Waits},
    budget::Budget,
};

/// No downstream is believed that it wants to rest for longer.
const REST_MAX: Duration = Duration::from_secs(60);
/// How many tools may rest at once, each by itself.
const RESTING_MAX: usize = 1024;

impl Waits for Delays {
    fn next(&mut self) -> Duration {
        Self::next(self)
    }

    fn reset(&mut self) {
        Self::reset(self);
    }
}

/// What is known of one downstream's failures.
#[derive(Debug)]
pub(super) struct Watch {
    settings: config::downstream::Breaker,
    whole: Breaker<Delays>,
    /// Until when the next probe is left to callers that have the time for one.
    unhurried_until: Duration,
    resting: HashMap<Arc<str>, Breaker<Delays>>,
    pub(super) budget: Budget,
    pub(super) opened: Option<Opened>,
    pub(super) last_failure: Option<LastFailure>,
}

/// Why and since when the breaker is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) cause: Cause,
    pub(super) last: ErrorClass,
    pub(super) since: Timestamp,
}

/// The last attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastFailure {
    pub(super) class: ErrorClass,
    pub(super) at: Timestamp,
}

/// An attempt that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passes {
    whole: Pass,
    /// Of its tool, where that one rested.
    tool: Option<Pass>,
}

impl Passes {
    pub(super) fn is_probe(&self) -> bool {
        self.whole.is_probe || self.tool.is_some_and(|pass| pass.is_probe)
    }
}

/// Who keeps a call from going out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// The whole downstream is left alone.
    Whole(Refused),
    /// The tool rests.
    Tool(Refused),
}

impl Watch {
    pub(super) fn new(breaker: config::downstream::Breaker, retries: config::downstream::Retries) -> Self {
        Self {
            settings: breaker,
            whole: new_breaker(breaker),
            unhurried_until: Duration::ZERO,
            resting: HashMap::new(),
            budget: Budget::new(retries),
            opened: None,
            last_failure: None,
        }
    }

    pub(super) fn state(&self, now: Duration) -> State {
        self.whole.state(now)
    }

    /// Whether an attempt at `tool` would be let through now.
    pub(super) fn look(&self, now: Duration, tool: &str) -> Result<(), Kept> {
        self.whole.look(now).map_err(Kept::Whole)?;
        self.resting.get(tool).map_or(Ok(()), |resting| resting.look(now)).map_err(Kept::Tool)
    }

    /// Lets an attempt through, or not. `has_time`: it will have about as long as the config gives one.
    pub(super) fn admit(&mut self, now: Duration, tool: &str, has_time: bool) -> Result<Passes, Kept> {
        self.look(now, tool)?;
        if !has_time && now < self.unhurried_until && self.whole.state(now) != State::Closed {
            return Err(Kept::Whole(Refused { after: self.unhurried_until - now }));
        }
        let tool = self.resting.get_mut(tool).map(|resting| resting.admit(now)).transpose().map_err(Kept::Tool)?;
        Ok(Passes { whole: self.whole.admit(now).map_err(Kept::Whole)?, tool })
    }

    /// The attempt ended without showing anything: whoever wanted it is gone.
    pub(super) fn abandoned(&mut self, now: Duration, tool: &str, passes: Passes) {
        self.whole.record(now, passes.whole, Shown::Nothing);
        if let (Some(resting), Some(pass)) = (self.resting.get_mut(tool), passes.tool) {
            resting.record(now, pass, Shown::Nothing);
        }
    }

    /// An answer came.
    pub(super) fn answered(&mut self, now: Duration, tool: &str, passes: Passes) -> Change {
        if passes.tool.is_some() {
            self.resting.remove(tool);
        }
        let change = self.whole.record(now, passes.whole, Shown::Answer);
        self.changed(change, ErrorClass::Busy)
    }

    /// No answer came. `had_time`: the attempt had about as long as the config gives one.
    pub(super) fn failed(
        &mut self,
        now: Duration,
        tool: &Arc<str>,
        passes: Passes,
        error: &AdapterError,
        had_time: bool,
    ) -> Change {
        let asked = asked_rest(error);
        let shown = match asked {
            // A probe that is told to come back later shows that it is too early.
            Some(_) if passes.whole.is_probe => Shown::Failure,
            Some(_) => Shown::Nothing,
            None => shown(error, had_time),
        };
        if shown == Shown::Failure || asked.is_some() {
            self.last_failure = Some(LastFailure { class: error.class, at: Timestamp::now() });
        }
        if passes.whole.is_probe && shown == Shown::Nothing && error.class == ErrorClass::Timeout {
            // It had too little time to show anything. One that has enough need not wait for it.
            self.unhurried_until = now + self.settings.open_first.0;
        }
        let mut change = self.whole.record(now, passes.whole, shown);
        if let Some(rest) = asked {
            let asked = self.rest(now, tool, now + rest);
            change = if asked == Change::None { change } else { asked };
        } else if let (Some(resting), Some(pass)) = (self.resting.get_mut(tool), passes.tool) {
            match shown {
                Shown::Nothing => _ = resting.record(now, pass, Shown::Nothing),
                // What is wrong now is another thing, which the whole breaker has counted.
                Shown::Answer | Shown::Failure => _ = self.resting.remove(tool),
            }
        }
        self.changed(change, error.class)
    }

    /// The downstream was found to be reachable by other means than calls.
    pub(super) fn reached(&mut self) -> Change {
        let by_connecting =
            |opened: &Opened| matches!(opened.last, ErrorClass::Unreachable | ErrorClass::ConnectionLost);
        if !self.opened.as_ref().is_some_and(by_connecting) {
            return Change::None;
        }
        let change = self.whole.close();
        self.changed(change, ErrorClass::Unreachable)
    }

    fn rest(&mut self, now: Duration, tool: &Arc<str>, until: Duration) -> Change {
        if self.resting.len() >= RESTING_MAX {
            self.resting.retain(|_, resting| matches!(resting.state(now), State::Open { .. }));
        }
        let others = self.resting.iter().filter(|(name, _)| *name != tool);
        let longest = others.filter_map(|(_, resting)| match resting.state(now) {
            State::Open { until } => Some(until),
            State::Closed | State::HalfOpen { .. } => None,
        });
        let of_two = longest.max();
        if self.resting.len() < RESTING_MAX || self.resting.contains_key(tool) {
            let settings = self.settings;
            self.resting.entry(tool.clone()).or_insert_with(|| new_breaker(settings)).rest(now, until);
        }
        let is_open = !matches!(self.whole.state(now), State::Closed);
        match of_two {
            Some(other) => self.whole.rest(now, until.max(other)),
            None if is_open => self.whole.rest(now, until),
            None => Change::None,
        }
    }

    fn changed(&mut self, change: Change, last: ErrorClass) -> Change {
        match change {
            Change::None => {}
            // It is open since it opened first, however often a probe failed in between.
            Change::Opened(Cause::Probe) if self.opened.is_some() => {
                self.opened = self.opened.map(|opened| Opened { last, ..opened });
            }
            Change::Opened(cause) => self.opened = Some(Opened { cause, last, since: Timestamp::now() }),
            Change::Closed => self.opened = None,
        }
        change
    }
}

fn new_breaker(settings: config::downstream::Breaker) -> Breaker<Delays> {
    Breaker::new(settings, Delays::new(settings.open_first.0, settings.open_max.0))
}

/// How long the downstream asked to be left alone. What Weir's own lines say of waiting is no word of the downstream.
fn asked_rest(error: &AdapterError) -> Option<Duration> {
    let is_asked = error.class == ErrorClass::Busy && error.sent != Sent::No;
    error.retry_after.filter(|rest| is_asked && !rest.is_zero()).map(|rest| rest.min(REST_MAX))
}

/// What a failure shows of the downstream: whether it answers, not whether the caller likes the answer.
fn shown(error: &AdapterError, had_time: bool) -> Shown {
    if error.known {
        return Shown::Nothing;
    }
    match (error.class, error.sent) {
        (ErrorClass::Unreachable | ErrorClass::ConnectionLost | ErrorClass::Protocol, _) => Shown::Failure,
        (ErrorClass::Timeout, _) if had_time => Shown::Failure,
        // A caller in a hurry shows nothing.
        (ErrorClass::Timeout | ErrorClass::Cancelled, _) => Shown::Nothing,
        // Weir's own connections were all in use.
        (ErrorClass::Busy, Sent::No) => Shown::Nothing,
        (ErrorClass::Busy, _) => Shown::Failure,
        (ErrorClass::TooLarge, Sent::Unknown) => Shown::Failure,
        (ErrorClass::TooLarge | ErrorClass::Rejected | ErrorClass::InvalidArguments, Sent::No) => Shown::Nothing,
        (ErrorClass::TooLarge | ErrorClass::Rejected | ErrorClass::InvalidArguments, _) => Shown::Answer,
        // It is well, and does not want us.
        (ErrorClass::Unauthorized, _) => Shown::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use adapters::{AdapterError, ErrorClass, Sent};
    use config::downstream::{Breaker, Retries};

    use super::{Kept, Shown, State, Watch, shown};

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn watch() -> Watch {
        Watch::new(Breaker::default(), Retries::default())
    }

    fn told_to_wait(watch: &mut Watch, now: Duration, tool: &str, seconds: u64) {
        let passes = watch.admit(now, tool, true).expect("let through");
        let mut error = AdapterError::new(ErrorClass::Busy, Sent::Yes, "Too many requests.");
        error.retry_after = Some(Duration::from_secs(seconds));
        watch.failed(now, &Arc::from(tool), passes, &error, true);
    }

    #[test]
    fn each_failure_shows_whether_the_downstream_answers() {
        use ErrorClass::*;
        for (class, sent, had_time, expected) in [
            (Unreachable, Sent::No, false, Shown::Failure),
            (ConnectionLost, Sent::Unknown, false, Shown::Failure),
            (Protocol, Sent::Yes, false, Shown::Failure),
            (Timeout, Sent::Unknown, true, Shown::Failure),
            (Timeout, Sent::Unknown, false, Shown::Nothing),
            (Busy, Sent::Yes, true, Shown::Failure),
            (Busy, Sent::No, true, Shown::Nothing),
            (TooLarge, Sent::Unknown, true, Shown::Failure),
            (TooLarge, Sent::Yes, true, Shown::Answer),
            (Rejected, Sent::Yes, true, Shown::Answer),
            (Rejected, Sent::No, true, Shown::Nothing),
            (InvalidArguments, Sent::No, true, Shown::Nothing),
            (Cancelled, Sent::Unknown, true, Shown::Nothing),
            (Unauthorized, Sent::Yes, true, Shown::Nothing),
        ] {
            assert_eq!(shown(&AdapterError::new(class, sent, "…"), had_time), expected, "{class:?} {sent:?}");
        }
        let known = AdapterError::not_sent(Unreachable, "…").known();
        assert_eq!(shown(&known, true), Shown::Nothing, "it was not asked at all");
    }

    #[test]
    fn a_tool_that_is_told_to_wait_rests_alone() {
        let mut watch = watch();
        told_to_wait(&mut watch, at(0), "search", 10);
        assert!(matches!(watch.look(at(9), "search"), Err(Kept::Tool(refused)) if refused.after == at(1)));
        assert_eq!(watch.look(at(9), "get"), Ok(()));
        // Then one goes ahead, and the others follow when it is answered.
        let probe = watch.admit(at(10), "search", true).expect("a probe");
        assert!(probe.is_probe() && watch.look(at(10), "search").is_err());
        watch.answered(at(10), "search", probe);
        assert_eq!(watch.look(at(10), "search"), Ok(()));
        assert_eq!(watch.state(at(10)), State::Closed);
    }

    #[test]
    fn a_second_tool_that_is_told_to_wait_speaks_for_the_whole_downstream() {
        let mut watch = watch();
        told_to_wait(&mut watch, at(0), "search", 20);
        told_to_wait(&mut watch, at(5), "get", 5);
        assert!(matches!(watch.look(at(19), "create"), Err(Kept::Whole(refused)) if refused.after == at(1)));
        let probe = watch.admit(at(20), "create", true).expect("a probe");
        watch.answered(at(20), "create", probe);
        assert_eq!(watch.state(at(20)), State::Closed);
    }

    #[test]
    fn nobody_is_believed_to_want_more_than_a_minute() {
        let mut watch = watch();
        told_to_wait(&mut watch, at(0), "search", 86_400);
        assert!(watch.look(at(59), "search").is_err());
        assert_eq!(watch.look(at(60), "search"), Ok(()));
    }

    #[test]
    fn a_probe_whose_caller_is_gone_makes_room_for_the_next() {
        let mut watch = watch();
        told_to_wait(&mut watch, at(0), "search", 10);
        let probe = watch.admit(at(10), "search", true).expect("a probe");
        watch.abandoned(at(11), "search", probe);
        assert!(watch.admit(at(11), "search", true).expect("the next").is_probe());
    }

    #[test]
    fn a_probe_of_a_caller_in_a_hurry_keeps_nobody_away_that_has_time() {
        let mut watch = watch();
        let (tool, late) = (Arc::from("get"), AdapterError::maybe_sent(ErrorClass::Timeout, "…"));
        for _ in 0..5 {
            let passes = watch.admit(at(0), "get", true).expect("let through");
            watch.failed(at(0), &tool, passes, &late, true);
        }
        for second in 2..20 {
            let probe = watch.admit(at(second), "get", false).expect("a second after the last one in a hurry");
            assert!(probe.is_probe() && watch.admit(at(second), "get", true).is_err(), "one at a time");
            watch.failed(at(second), &tool, probe, &late, false);
            assert!(matches!(watch.admit(at(second), "get", false), Err(Kept::Whole(left)) if left.after == at(1)));
        }
        let probe = watch.admit(at(19), "get", true).expect("one that has time goes ahead at once");
        watch.answered(at(19), "get", probe);
        assert!(watch.admit(at(19), "get", false).is_ok(), "it is closed for all");
    }

    #[test]
    fn what_could_not_be_reached_is_asked_again_as_soon_as_it_is_reached() {
        let mut watch = watch();
        for class in [ErrorClass::Unreachable, ErrorClass::Timeout] {
            for _ in 0..5 {
                let passes = watch.admit(at(0), "get", true).expect("let through");
                watch.failed(at(0), &Arc::from("get"), passes, &AdapterError::maybe_sent(class, "…"), true);
            }
            assert!(watch.look(at(0), "get").is_err());
            watch.reached();
            // That it takes connections does not show that it answers.
            assert_eq!(watch.look(at(0), "get").is_ok(), class == ErrorClass::Unreachable);
        }
    }
}

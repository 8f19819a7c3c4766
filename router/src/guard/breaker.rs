//! When a downstream that fails is left alone. Knows no clock: `now` is the time since the guard was made.
//!
//! Closed: attempts go through, and failures are counted. Open: none goes through until its time is over. Half-open: one attempt after the
//! other goes through as a probe, until one shows that the downstream answers again, or that it does not.

mod window;

#[cfg(test)]
mod tests;

use std::time::Duration;

use window::Window;

/// The waits between one probe and the next.
pub(super) trait Waits {
    /// How long it stays open this time: longer from time to time.
    fn next(&mut self) -> Duration;

    /// The downstream is well again: the next wait is the shortest.
    fn reset(&mut self);
}

/// Why it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// So many failures in a row.
    InARow(u32),
    /// So large a share of the attempts of the last seconds failed, in percent.
    Share(u32),
    /// The probe failed.
    Probe,
    /// The downstream asked for a rest.
    Asked,
}

/// What an attempt showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The downstream answers.
    Answer,
    /// It does not.
    Failure,
    /// Nothing about the downstream: the caller gave up, or nothing was sent.
    Nothing,
}

/// An attempt that was let through, to be brought back with what it showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    /// What it shows about an earlier time counts no longer.
    era: u64,
    pub(super) is_probe: bool,
}

/// No attempt goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// When the next one may; nothing while a probe is on its way.
    pub(super) after: Duration,
}

/// What became of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Opened(Cause),
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    Open { until: Duration },
    HalfOpen { probing: bool },
}

/// The breaker of one downstream.
#[derive(Debug)]
pub(super) struct Breaker<W> {
    settings: config::downstream::Breaker,
    waits: W,
    state: State,
    era: u64,
    in_a_row: u32,
    window: Window,
}

impl<W: Waits> Breaker<W> {
    pub(super) fn new(settings: config::downstream::Breaker, waits: W) -> Self {
        let window = Window::new(settings.within.0);
        Self { settings, waits, state: State::Closed, era: 0, in_a_row: 0, window }
    }

    /// What it is at `now`.
    pub(super) fn state(&self, now: Duration) -> State {
        match self.state {
            State::Open { until } if now >= until => State::HalfOpen { probing: false },
            state => state,
        }
    }

    /// Whether an attempt would be let through now.
    pub(super) fn look(&self, now: Duration) -> Result<(), Refused> {
        match self.state(now) {
            State::Closed | State::HalfOpen { probing: false } => Ok(()),
            State::HalfOpen { probing: true } => Err(Refused { after: Duration::ZERO }),
            State::Open { until } => Err(Refused { after: until - now }),
        }
    }

    /// Lets an attempt through, or not. What it shows must be brought back, also if it shows nothing.
    pub(super) fn admit(&mut self, now: Duration) -> Result<Pass, Refused> {
        self.look(now)?;
        let is_probe = self.state != State::Closed;
        if is_probe {
            self.state = State::HalfOpen { probing: true };
        }
        Ok(Pass { era: self.era, is_probe })
    }

    /// Takes note of what an attempt showed.
    pub(super) fn record(&mut self, now: Duration, pass: Pass, shown: Shown) -> Change {
        if pass.era != self.era {
            return Change::None;
        }
        match (pass.is_probe, shown) {
            (true, Shown::Answer) => self.close(),
            (true, Shown::Failure) => {
                let until = now + self.waits.next();
                self.open(until, Cause::Probe)
            }
            (true, Shown::Nothing) => {
                self.state = State::HalfOpen { probing: false };
                Change::None
            }
            (false, Shown::Nothing) => Change::None,
            (false, Shown::Answer) => {
                self.in_a_row = 0;
                self.window.count(now, false);
                Change::None
            }
            (false, Shown::Failure) => self.failed(now),
        }
    }

    /// Stays open until `until` at least, and is open from now on.
    pub(super) fn rest(&mut self, now: Duration, until: Duration) -> Change {
        match self.state(now) {
            State::Open { until: before } => {
                self.state = State::Open { until: until.max(before) };
                Change::None
            }
            State::Closed | State::HalfOpen { .. } => self.open(until, Cause::Asked),
        }
    }

    /// Closes it: the downstream was found to be well by other means.
    pub(super) fn close(&mut self) -> Change {
        if self.state == State::Closed {
            return Change::None;
        }
        self.state = State::Closed;
        self.forget();
        self.waits.reset();
        Change::Closed
    }

    fn failed(&mut self, now: Duration) -> Change {
        self.in_a_row += 1;
        self.window.count(now, true);
        let (attempts, failures) = self.window.sums(now);
        let percent = u32::try_from(u64::from(failures) * 100 / u64::from(attempts.max(1))).unwrap_or(100);
        let cause = if self.in_a_row >= self.settings.failures_in_a_row {
            Cause::InARow(self.in_a_row)
        } else if attempts >= self.settings.attempts_min && percent >= self.settings.failures_percent {
            Cause::Share(percent)
        } else {
            return Change::None;
        };
        let until = now + self.waits.next();
        self.open(until, cause)
    }

    fn open(&mut self, until: Duration, cause: Cause) -> Change {
        self.state = State::Open { until };
        self.forget();
        Change::Opened(cause)
    }

    /// A new era begins: what attempts of the old one show is of no interest any more.
    fn forget(&mut self) {
        self.era += 1;
        self.in_a_row = 0;
        self.window = Window::new(self.settings.within.0);
    }
}

//! The guard of one downstream: what was seen of it, the clock, and who is told.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use adapters::AdapterError;
use config::{
    DownstreamName, Effect,
    downstream::{Kind, Retries},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    breaker::{Cause, Change, Refused, State},
    calendar::{Calendar, Phase, Shut},
    watch::{Kept, Opened, Passes, Watch},
};
use crate::{catalog::Tool, downstream::Condition, error::CallError, telemetry};

/// A downstream that is being probed is asked about again so soon.
const PROBED: Duration = Duration::from_secs(1);

/// Whether and when calls may go to one downstream.
#[derive(Debug)]
pub(crate) struct Guard {
    name: DownstreamName,
    made: Instant,
    retries: Retries,
    attempt_timeout: Duration,
    calendar: Option<Calendar>,
    watch: Mutex<Watch>,
}

/// Why a call may not go to a downstream now.
#[derive(Debug)]
pub(super) struct Left {
    word: &'static str,
    why: String,
    wait: Duration,
}

impl Guard {
    pub(crate) fn new(name: &DownstreamName, config: &config::Downstream) -> Self {
        Self {
            name: name.clone(),
            made: Instant::now(),
            retries: config.retries,
            attempt_timeout: attempt_timeout(config),
            calendar: Calendar::new(&config.closed),
            watch: Mutex::new(Watch::new(config.breaker, config.retries)),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(super) fn retries(&self) -> Retries {
        self.retries
    }

    /// With less time than this an attempt at `tool` shows nothing by running out of it: its caller is in a hurry, or had waited for long.
    pub(super) fn fair_time(&self, tool: &Tool) -> Duration {
        self.attempt_timeout.min(tool.deadline) / 2
    }

    /// Whether a call may go on its way; nothing is taken for it.
    pub(super) fn look(&self, tool: &str) -> Result<(), Left> {
        self.open_now()?;
        let looked = self.watch().look(self.now(), tool);
        looked.map_err(|kept| self.left(kept))
    }

    /// Lets an attempt through, or not. `has_time`: it will have about as long as the config gives one.
    pub(super) fn admit<'a>(&'a self, tool: &'a Arc<str>, has_time: bool) -> Result<Attempting<'a>, Left> {
        self.open_now()?;
        let admitted = self.watch().admit(self.now(), tool, has_time);
        let passes = admitted.map_err(|kept| self.left(kept))?;
        if passes.is_probe() {
            self.tell_state();
        }
        Ok(Attempting { guard: self, tool, passes: Some(passes) })
    }

    /// A call goes to the downstream for the first time.
    pub(super) fn called(&self) {
        self.watch().budget.called();
    }

    /// Takes a repeat from the budget.
    pub(super) fn take_repeat(&self) -> bool {
        self.watch().budget.take(self.now())
    }

    /// The adapter found that it can be reached again.
    pub(crate) fn reached(&self) {
        let change = self.watch().reached();
        self.tell(change);
    }

    fn now(&self) -> Duration {
        self.made.elapsed()
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_now(&self) -> Result<(), Left> {
        let Some(calendar) = &self.calendar else { return Ok(()) };
        let now = Timestamp::now();
        let Some(shut) = calendar.at(now).closed else { return Ok(()) };
        let wait = Duration::try_from(shut.until.duration_since(now)).unwrap_or_default();
        Err(Left { word: "closed_by_calendar", why: self.shut(&shut, now), wait })
    }

    fn shut(&self, shut: &Shut, now: Timestamp) -> String {
        format!("{} is closed until {}: {}.", self.name, shut.end(now), shut.reason.trim_end_matches('.'))
    }

    fn left(&self, kept: Kept) -> Left {
        let name = &self.name;
        let (refused, word, why) = match kept {
            Kept::Tool(refused) => (refused, "resting", format!("{name} asked to be left alone with it for a while.")),
            Kept::Whole(refused) => {
                let is_probed = refused.after.is_zero();
                let why = match self.watch().opened {
                    Some(opened) => format!("{name} is left alone for a moment, since {}.", opened.said()),
                    None => format!("{name} is left alone for a moment."),
                };
                (refused, if is_probed { "half_open" } else { "open" }, why)
            }
        };
        let Refused { after } = refused;
        Left { word, why, wait: if after.is_zero() { PROBED } else { after } }
    }

    fn tell(&self, change: Change) {
        match change {
            Change::None => return,
            Change::Opened(cause) => {
                telemetry::breaker_opened(self.name(), cause.word());
                if let Some(opened) = self.watch().opened {
                    tracing::warn!(downstream = %self.name, reason = opened.said(), "left alone: the breaker is open");
                }
            }
            Change::Closed => tracing::info!(downstream = %self.name, "it answers again: the breaker is closed"),
        }
        self.tell_state();
    }

    /// Shows the state of its breaker.
    pub(crate) fn tell_state(&self) {
        let value = match self.watch().state(self.now()) {
            State::Closed => 0.0,
            State::HalfOpen { .. } => 0.5,
            State::Open { .. } => 1.0,
        };
        telemetry::breaker_state(self.name(), value);
    }
}

/// For operators.
impl Guard {
    /// That its calendar closes it now, if it does.
    pub(crate) fn closed(&self) -> Option<Condition> {
        let now = Timestamp::now();
        let shut = self.calendar.as_ref()?.at(now).closed?;
        let reason = format!("until {}: {}", shut.end(now), shut.reason);
        Some(Condition { word: "closed_by_calendar", reason: Some(reason), since: shut.since })
    }

    /// That its breaker is not closed, if it is not.
    pub(crate) fn opened(&self) -> Option<Condition> {
        let opened = self.watch().opened?;
        Some(Condition { word: "breaker_open", reason: Some(opened.said()), since: opened.since })
    }

    /// What would become of a call of `tool`.
    pub(crate) fn explained(&self, tool: &Tool) -> Value {
        let mut told = self.told(Some(&tool.name.local));
        let what = match tool.effect {
            Effect::Read => "what fails is asked again",
            Effect::IdempotentWrite => "what fails is sent again, since doing it twice does no harm",
            Effect::Write => "only what certainly was not sent is sent again",
        };
        told["attempts_max"] = json!(self.retries.attempts_max);
        told["attempts_because"] =
            json!(if self.retries.attempts_max == 1 { "the config repeats nothing" } else { what });
        told["attempt_timeout_ms"] = json!(self.attempt_timeout.min(tool.deadline).as_millis() as u64);
        told["may_go"] = json!(self.look(&tool.name.local).err().map_or_else(|| json!(true), |left| json!(left.why)));
        told
    }

    /// The breaker, the last failure, the repeats that are left and the calendar.
    pub(crate) fn told(&self, tool: Option<&str>) -> Value {
        let (now, moment) = (self.now(), Timestamp::now());
        let mut watch = self.watch();
        let state = match watch.state(now) {
            State::Closed => "closed",
            State::Open { .. } => "open",
            State::HalfOpen { .. } => "half_open",
        };
        let wait = match tool.map_or_else(|| watch.look(now, ""), |tool| watch.look(now, tool)) {
            Ok(()) => None,
            Err(Kept::Tool(refused) | Kept::Whole(refused)) => Some(refused.after.as_millis() as u64),
        };
        json!({
            "breaker": {
                "state": state, "cause": watch.opened.map(|opened| opened.said()), "since": watch.opened.map(|opened| opened.since),
                "retry_after_ms": wait,
                "resting": tool.map(|tool| matches!(watch.look(now, tool), Err(Kept::Tool(_)))),
            },
            "last_failure": watch.last_failure.map(|last| json!({ "class": last.class.as_str(), "at": last.at })),
            "repeats_left": watch.budget.left(now),
            "calendar": self.calendar.as_ref().map(|calendar| phase_told(&calendar.at(moment))),
        })
    }
}

fn phase_told(phase: &Phase) -> Value {
    let told = |shut: &Shut| json!({ "from": shut.since, "until": shut.until, "reason": &*shut.reason });
    json!({ "closed": phase.closed.as_ref().map(told), "next": phase.next.as_ref().map(told) })
}

impl Left {
    /// For the audit record.
    pub(super) fn word(&self) -> &'static str {
        self.word
    }

    pub(super) fn refusal(self, tool: &Tool) -> CallError {
        CallError::LeftAlone {
            tool: tool.name.shown.clone(),
            downstream: tool.downstream.name.to_string(),
            why: self.why,
            retry_after_ms: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Opened {
    /// In half a sentence: `5 attempts in a row failed, the last one with timeout`.
    fn said(&self) -> String {
        let last = self.last.as_str();
        match self.cause {
            Cause::InARow(count) => format!("{count} attempts in a row failed, the last one with {last}"),
            Cause::Share(percent) => format!("{percent} % of the last attempts failed, the last one with {last}"),
            Cause::Probe => format!("a probe failed with {last}"),
            Cause::Asked => "it asked for a rest".to_owned(),
        }
    }
}

impl Cause {
    fn word(self) -> &'static str {
        match self {
            Self::InARow(_) => "in_a_row",
            Self::Share(_) => "share",
            Self::Probe => "probe",
            Self::Asked => "asked",
        }
    }
}

/// An attempt under way. One that is dropped without an end has shown nothing, and makes room for another probe.
#[derive(Debug)]
pub(super) struct Attempting<'a> {
    guard: &'a Guard,
    tool: &'a Arc<str>,
    passes: Option<Passes>,
}

impl Attempting<'_> {
    pub(super) fn is_probe(&self) -> bool {
        self.passes.is_some_and(|passes| passes.is_probe())
    }

    pub(super) fn answered(mut self) {
        let Some(passes) = self.passes.take() else { return };
        let change = self.guard.watch().answered(self.guard.now(), self.tool, passes);
        self.guard.tell(change);
    }

    /// `had_time`: the attempt had about as long as the config gives one.
    pub(super) fn failed(mut self, error: &AdapterError, had_time: bool) {
        let Some(passes) = self.passes.take() else { return };
        let change = self.guard.watch().failed(self.guard.now(), self.tool, passes, error, had_time);
        self.guard.tell(change);
    }
}

impl Drop for Attempting<'_> {
    fn drop(&mut self) {
        if let Some(passes) = self.passes.take() {
            self.guard.watch().abandoned(self.guard.now(), self.tool, passes);
        }
    }
}

/// How long the config lets one attempt take.
fn attempt_timeout(config: &config::Downstream) -> Duration {
    let stated = match config.kind() {
        Some(Kind::Postgres(postgres)) => postgres.statement_timeout,
        Some(Kind::Mainframe(mainframe)) => mainframe.attempt_timeout,
        Some(Kind::Ticketing(ticketing)) => ticketing.attempt_timeout,
        Some(Kind::Mcp(mcp)) => mcp.attempt_timeout,
        None => return Duration::ZERO,
    };
    stated.0
}

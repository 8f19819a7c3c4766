//! The attempts of one call: each within the call's deadline, and a further one only where it can do no harm and may do good.

use std::time::Duration;

use adapters::{AdapterError, CallContext, Delays, ErrorClass, Reply, Request, Sent};
use config::{Effect, downstream::Credential};
use tokio::time::Instant;

use super::{Guard, LATE, NoReply};
use crate::{
    call::{Attempt, Trail},
    catalog::Tool,
    line::Place,
    telemetry,
};

/// With less time than this left, a repeat would only be cut off.
const LEAST_TIME: Duration = Duration::from_millis(100);

/// Calls the downstream, again where that is allowed. All attempts have the same place, and none goes on without it.
///
/// # Errors
/// That it is left alone, or what the adapter said at the last attempt.
pub(crate) async fn call_downstream(
    ctx: &CallContext,
    tool: &Tool,
    place: &Place,
    request: Request,
    trail: &Trail,
) -> Result<Reply, NoReply> {
    let guard = &tool.downstream.guard;
    let mut course = Course { guard, tool, trail, attempts: 0, because: None, in_doubt: false, delays: None };
    let mut failed: Option<AdapterError> = None;
    loop {
        let period = ctx.deadline.remaining();
        let has_time = period >= guard.fair_time(tool);
        let attempting = match guard.admit(&tool.name.local, has_time) {
            Ok(attempting) => attempting,
            Err(left) => {
                trail.note(|decisions| decisions.breaker = Some(left.word()));
                return Err(match failed {
                    Some(error) => {
                        course.not_repeated("breaker");
                        NoReply::Failed(error)
                    }
                    None => NoReply::LeftAlone(left.refusal(tool)),
                });
            }
        };
        if period.is_zero() {
            return Err(NoReply::Failed(failed.unwrap_or_else(too_late)));
        }
        if attempting.is_probe() {
            trail.note(|decisions| decisions.breaker = Some("half_open"));
        }
        course.begins();
        let began = Instant::now();
        let answer = tokio::select! {
            biased;
            () = place.lost() => {
                // Says nothing about the downstream, and there is no going on.
                let error = without_a_place(ctx, tool);
                course.ended(Some(&error), began.elapsed());
                course.not_repeated("place_lost");
                return Err(NoReply::Failed(error));
            }
            answer = once(ctx, tool, request.clone(), period) => answer,
        };
        let took = began.elapsed();
        let mut error = match answer {
            Ok(reply) => {
                attempting.answered();
                course.ended(None, took);
                return Ok(reply);
            }
            Err(error) => error,
        };
        attempting.failed(&error, has_time);
        course.ended(Some(&error), took);
        if course.in_doubt {
            // Whatever became of this attempt, an earlier one may have been carried out.
            error.sent = Sent::Unknown;
        }
        let Some(wait) = course.wait_for_next(ctx, &error) else { return Err(NoReply::Failed(error)) };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = ctx.cancel.cancelled() => {
                course.not_repeated("cancelled");
                return Err(NoReply::Failed(AdapterError::new(ErrorClass::Cancelled, error.sent, "The call was cancelled.")));
            }
        }
        failed = Some(error);
    }
}

/// One attempt, ended a moment after the deadline if the adapter does not end it.
async fn once(ctx: &CallContext, tool: &Tool, request: Request, period: Duration) -> Result<Reply, AdapterError> {
    let attempt = tool.downstream.adapter.call(ctx, request);
    match tokio::time::timeout_at(ctx.deadline.at() + LATE, attempt).await {
        Ok(answer) => answer,
        Err(_elapsed) => {
            let waited_ms = period.as_millis();
            let message = format!(
                "{} gave no answer within {waited_ms} ms. Try again later or ask for less.",
                tool.downstream.name
            );
            // A read passes no gate, so what it sent is not known; it does not matter either.
            let sent = if ctx.gate.passed() || !tool.effect.writes() { Sent::Unknown } else { Sent::No };
            Err(AdapterError::new(ErrorClass::Timeout, sent, message))
        }
    }
}

/// The permit could not be renewed, and somebody else may have it soon: more calls than the downstream bears are worse than one without answer.
fn without_a_place(ctx: &CallContext, tool: &Tool) -> AdapterError {
    let message = format!(
        "How many calls {} has at once could not be counted any more, so this one was ended. Try again in a moment.",
        tool.downstream.name
    );
    let sent = if ctx.gate.passed() || !tool.effect.writes() { Sent::Unknown } else { Sent::No };
    AdapterError::new(ErrorClass::Busy, sent, message)
}

fn too_late() -> AdapterError {
    AdapterError::not_sent(ErrorClass::Timeout, "The deadline passed before the call could start; nothing was sent.")
}

/// How the attempts of one call went so far.
struct Course<'a> {
    guard: &'a Guard,
    tool: &'a Tool,
    trail: &'a Trail,
    attempts: u32,
    /// Why the attempt that runs is made, for all but the first.
    because: Option<&'static str>,
    /// An attempt of a write may have been carried out.
    in_doubt: bool,
    delays: Option<Delays>,
}

impl Course<'_> {
    fn begins(&mut self) {
        self.attempts += 1;
        match self.because {
            None => self.guard.called(),
            Some(because) => telemetry::retried(self.guard.name(), because),
        }
    }

    fn ended(&mut self, error: Option<&AdapterError>, took: Duration) {
        if let Some(error) = error {
            telemetry::attempt_failed(self.guard.name(), error.class.as_str());
        }
        let sent = error.map_or(Sent::Yes, |error| error.sent);
        self.in_doubt |= self.tool.effect.writes() && sent == Sent::Unknown;
        let attempt = Attempt {
            outcome: error.map_or("ok", |error| error.class.as_str()),
            sent: word(sent),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            because: self.because,
            credential: self.tool.downstream.config.credential().map(Credential::kind),
        };
        self.trail.note(|decisions| decisions.attempts.push(attempt));
    }

    /// How long to wait before the next attempt; `None` where there is none, and the trail says why.
    fn wait_for_next(&mut self, ctx: &CallContext, error: &AdapterError) -> Option<Duration> {
        match self.next(ctx, error) {
            Ok((because, wait)) => {
                self.because = Some(because);
                Some(wait)
            }
            Err(reason) => {
                self.not_repeated(reason);
                None
            }
        }
    }

    fn next(&mut self, ctx: &CallContext, error: &AdapterError) -> Result<(&'static str, Duration), &'static str> {
        let because = repeatable(self.tool.effect, error)?;
        let retries = self.guard.retries();
        if self.attempts >= retries.attempts_max {
            return Err("attempts_max");
        }
        let delays = self.delays.get_or_insert_with(|| Delays::for_repeats(retries.wait_first.0, retries.wait_max.0));
        let wait = delays.next();
        let wait = match error.retry_after {
            // A wait that the downstream asks for is kept to, or the caller hears of it at once.
            Some(asked) if asked > retries.wait_max.0 => return Err("asked_to_wait"),
            Some(asked) => asked + wait,
            None => wait,
        };
        // What ran out of its time once needs about as much again.
        let needed = if error.class == ErrorClass::Timeout { self.guard.fair_time(self.tool) } else { LEAST_TIME };
        if ctx.deadline.remaining() < wait + needed {
            return Err("no_time");
        }
        if !self.guard.take_repeat() {
            return Err("budget");
        }
        Ok((because, wait))
    }

    fn not_repeated(&self, reason: &'static str) {
        self.trail.note(|decisions| decisions.not_repeated = Some(reason));
        telemetry::retry_refused(self.guard.name(), reason);
    }
}

/// Why another attempt can do no harm, or why there is none. By what happened and by what the config says of the tool; what the downstream
/// says of it itself is never believed.
fn repeatable(effect: Effect, error: &AdapterError) -> Result<&'static str, &'static str> {
    if error.known {
        return Err("known_down");
    }
    match error.class {
        ErrorClass::Cancelled => return Err("cancelled"),
        // The same question would get the same answer.
        ErrorClass::Rejected
        | ErrorClass::InvalidArguments
        | ErrorClass::Protocol
        | ErrorClass::TooLarge
        | ErrorClass::Unauthorized => return Err("answered"),
        // It ended the work itself, since that took too long.
        ErrorClass::Timeout if error.sent == Sent::Yes => return Err("answered"),
        ErrorClass::Unreachable | ErrorClass::ConnectionLost | ErrorClass::Timeout | ErrorClass::Busy => {}
    }
    match (error.sent, effect) {
        (Sent::No, _) => Ok("not_sent"),
        (Sent::Yes | Sent::Unknown, Effect::Read) => Ok("read"),
        (Sent::Yes | Sent::Unknown, Effect::IdempotentWrite) => Ok("idempotent"),
        (Sent::Yes | Sent::Unknown, Effect::Write) => Err("may_have_happened"),
    }
}

fn word(sent: Sent) -> &'static str {
    match sent {
        Sent::No => "no",
        Sent::Yes => "yes",
        Sent::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use adapters::{AdapterError, ErrorClass, Sent};
    use config::Effect;

    use super::repeatable;

    #[test]
    fn only_what_cannot_have_happened_or_may_happen_twice_is_repeated() {
        use ErrorClass::*;
        for (class, sent, read, idempotent, write) in [
            (Unreachable, Sent::No, "not_sent", "not_sent", "not_sent"),
            (Busy, Sent::No, "not_sent", "not_sent", "not_sent"),
            (ConnectionLost, Sent::Unknown, "read", "idempotent", "may_have_happened"),
            (Timeout, Sent::Unknown, "read", "idempotent", "may_have_happened"),
            (Busy, Sent::Yes, "read", "idempotent", "may_have_happened"),
            (Timeout, Sent::Yes, "answered", "answered", "answered"),
            (Rejected, Sent::Yes, "answered", "answered", "answered"),
            (InvalidArguments, Sent::No, "answered", "answered", "answered"),
            (Protocol, Sent::Unknown, "answered", "answered", "answered"),
            (TooLarge, Sent::Unknown, "answered", "answered", "answered"),
            (Unauthorized, Sent::Yes, "answered", "answered", "answered"),
            (Cancelled, Sent::No, "cancelled", "cancelled", "cancelled"),
        ] {
            for (effect, expected) in
                [(Effect::Read, read), (Effect::IdempotentWrite, idempotent), (Effect::Write, write)]
            {
                let said = repeatable(effect, &AdapterError::new(class, sent, "…"));
                assert_eq!(said.unwrap_or_else(|reason| reason), expected, "{effect:?} {class:?} {sent:?}");
            }
        }
        let known = AdapterError::not_sent(Unreachable, "…").known();
        assert_eq!(repeatable(Effect::Read, &known), Err("known_down"));
    }
}

//! The way to a downstream: whether and when a call may go there, and its attempts within its deadline.

use std::time::Duration;

use adapters::{AdapterError, CallContext, ErrorClass, Reply, Request, Sent};

use crate::{
    Router,
    call::{Trail, overloaded},
    catalog::Tool,
    error::CallError,
    limit::Slot,
};

/// How long after the deadline an adapter may still be busy saying that it passed, before it is dropped.
pub(crate) const LATE: Duration = Duration::from_millis(100);

/// A call's place at its downstream. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _slot: Slot,
}

/// Lets a call in: not while the downstream is left alone, only within its limits, and one after the other where it is as busy as it may be.
///
/// # Errors
/// Nothing was sent then, and nothing charged.
#[allow(clippy::unused_async, reason = "the line and the limits are waited for here")]
pub(crate) async fn enter(
    _router: &Router,
    _ctx: &CallContext,
    tool: &Tool,
    _trail: &Trail,
) -> Result<Place, CallError> {
    let full = || overloaded(format!("the downstream {}", tool.downstream.name));
    Ok(Place { _slot: tool.downstream.slots.take().ok_or_else(full)? })
}

/// Calls the downstream once. Retries, budget and breaker belong here.
///
/// # Errors
/// What the adapter said, or that it did not keep the deadline.
pub(crate) async fn call_downstream(
    ctx: &CallContext,
    tool: &Tool,
    request: Request,
    _trail: &Trail,
) -> Result<Reply, AdapterError> {
    let period = ctx.deadline.remaining();
    if period.is_zero() {
        return Err(AdapterError::not_sent(
            ErrorClass::Timeout,
            "The deadline passed before the call could start; nothing was sent.",
        ));
    }
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

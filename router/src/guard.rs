//! One attempt at a downstream, within the call's deadline.

use std::time::Duration;

use adapters::{AdapterError, CallContext, ErrorClass, Reply, Request, Sent};

use crate::catalog::Tool;

/// How long after the deadline an adapter may still be busy saying that it passed, before it is dropped.
pub(crate) const LATE: Duration = Duration::from_millis(100);

/// Calls the downstream once. Retries, budget and breaker belong here.
///
/// # Errors
/// What the adapter said, or that it did not keep the deadline.
pub async fn call_downstream(ctx: &CallContext, tool: &Tool, request: Request) -> Result<Reply, AdapterError> {
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

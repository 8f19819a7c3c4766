//! The way to a downstream: whether and when a call may go there, and its attempts within its deadline.
//!
//! In this order: its calendar, the rests it asked for, its breaker; then its line and limits; then attempts, each admitted by the first
//! three again, since the line may have been long.

mod attempts;
mod breaker;
mod budget;
mod calendar;
mod state;
mod watch;

use std::time::Duration;

use adapters::{AdapterError, CallContext};

use crate::{
    Router,
    call::Trail,
    catalog::Tool,
    error::CallError,
    line::{self, Place},
};

pub(crate) use attempts::call_downstream;
pub(crate) use state::Guard;

/// How long after the deadline an adapter may still be busy saying that it passed, before it is dropped.
pub(crate) const LATE: Duration = Duration::from_millis(100);

/// Why a call that was let in has no answer.
#[derive(Debug)]
pub(crate) enum NoReply {
    /// Nothing was sent.
    LeftAlone(CallError),
    /// The last attempt failed.
    Failed(AdapterError),
}

/// Lets a call in: not while the downstream is left alone, only within its limits, and one after the other where it is as busy as it may be.
///
/// # Errors
/// Nothing was sent then, and nothing charged.
pub(crate) async fn enter(router: &Router, ctx: &CallContext, tool: &Tool, trail: &Trail) -> Result<Place, CallError> {
    tool.downstream.guard.look(&tool.name.local).map_err(|left| {
        trail.note(|decisions| decisions.breaker = Some(left.word()));
        left.refusal(tool)
    })?;
    line::take_place(router, ctx, tool, trail).await
}

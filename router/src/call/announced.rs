//! A write, and what the cache must hear of it before it is sent and after it has ended.

use std::time::Duration;

use adapters::{CallContext, Reply, Request, Sent};
use bytes::Bytes;
use cache::{Pending, Settled};
use config::TagTemplate;

use super::plan::with_defaults;
use crate::{
    Router,
    catalog::Tool,
    error::CallError,
    invalidate::template::{tags_of_write, tags_of_written},
};

/// How long after the deadline a write may still be busy ending.
const LATE: Duration = Duration::from_secs(1);
/// When a write that could not be announced may be tried again: Redis is tried each second.
const RETRY_AFTER_MS: u64 = 2000;

/// A write that the cache knows of. While it is pending nothing is stored that it may change; dropped without an end, it stays so until the
/// time that the write has.
pub(super) struct Announced<'a> {
    router: &'a Router,
    templates: &'a [TagTemplate],
    arguments: Bytes,
    settles_within: Duration,
    pending: Pending,
}

/// Tells the cache of a write that is about to be sent; `None` where it changes nothing that is cached.
pub(super) async fn announce<'a>(
    router: &'a Router,
    ctx: &CallContext,
    tool: &'a Tool,
    request: &Request,
) -> Result<Option<Announced<'a>>, CallError> {
    let Some(settings) = tool.settings().filter(|settings| !settings.invalidates.is_empty()) else { return Ok(None) };
    let templates = settings.invalidates.as_slice();
    let arguments = with_defaults(Some(settings), request.arguments.as_ref());
    let changes = tags_of_write(templates, &router.strict, Some(&arguments));
    let settles_within = settings.settles_within.map_or(Duration::ZERO, |period| period.0);
    let pending_for = ctx.deadline.remaining() + LATE + settles_within;
    match router.cache.tags().begin(&changes.tags, &changes.templates, pending_for).await {
        Ok(pending) => Ok(Some(Announced { router, templates, arguments, settles_within, pending })),
        Err(_unannounced) => {
            Err(CallError::Unannounced { tool: tool.name.shown.clone(), retry_after_ms: RETRY_AFTER_MS })
        }
    }
}

impl Announced<'_> {
    /// The write has ended: what it changed is raised again, before its caller hears of it.
    pub(super) async fn ended(self, outcome: &Result<Reply, CallError>) {
        // Where Redis is gone by now, the raise waits for it: the write itself has happened.
        let (result, settled) = match outcome {
            Ok(Reply::Complete(bytes) | Reply::NotFound(bytes) | Reply::InputRequired(bytes)) => {
                (Some(bytes), Settled::Yes)
            }
            Ok(Reply::Task(bytes)) => (Some(bytes), Settled::Unknown(self.settles_within)),
            Err(CallError::Downstream { error, .. }) if error.sent == Sent::No => {
                self.pending.end(&[], Settled::Yes).await;
                return;
            }
            Err(CallError::OutcomeUnknown { .. }) => (None, Settled::Unknown(self.settles_within)),
            Err(_) => (None, Settled::Yes),
        };
        let tags = tags_of_written(self.templates, &self.router.strict, Some(&self.arguments), result);
        self.pending.end(&tags, settled).await;
    }
}

//! Looking in the downstream whether a write of which no answer came was carried out. What is found is certain; what is not found may only not
//! be seen yet.

use std::time::Duration;

use adapters::{CallContext, Looked, Reply, Request, Sought};
use bytes::Bytes;
use cache::{Known, Owner};
use uuid::Uuid;

use super::{
    Operations,
    kept::{About, End},
};
use crate::{call::Trail, catalog::Tool, error::CallError, masking::Sight, telemetry};

/// How long after each other it is looked: a new thing is not in an index at once.
const WAITS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];

/// The outcome of a write; one that is unknown is looked for, for as long as its caller waits.
pub(crate) async fn after_doubt(
    ctx: &CallContext,
    tool: &Tool,
    arguments: Option<&Bytes>,
    outcome: Result<Reply, CallError>,
    trail: &Trail,
) -> Result<Reply, CallError> {
    if !matches!(outcome, Err(CallError::OutcomeUnknown { .. })) {
        return outcome;
    }
    let sought = Sought { local_name: &tool.name.local, operation_id: ctx.request_id, arguments };
    let (mut came_to, mut found) = (None, None);
    for wait in WAITS {
        if wait >= ctx.deadline.remaining() {
            break;
        }
        tokio::time::sleep(wait).await;
        let look = tool.downstream.adapter.look_for(ctx, sought);
        match tokio::time::timeout_at(ctx.deadline.at(), look).await {
            Ok(Ok(Looked::Found(result))) => (came_to, found) = (Some("found"), Some(result)),
            Ok(Ok(Looked::NotSeen)) => {
                came_to = Some("not_seen");
                continue;
            }
            Ok(Ok(Looked::CannotLook)) => {}
            Ok(Err(_)) | Err(_) => came_to = Some("failed"),
        }
        break;
    }
    if let Some(word) = came_to {
        trail.note(|decisions| decisions.looked_for = Some(word));
        telemetry::write_looked_for(tool.downstream.name.as_str(), word);
    }
    found.map_or(outcome, |result| Ok(Reply::Complete(result)))
}

/// Looks once for a write that was made before, and tells the ledger where it was found.
pub(super) async fn at_once(
    operations: &Operations,
    ctx: &CallContext,
    tool: &Tool,
    request: &Request,
    (owner, rights): (Owner, [u8; 16]),
    before: &Known,
    sight: &Sight,
) -> Option<Result<Reply, CallError>> {
    if About::read(&before.about).rights != rights {
        return None;
    }
    let operation_id = Uuid::from_bytes(before.operation);
    let sought = Sought { local_name: &tool.name.local, operation_id, arguments: request.arguments.as_ref() };
    let look = tool.downstream.adapter.look_for(ctx, sought);
    let Ok(Ok(Looked::Found(result))) = tokio::time::timeout_at(ctx.deadline.at(), look).await else { return None };
    let found = sight.outcome(Ok(Reply::Complete(result))).await;
    operations.resolved(owner, before, &found).await;
    Some(found)
}

impl Operations {
    /// A write whose outcome was unknown was found.
    pub(super) async fn resolved(&self, owner: Owner, before: &Known, found: &Result<Reply, CallError>) {
        if let Ok(Some((_, ticket))) = self.ledger.find(owner, before.operation).await
            && let End::Done(answer) = End::of(found, true, true)
        {
            ticket.done(answer).await;
        }
    }
}

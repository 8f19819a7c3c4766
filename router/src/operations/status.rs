//! `weir__operation_status`: what became of a write, for whoever made it.

use std::sync::Arc;

use adapters::{
    AdapterError, CallContext, ErrorClass, Looked, OfferedTool, Reply, Request, Sought,
    json::{self, Object},
};
use cache::{Known, OperationState};
use jiff::Timestamp;
use serde_json::{Value, json, value::to_raw_value};
use uuid::Uuid;

use super::{
    Operations,
    kept::{About, Outcome},
};
use crate::{
    Downstream,
    call::Trail,
    masking::Masking,
    policy::{Asked, Asker, Grant, Policy},
};

/// Its name below the name of Weir's own tools.
pub(crate) const LOCAL_NAME: &str = "operation_status";
const DESCRIPTION: &str = "Tells what became of a write (a call that changes something). Call it with the operation id that an answer or an error \
    named, above all after an error that says that the outcome is unknown, and before repeating the write.";
/// The same for an id that never was and for somebody else's.
const UNKNOWN: &str = "Nothing is known of this operation: it is not one of yours, or its time is over. Give the operation id exactly as the \
    answer or the error named it.";
const GONE: &str = "What is kept of writes cannot be reached now. Try again in a few seconds.";

/// Tells what became of writes.
#[derive(Debug)]
pub(crate) struct Status {
    operations: Operations,
    policy: Arc<Policy>,
    masking: Arc<Masking>,
    downstreams: Vec<Arc<Downstream>>,
}

impl Status {
    pub(crate) fn new(
        operations: Operations,
        policy: Arc<Policy>,
        masking: Arc<Masking>,
        downstreams: Vec<Arc<Downstream>>,
    ) -> Self {
        Self { operations, policy, masking, downstreams }
    }

    pub(crate) fn offered() -> OfferedTool {
        let definition = json!({
            "name": LOCAL_NAME,
            "title": "What became of a write",
            "description": DESCRIPTION,
            "inputSchema": {
                "type": "object",
                "properties": { "operation_id": { "type": "string", "description": "The operation id that the answer or the error named." } },
                "required": ["operation_id"],
                "additionalProperties": false,
            },
            "annotations": { "readOnlyHint": true, "idempotentHint": true, "openWorldHint": false },
        });
        crate::own::offered(LOCAL_NAME, to_raw_value(&definition).expect("a JSON value has a JSON text"))
    }

    pub(crate) async fn tell(&self, ctx: &CallContext, request: &Request) -> Result<Reply, AdapterError> {
        let arguments = request.arguments.as_deref().map(std::str::from_utf8).and_then(Result::ok);
        let id = arguments.and_then(Object::parse).and_then(|arguments| arguments.get("operation_id"));
        let id = id.and_then(json::unquote).and_then(|id| Uuid::try_parse(&id).ok());
        let owner = self.operations.owner(&ctx.caller);
        let found = match id {
            Some(id) => self.operations.ledger.find(owner, id.into_bytes()).await,
            None => Ok(None),
        };
        let found = found.map_err(|_gone| AdapterError::not_sent(ErrorClass::Unreachable, GONE))?;
        let Some((mut known, _)) = found else { return Ok(Reply::Complete(failure(UNKNOWN))) };
        let about = About::read(&known.about);
        let mut result = None;
        if known.state == OperationState::Unknown
            && let Some(found) = self.look(ctx, &known, &about).await
        {
            let reply = Ok(Reply::Complete(found.clone()));
            self.operations.resolved(owner, &known, &reply).await;
            (known.state, result) = (OperationState::Done, Some(found));
            known.answer = None;
        }
        let is_allowed = self.grant(ctx, &about).is_some();
        let told = told(&known, is_allowed.then_some(about.tool.as_str()), result.is_some());
        Ok(Reply::Complete(answer(told, result.as_deref())))
    }

    fn grant(&self, ctx: &CallContext, about: &About) -> Option<Arc<Grant>> {
        let downstream = self.downstreams.iter().find(|downstream| downstream.name.as_str() == about.downstream);
        let effect = downstream.map(|downstream| downstream.config.effect_of(&about.local_name));
        let place = effect.map(|effect| (about.downstream.as_str(), effect));
        self.policy.grant_now(Asker { caller: &ctx.caller, now: Timestamp::now() }, Asked { name: &about.tool, place })
    }

    /// Whoever may no longer use the tool does not learn more by asking later.
    async fn look(&self, ctx: &CallContext, known: &Known, about: &About) -> Option<bytes::Bytes> {
        let (grant, tool) = (self.grant(ctx, about)?, about.tool.as_str().into());
        let sight = self.masking.sight(&grant, &ctx.caller, &tool, Vec::new(), &Trail::default());
        if about.rights != self.operations.rights(&ctx.caller, sight.print()) {
            return None;
        }
        let downstream = self.downstreams.iter().find(|downstream| downstream.name.as_str() == about.downstream)?;
        // Values that the write named by pseudonyms would have to be those again, and only its repeat tells them.
        if downstream.config.tools.get(&about.local_name).is_some_and(|tool| !tool.accepts.is_empty()) {
            return None;
        }
        let operation_id = Uuid::from_bytes(known.operation);
        let sought = Sought { local_name: &about.local_name, operation_id, arguments: None };
        let look = downstream.adapter.look_for(ctx, sought);
        match tokio::time::timeout_at(ctx.deadline.at(), look).await {
            Ok(Ok(Looked::Found(result))) => match sight.outcome(Ok(Reply::Complete(result))).await {
                Ok(Reply::Complete(result)) => Some(result),
                Ok(Reply::NotFound(_) | Reply::InputRequired(_) | Reply::Task(_)) | Err(_) => None,
            },
            Ok(Ok(Looked::NotSeen | Looked::CannotLook) | Err(_)) | Err(_) => None,
        }
    }
}

/// What is known, as a program reads it.
fn told(known: &Known, tool: Option<&str>, found: bool) -> Value {
    let (state, text) = match known.state {
        OperationState::Waiting => {
            ("waiting", "It waits for its turn; nothing was sent so far. Ask again in a few seconds.")
        }
        OperationState::Sent => ("sent", "It was sent, and its answer is awaited. Ask again in a few seconds."),
        OperationState::NotMade => ("not_made", "It was not made: nothing was changed by it. It may be called again."),
        OperationState::Unknown => (
            "unknown",
            "It was sent, and no answer came: it may or may not have been carried out. Do not simply repeat it: look with a tool that reads \
             whether it took effect.",
        ),
        OperationState::Done if found => ("done", "It was carried out: it was found in the system. Do not repeat it."),
        OperationState::Done => ("done", "It has ended with an answer. Do not repeat it."),
    };
    let outcome = known.answer.as_ref().and_then(Outcome::read).map(|(outcome, _)| outcome.as_str());
    let moment = |at_ms: u64| Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok().map(|at| at.to_string());
    let mut told = json!({ "operation_id": Uuid::from_bytes(known.operation), "state": state, "text": text });
    for (name, value) in [
        ("tool", tool.map(str::to_owned)),
        ("outcome", outcome.map(str::to_owned)),
        ("started_at", moment(known.started_ms)),
        ("ended_at", known.ended_ms.and_then(moment)),
    ] {
        if let Some(value) = value {
            told[name] = value.into();
        }
    }
    told
}

fn answer(mut told: Value, result: Option<&[u8]>) -> bytes::Bytes {
    if let Some(found) = result.and_then(|result| serde_json::from_slice::<Value>(result).ok()) {
        told["result"] = found;
    }
    json!({ "content": [{ "type": "text", "text": told.to_string() }], "structuredContent": told }).to_string().into()
}

fn failure(text: &str) -> bytes::Bytes {
    json!({ "content": [{ "type": "text", "text": text }], "isError": true }).to_string().into()
}

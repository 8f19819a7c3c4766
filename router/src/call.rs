//! The spine: every decision about one `tools/call`, in order.

mod announced;
mod answered;
mod cached;
mod explain;
mod outcome;
mod outlive;
mod patience;
mod plan;
mod shared;
mod trail;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use adapters::{
    AdapterError, CallContext, Caller, Deadline, ErrorClass, Method, Notice, Reply, Request, SendGate, Sent,
    TraceContext,
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Router,
    audit::{Ending, Origin, Record},
    catalog::Tool,
    error::CallError,
    guard,
    mcp::Registration,
    pages,
};

pub use answered::{Answer, Answered, Note};
pub(crate) use explain::explain_cache;
pub(crate) use outcome::Outcome;
pub use outlive::RunningCall;
pub use patience::Patience;
pub(crate) use shared::SharedAnswer;
pub(crate) use trail::{Decisions, Trail};

/// The answer to a caller that gives an idempotency key. To take the key and keep nothing would let a repeat be a second call.
pub(crate) const KEYS_NOT_KEPT: &str = "Idempotency keys are not kept by this version of Weir, so a repeat would be a second call. \
    Nothing was sent. Call without a key, and look whether a write took effect before repeating it.";

/// One call as it comes from any surface: who, what, and until when.
#[derive(Debug)]
pub struct ToolCall {
    /// Names the call in logs, audit and error answers.
    pub request_id: Uuid,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// The tool's shown name, as the caller sent it.
    pub name: String,
    /// The caller's whole `params` object.
    pub params: Bytes,
    /// The `arguments` object in it.
    pub arguments: Option<Bytes>,
    /// How long the caller waits, where it says so: its word goes before the tool's deadline.
    pub patience: Option<Patience>,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// Where its progress and log messages go.
    pub notices: Option<mpsc::Sender<Notice>>,
    /// How it can be withdrawn.
    pub control: Control,
    /// Lets its session find it while it runs.
    pub(crate) registration: Option<Registration>,
    /// How it came in.
    pub origin: Origin,
}

/// The caller's way to withdraw a call.
#[derive(Debug, Clone, Default)]
pub struct Control {
    cancel: CancellationToken,
    gate: Arc<SendGate>,
}

impl Control {
    /// Withdraws the call. A write that may have left goes on: only its answer is no longer wanted.
    pub fn withdraw(&self) {
        if self.gate.withdraw() {
            self.cancel.cancel();
        }
    }

    /// Whether both belong to the same call.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.gate, &other.gate)
    }
}

/// Makes the call and leaves exactly one audit record, also when the returned future is dropped or a bug panics.
pub async fn call_tool(router: Arc<Router>, mut call: ToolCall) -> Answer {
    let _found_by_its_session = call.registration.take();
    let audit = router.audit.clone();
    let trace = call.trace.to_string();
    let mut record = Record::open(audit, call.request_id, trace, call.caller.clone(), call.origin.clone(), &call.name);
    let gate = call.control.gate.clone();
    let outcome = AssertUnwindSafe(run(&router, call, &mut record)).catch_unwind().await;
    let answer = outcome.unwrap_or_else(|_panic| Err(after_panic(&record, &gate)));
    record.finish(ending(&answer));
    answer
}

/// A bug of our own is no reason to let a write that has left look like one that may be repeated.
fn after_panic(record: &Record, gate: &SendGate) -> CallError {
    match record.tool() {
        Some(tool) if gate.passed() => CallError::OutcomeUnknown {
            tool: tool.name.shown.clone(),
            operation_id: record.request_id().to_string(),
            error: Box::new(AdapterError::maybe_sent(ErrorClass::Protocol, "the router failed while it waited")),
        },
        _ => CallError::Internal,
    }
}

async fn run(router: &Arc<Router>, call: ToolCall, record: &mut Record) -> Answer {
    let view = router.catalog.view_for(&call.name).await;
    let unknown = || CallError::UnknownTool { name: call.name.clone() };
    let (index, tool) = view.resolve(&call.name).ok_or_else(unknown)?;
    record.resolved(tool.clone());

    // Denied and unknown look the same from outside, so the arguments are not judged before this.
    let Some(rule) = view.rights(&router.policy, &call.caller).rule(index).cloned() else {
        record.denied();
        return Err(unknown());
    };
    record.allowed(rule);

    let invalid = |mistakes| CallError::InvalidArguments { tool: tool.name.shown.clone(), mistakes };
    tool.validate(call.arguments.as_ref()).map_err(invalid)?;

    // Caller side, before the cache: a cached answer is charged too.
    let _slot = router.calls.take().ok_or_else(|| overloaded("Weir".to_owned()))?;

    let waits_its_time = call.patience.is_none();
    let period = call.patience.map_or(tool.deadline, |patience| patience.within(router.config.deadlines.max.0));
    let ctx = CallContext {
        request_id: call.request_id,
        caller: call.caller,
        deadline: Deadline::after(period),
        cancel: call.control.cancel,
        trace: call.trace,
        notices: call.notices,
        gate: call.control.gate,
    };
    let request = Request {
        method: Method::CallTool,
        local_name: tool.name.local.clone(),
        params: call.params,
        arguments: call.arguments,
        effect: tool.effect,
    };
    let answered = match plan::cache_plan(router, &ctx.caller, tool, &request.params, request.arguments.as_ref()) {
        Ok(plan) => {
            // Whoever waits as long as a fetch may take hears from the fetch that it failed.
            let wait_by = ctx.deadline.at() + if waits_its_time { guard::LATE } else { Duration::ZERO };
            let trail = record.trail().clone();
            let (answer, outcome) = cached::answer(router, &ctx, tool, plan, request, wait_by, trail).await;
            record.cache(outcome);
            answer
        }
        Err(bypass) => {
            record.cache(Some(Outcome::Bypass(bypass)));
            if tool.effect.writes() {
                write(router, &ctx, tool, request, record.trail()).await.map(Answered::from)
            } else {
                fetch(router, &ctx, tool, request, record.trail()).await.map(Answered::from)
            }
        }
    }?;
    // Last of all, so that the cache holds answers whole.
    Ok(Answered { reply: pages::fit(router, &ctx.caller, tool, answered.reply).await, ..answered })
}

/// The one way to the downstream: its limits, then the attempt, then what the caller may see of the answer.
async fn fetch(
    router: &Router,
    ctx: &CallContext,
    tool: &Tool,
    request: Request,
    trail: &Trail,
) -> Result<Reply, CallError> {
    let _place = guard::enter(router, ctx, tool, trail).await?;
    attempt(ctx, tool, request, trail).await
}

/// The same for a write: the cache hears of it before it is sent, and again before its caller does.
async fn write(
    router: &Router,
    ctx: &CallContext,
    tool: &Tool,
    request: Request,
    trail: &Trail,
) -> Result<Reply, CallError> {
    let _place = guard::enter(router, ctx, tool, trail).await?;
    let announced = announced::announce(router, ctx, tool, &request).await?;
    let outcome = attempt(ctx, tool, request, trail).await;
    if let Some(announced) = announced {
        announced.ended(&outcome).await;
    }
    outcome
}

async fn attempt(ctx: &CallContext, tool: &Tool, request: Request, trail: &Trail) -> Result<Reply, CallError> {
    let reply = guard::call_downstream(ctx, tool, request, trail).await.map_err(|error| failure(ctx, tool, error))?;
    // What Weir's own tools say, Weir says.
    Ok(if tool.downstream.is_own() { reply } else { crate::mcp::provenance::without_our_names(reply) })
}

pub(crate) fn overloaded(limit: String) -> CallError {
    const RETRY_AFTER: Duration = Duration::from_secs(1);
    CallError::Overloaded { limit, retry_after_ms: RETRY_AFTER.as_millis() as u64 }
}

/// A write whose request may have left and that got no answer is never just a failure: its outcome is unknown.
fn failure(ctx: &CallContext, tool: &Tool, error: AdapterError) -> CallError {
    let shown = tool.name.shown.clone();
    tracing::debug!(
        request_id = %ctx.request_id, tool = %shown, class = error.class.as_str(), sent = ?error.sent, %error,
        cause = std::error::Error::source(&error).map(tracing::field::display), "no result from the downstream"
    );
    if tool.effect.writes() && error.sent == Sent::Unknown {
        let operation_id = ctx.request_id.to_string();
        return CallError::OutcomeUnknown { tool: shown, operation_id, error: Box::new(error) };
    }
    match error.class {
        ErrorClass::Cancelled => CallError::Cancelled,
        ErrorClass::Unreachable
        | ErrorClass::ConnectionLost
        | ErrorClass::Timeout
        | ErrorClass::Busy
        | ErrorClass::Rejected
        | ErrorClass::InvalidArguments
        | ErrorClass::Protocol
        | ErrorClass::TooLarge
        | ErrorClass::Unauthorized => {
            CallError::Downstream { tool: shown, downstream: tool.name.downstream.to_string(), error: Box::new(error) }
        }
    }
}

fn ending(answer: &Answer) -> Ending {
    let (outcome, bytes) = match answer.as_ref().map(|answered| &answered.reply) {
        Ok(Reply::Complete(bytes)) if crate::mcp::answer::is_tool_error(bytes) => ("tool_error", bytes),
        Ok(Reply::Complete(bytes)) => ("ok", bytes),
        Ok(Reply::NotFound(bytes)) => ("not_found", bytes),
        Ok(Reply::InputRequired(bytes)) => ("input_required", bytes),
        Ok(Reply::Task(bytes)) => ("task", bytes),
        Err(error) => return Ending { outcome: error.outcome(), result_bytes: None },
    };
    Ending { outcome, result_bytes: Some(bytes.len()) }
}

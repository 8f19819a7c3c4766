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
    TraceContext, WriteCall,
};
use bytes::Bytes;
use cache::limits::Standing;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Router,
    audit::{Ending, Origin, Record, Unaudited},
    catalog::Tool,
    error::{CallError, millis},
    guard::{self, NoReply},
    line::Place,
    masking::Sight,
    mcp::Registration,
    operations::{self, Begun, IdempotencyKey, Operation},
    pages,
    policy::{Asker, Grant, Judged, NamedView},
};

pub use answered::{Answer, Answered, Note};
pub(crate) use explain::explain_cache;
pub(crate) use outcome::Outcome;
pub use outlive::RunningCall;
pub use patience::Patience;
pub(crate) use plan::with_defaults;
pub(crate) use shared::SharedAnswer;
pub(crate) use trail::{Attempt, Decisions, Trail};

/// One call as it comes from any surface: who, what, and until when.
#[derive(Debug)]
pub struct ToolCall {
    /// Names the call in logs, audit and error answers.
    pub request_id: Uuid,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// The view that it came through, if any.
    pub view: Option<Arc<NamedView>>,
    /// The tool's shown name, as the caller sent it.
    pub name: String,
    /// The caller's whole `params` object.
    pub params: Bytes,
    /// The `arguments` object in it.
    pub arguments: Option<Bytes>,
    /// How long the caller waits, where it says so: its word goes before the tool's deadline.
    pub patience: Option<Patience>,
    /// What makes its repeats one, where it writes.
    pub key: Option<IdempotencyKey>,
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

/// A call that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What it came to.
    pub answer: Answer,
    /// What is left of the limits on its caller's side, where it was charged some.
    pub(crate) standings: Vec<Standing>,
}

/// Makes the call and leaves exactly one audit record, also when the returned future is dropped or a bug panics.
pub async fn call_tool(router: Arc<Router>, mut call: ToolCall) -> Ended {
    let _found_by_its_session = call.registration.take();
    let mut record = Record::open(router.audit.clone(), router.audit_mask.clone(), &call);
    let (gate, caller) = (call.control.gate.clone(), call.caller.clone());
    let mut standings = Vec::new();
    let outcome = AssertUnwindSafe(run(&router, call, &mut record, &mut standings)).catch_unwind().await;
    let answer = outcome.unwrap_or_else(|_panic| Err(after_panic(&record, &gate)));
    if let Err(CallError::UnknownTool { .. } | CallError::InvalidArguments { .. } | CallError::NotAllowed { .. }) =
        &answer
    {
        router.limits.was_refused(&caller);
    }
    record.finish(&ending(&answer));
    Ended { answer, standings }
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

async fn run(router: &Arc<Router>, mut call: ToolCall, record: &mut Record, standings: &mut Vec<Standing>) -> Answer {
    // First of all: whoever is refused for want of room costs next to nothing.
    let _slot = router.calls.take().map_err(|_| overloaded("Weir".to_owned()))?;
    // Nothing is done of which no record could be kept.
    router.audit.admit().map_err(unaudited)?;

    record.trail().came_through(call.view.as_deref());
    let view = router.catalog.view_for(&call.name).await;
    let unknown = || CallError::UnknownTool { name: call.name.clone() };
    let resolved = view.resolve(&call.name);
    if let Some((_, tool)) = resolved {
        record.resolved(tool.clone());
    }
    // Who was refused too often hears nothing more of any name, be there such a tool or not.
    router.limits.refuse_guessing(&call.caller, record.trail())?;
    let (index, tool) = resolved.ok_or_else(unknown)?;

    // Denied and unknown look the same from outside, so the arguments are not judged before this.
    let asker = Asker { caller: &call.caller, now: Timestamp::now() };
    let judged = view.judge(index, &router.policy, asker, call.view.as_deref());
    record.trail().judged(judged.verdicts);
    let Some(grant) = judged.grant else {
        record.denied();
        record.trail().denied(router.policy.why_denied(asker.caller, &tool.name.shown, call.view.as_deref()));
        // Only where the config lets callers know of a tool that other scopes would open.
        let allows = |caller: &Caller| {
            view.judge(index, &router.policy, Asker { caller, ..asker }, call.view.as_deref()).grant.is_some()
        };
        let needed = router.authenticator.step_up(&call.caller, allows);
        let told = |needed| CallError::InsufficientScope { tool: tool.name.shown.clone(), needed };
        return Err(needed.map_or_else(unknown, told));
    };
    record.allowed(grant.rule.clone());

    // What the caller may see of the answer is known by what allows the call, and by what it names in it.
    let masking = &router.masking;
    let restored = masking.restore(&call.caller, tool, call.params, call.arguments, record.trail()).await?;
    (call.params, call.arguments) = (restored.params, restored.arguments);
    let (names, trail) = (restored.names, record.trail().clone());
    let sight = |grant| masking.sight(grant, &call.caller, &tool.name.shown, names.clone(), &trail);

    let invalid = |mistakes| CallError::InvalidArguments { tool: tool.name.shown.clone(), mistakes };
    tool.validate(call.arguments.as_ref()).map_err(|mistakes| sight(&grant).error(invalid(mistakes)))?;

    // What is judged is what is sent, with all that Weir itself adds.
    let judged = arguments_judged(router, &grant, asker, tool, call.arguments.as_ref());
    record.trail().judged(judged.verdicts);
    let Some(grant) = judged.grant else {
        record.denied();
        record.trail().denied("arguments");
        return Err(CallError::NotAllowed { tool: tool.name.shown.clone() });
    };
    record.allowed(grant.rule.clone());
    let sight = sight(&grant);

    let waits_its_time = call.patience.is_none();
    let period = call.patience.map_or(tool.deadline, |patience| patience.within(router.config.deadlines.max.0));
    let mut ctx = CallContext {
        request_id: call.request_id,
        caller: call.caller,
        deadline: Deadline::after(period),
        cancel: call.control.cancel,
        trace: call.trace,
        notices: call.notices.map(|sender| sight.notices(sender)),
        gate: call.control.gate,
        write: None,
    };
    let request = Request {
        method: Method::CallTool,
        local_name: tool.name.local.clone(),
        params: call.params,
        arguments: call.arguments,
        effect: tool.effect,
    };

    // Before its limits: a repeat of a write that was made is no further one.
    let operation = if tool.effect.writes() {
        let (operations, key) = (&router.operations, call.key.as_ref());
        match operations.begin(&ctx, tool, &request, key, &sight, record.trail()).await? {
            Begun::First(operation) => {
                operation.is_recorded_by(record.intent());
                Some(operation)
            }
            Begun::Before(outcome, operation) => {
                let reply = pages::fit(router, &ctx.caller, tool, sight.print(), outcome?).await;
                let provenance = tool.provenance.clone();
                return Ok(Answered { operation: Some(operation), provenance, ..reply.into() });
            }
        }
    } else {
        None
    };
    ctx.write = operation.clone().map(|operation| operation as Arc<dyn WriteCall>);

    // Caller side, before the cache: a cached answer is charged too.
    *standings = router.limits.admit_caller(&ctx.caller, tool, record.trail()).await?;

    let (params, arguments) = (&request.params, request.arguments.as_ref());
    let answered = match plan::cache_plan(router, &ctx.caller, tool, params, arguments, sight.mask()) {
        Ok(plan) => {
            // Whoever waits as long as a fetch may take hears from the fetch that it failed.
            let wait_by = ctx.deadline.at() + if waits_its_time { guard::LATE } else { Duration::ZERO };
            let wanted = cached::Wanted { request, sight: &sight, trail: record.trail().clone() };
            let (answer, outcome) = cached::answer(router, &ctx, tool, plan, wanted, wait_by).await;
            record.cache(outcome);
            answer
        }
        Err(bypass) => {
            record.cache(Some(Outcome::Bypass(bypass)));
            match operation {
                Some(operation) => {
                    let outcome = write(router, &ctx, tool, request, &operation, &sight, record.trail()).await;
                    let operation = Some(ctx.request_id);
                    outcome.map(|reply| Answered { operation, ..reply.into() })
                }
                None => {
                    let outcome = fetch(router, &ctx, tool, request, record.trail()).await;
                    sight.outcome(outcome).await.map(Answered::from)
                }
            }
        }
    }?;
    // Last of all, so that the cache holds answers whole.
    let reply = pages::fit(router, &ctx.caller, tool, sight.print(), answered.reply).await;
    Ok(Answered { reply, provenance: tool.provenance.clone(), ..answered })
}

/// What the conditions on arguments make of a grant.
fn arguments_judged(
    router: &Router,
    grant: &Arc<Grant>,
    asker: Asker<'_>,
    tool: &Tool,
    arguments: Option<&Bytes>,
) -> Judged {
    if !grant.needs_arguments() {
        return Judged { grant: Some(grant.clone()), verdicts: Vec::new() };
    }
    let arguments = with_defaults(tool.settings(), arguments);
    // Bytes that are no text have no arguments that a condition could hold for.
    let arguments = std::str::from_utf8(&arguments).unwrap_or_default();
    router.policy.judge(grant, asker, tool.asked(), Some(arguments))
}

/// The one way to the downstream: its limits, then the attempt. What comes back is not masked yet.
async fn fetch(
    router: &Router,
    ctx: &CallContext,
    tool: &Tool,
    request: Request,
    trail: &Trail,
) -> Result<Reply, CallError> {
    let place = guard::enter(router, ctx, tool, trail).await?;
    attempt(ctx, tool, &place, request, trail).await
}

/// The same for a write: the cache hears of it before it is sent, and again before its caller does; so does who may ask for it later.
async fn write(
    router: &Router,
    ctx: &CallContext,
    tool: &Tool,
    request: Request,
    operation: &Operation,
    sight: &Sight,
    trail: &Trail,
) -> Result<Reply, CallError> {
    let made = async {
        let place = guard::enter(router, ctx, tool, trail).await?;
        let announced = announced::announce(router, ctx, tool, &request).await?;
        let arguments = request.arguments.clone();
        let outcome = attempt(ctx, tool, &place, request, trail).await;
        // Whoever waits in line need not wait for this.
        drop(place);
        let outcome = operations::after_doubt(ctx, tool, arguments.as_ref(), outcome, trail).await;
        if let Some(announced) = announced {
            announced.ended(&outcome).await;
        }
        // The cache hears of what changed as the downstream says it, and nobody else does.
        sight.outcome(outcome).await
    };
    operation.ended(made.await).await
}

async fn attempt(
    ctx: &CallContext,
    tool: &Tool,
    place: &Place,
    request: Request,
    trail: &Trail,
) -> Result<Reply, CallError> {
    let no_reply = |no_reply| match no_reply {
        NoReply::LeftAlone(refused) => refused,
        NoReply::Failed(error) => failure(ctx, tool, error),
    };
    let reply = guard::call_downstream(ctx, tool, place, request, trail).await.map_err(no_reply)?;
    // What Weir's own tools say, Weir says.
    Ok(if tool.downstream.is_own() { reply } else { crate::mcp::provenance::without_our_names(reply) })
}

pub(crate) fn unaudited(unaudited: Unaudited) -> CallError {
    CallError::Unaudited { retry_after_ms: millis(unaudited.retry_after) }
}

pub(crate) fn overloaded(limit: String) -> CallError {
    const RETRY_AFTER: Duration = Duration::from_secs(1);
    CallError::Overloaded { limit, retry_after_ms: RETRY_AFTER.as_millis() as u64 }
}

/// A write whose request may have left and that got no answer is never just a failure: its outcome is unknown.
fn failure(ctx: &CallContext, tool: &Tool, error: AdapterError) -> CallError {
    let shown = tool.name.shown.clone();
    // Whoever refuses a call may repeat its arguments, which are the caller's alone.
    let repeats =
        error.rejection.is_some() || matches!(error.class, ErrorClass::Rejected | ErrorClass::InvalidArguments);
    let told = (!repeats).then_some(&error);
    tracing::debug!(
        request_id = %ctx.request_id, tool = %shown, class = error.class.as_str(), sent = ?error.sent,
        error = told.map(tracing::field::display),
        cause = told.and_then(std::error::Error::source).map(tracing::field::display), "no result from the downstream"
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
        Err(error) => return Ending { outcome: error.outcome(), result: None },
    };
    Ending { outcome, result: Some(bytes.clone()) }
}

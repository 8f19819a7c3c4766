//! The trait that every kind of downstream implements.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use config::Effect;
use futures_util::{future::BoxFuture, stream::BoxStream};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{AdapterError, CallContext, State};

/// One system the router can call. Above this trait everything is the same for every downstream; below it, nothing is shared.
pub trait Adapter: Send + Sync + 'static {
    /// What this downstream offers now, under its local names.
    fn list<'a>(&'a self, ctx: &'a CallContext) -> BoxFuture<'a, Result<Offer, AdapterError>>;

    /// Answers before `ctx.deadline`. A dropped future leaves no work running in the downstream. A request whose effect
    /// [writes](Effect::writes) awaits [`CallContext::about_to_send`] before its first byte leaves.
    fn call<'a>(&'a self, ctx: &'a CallContext, request: Request) -> BoxFuture<'a, Result<Reply, AdapterError>>;

    /// What the downstream tells unasked. Every stream starts with the present [`AdapterEvent::State`].
    fn events(&self) -> BoxStream<'static, AdapterEvent>;

    /// Looks whether a write of which no answer came was carried out, where this downstream can tell. Only what is found is certain.
    fn look_for<'a>(&'a self, ctx: &'a CallContext, sought: Sought<'a>) -> BoxFuture<'a, Result<Looked, AdapterError>> {
        let _ = (ctx, sought);
        Box::pin(std::future::ready(Ok(Looked::CannotLook)))
    }

    /// Ends what it keeps running besides its calls, such as child processes, and waits until nothing of it is left. To be called when no
    /// call runs any more, and none comes; one that comes all the same fails.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What the caller asks of a downstream. Further methods come with resources and prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `tools/call`.
    CallTool,
}

/// One request to a downstream. Bytes pass unparsed: only an adapter that must look inside does.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The tool's name as the downstream knows it.
    pub local_name: Arc<str>,
    /// The caller's `params` object as it came, its `name` still the namespaced one. Valid JSON, no member twice.
    pub params: Bytes,
    /// The `arguments` object inside `params`; absent when the caller gave none.
    pub arguments: Option<Bytes>,
    /// What the call does, by the config.
    pub effect: Effect,
}

/// A write that is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// The tool's name as the downstream knows it.
    pub local_name: &'a str,
    /// The id of the request that made it.
    pub operation_id: Uuid,
    /// Its arguments, where they are still known.
    pub arguments: Option<&'a Bytes>,
}

/// What came of looking for a write.
#[derive(Debug, Clone)]
pub enum Looked {
    /// It was carried out: the bytes of a `result` object as the write itself would have given.
    Found(Bytes),
    /// It is not to be seen, or not yet.
    NotSeen,
    /// This downstream cannot tell such a write from others.
    CannotLook,
}

/// The answer of a downstream, as the bytes of a `result` object.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The whole answer; also one in which the tool itself says `isError`.
    Complete(Bytes),
    /// There is no such thing: the only failure that a cache may keep. The bytes are the answer that says so.
    NotFound(Bytes),
    /// The downstream needs something from the caller first (MCP 2026-07-28, multi round-trip requests).
    InputRequired(Bytes),
    /// The downstream goes on in the background (MCP Tasks).
    Task(Bytes),
}

/// What a downstream offers at one time.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// Its tools.
    pub tools: Vec<OfferedTool>,
    /// Tools that cannot be offered, and why; each is left out alone.
    pub left_out: Vec<LeftOut>,
    /// How long the downstream says the list holds.
    pub fresh_for: Option<Duration>,
}

/// One tool, as the downstream defines it.
#[derive(Debug, Clone)]
pub struct OfferedTool {
    /// The downstream's own name for it.
    pub local_name: Arc<str>,
    /// The whole definition, a JSON object whose `name` is the local one; unknown members and key order kept.
    pub definition: Box<RawValue>,
    /// What of the caller changes its results.
    pub caller_inputs: CallerInputs,
}

/// A tool that is not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The downstream's name for it, as far as it has one.
    pub local_name: String,
    /// Why it is not offered, in a sentence for the operator.
    pub reason: String,
}

/// Every attribute of the caller that reaches the downstream or changes a tool's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerInputs {
    /// Not known, so results belong to one call alone.
    Unknown,
    /// Exactly these; none means that every caller gets the same.
    Known(Vec<CallerInput>),
}

impl CallerInputs {
    /// Those of a downstream that is told who calls, or of one that is not.
    pub(crate) fn of(is_told: bool) -> Self {
        Self::Known(if is_told { vec![CallerInput::Principal] } else { Vec::new() })
    }
}

/// One attribute of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerInput {
    /// Who the caller is: the downstream keeps state per caller.
    Principal,
}

/// What a downstream tells unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterEvent {
    /// Its list of tools is another one now.
    ListChanged,
    /// It could not be heard for a while: its list may be another one.
    ListUnknown,
    /// Whether it can be reached, and why not.
    State(State),
    /// What these tags are about is another one now. Each is one that [`config::tag::check`] lets pass.
    Changed(Vec<String>),
    /// Anything may have changed: for a time nobody heard what the downstream says.
    ChangedUnknown,
}

//! Another MCP server over streamable HTTP, of either era.
//!
//! [`wire`] sends requests, [`conversation`] reads what comes in answer to one, [`session`] is what was agreed on with the server,
//! [`keeper`] holds the agreement that is shared, [`callers`] those of single callers, [`listener`] hears of changed lists.

mod callers;
mod conversation;
mod keeper;
mod listener;
mod session;
mod trouble;
mod wire;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use config::{
    DownstreamName, Sources,
    downstream::{Mcp, McpHttp, Sharing},
};
use futures_util::{FutureExt as _, future::BoxFuture, stream::BoxStream};
use http::{HeaderMap, HeaderName};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    caller_inputs, cancelled,
    era::Server,
    events,
    list::{self, Asked, Terms},
    peer::Answer,
    request::{self, Hop},
    settle,
};
use crate::{
    Adapter, AdapterError, AdapterEvent, BuildError, CallContext, Deadline, ErrorClass, LeftOut, Offer, OfferedTool,
    Reply, Request, Sent,
    json::Object,
    mirror::{self, Param},
    registry::Shown,
};
use callers::Callers;
use keeper::Keeper;
use session::{Connector, End, Session};
use trouble::Trouble;
use wire::{Ask, Spoken, Wire};

const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// "Header mismatch" (MCP 2026-07-28, "Server Validation"): nothing was done.
const HEADER_MISMATCH: &str = "-32020";

/// Another MCP server over streamable HTTP. Dropping it ends its sessions and its tasks; [`close`](Adapter::close) waits for that too.
pub(crate) struct McpHttpServer {
    shared: Arc<Shared>,
    stop: CancellationToken,
    _stops: DropGuard,
    /// What runs in the background.
    tasks: TaskTracker,
}

struct Shared {
    downstream: Arc<str>,
    sharing: Sharing,
    attempt_timeout: Duration,
    list_refresh: Duration,
    heeds_keys: bool,
    wire: Arc<Wire>,
    connector: Connector,
    keeper: Keeper,
    callers: Callers,
    /// Which arguments of which tools are repeated as headers, by the last list. The mutex is never held across an await.
    mirrored: Mutex<HashMap<Arc<str>, Arc<[Param]>>>,
}

impl McpHttpServer {
    /// Reads the settings and starts to come to an agreement in the background. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When a setting or a secret is not usable.
    pub(crate) fn new(
        name: &DownstreamName,
        settings: &Mcp,
        http: &McpHttp,
        shown: Shown<'_>,
        sources: &Sources,
    ) -> Result<Self, BuildError> {
        let downstream: Arc<str> = name.as_str().into();
        let wire = Arc::new(Wire::new(Arc::clone(&downstream), http, shown, sources)?);
        let shared = Arc::new(Shared {
            sharing: settings.sharing.told(wire.is_per_caller()),
            heeds_keys: settings.idempotency_keys,
            attempt_timeout: settings.attempt_timeout.0,
            list_refresh: settings.list_refresh.0,
            connector: Connector::new(Arc::clone(&wire), settings.era),
            keeper: Keeper::new(Arc::clone(&downstream)),
            callers: Callers::new(Arc::clone(&downstream)),
            mirrored: Mutex::default(),
            wire,
            downstream,
        });
        let stop = CancellationToken::new();
        let (kept, stopped, tasks) = (Arc::clone(&shared), stop.clone(), TaskTracker::new());
        tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = kept.keeper.keep(&kept.connector) => {}
                () = kept.callers.sweep() => {}
            }
            // With this every session ends that no call is under way in.
            kept.keeper.link.close();
            kept.callers.close();
        });
        Ok(Self { shared, stop: stop.clone(), _stops: stop.drop_guard(), tasks })
    }
}

impl fmt::Debug for McpHttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpHttpServer").field("downstream", &self.shared.downstream).finish_non_exhaustive()
    }
}

impl Adapter for McpHttpServer {
    fn list<'a>(&'a self, ctx: &'a CallContext) -> BoxFuture<'a, Result<Offer, AdapterError>> {
        self.shared.list(ctx).boxed()
    }

    fn call<'a>(&'a self, ctx: &'a CallContext, request: Request) -> BoxFuture<'a, Result<Reply, AdapterError>> {
        async move { self.shared.call(ctx, &request).await }.boxed()
    }

    fn events(&self) -> BoxStream<'static, AdapterEvent> {
        let mut state = self.shared.keeper.link.state();
        state.mark_changed();
        events(state, self.shared.wire.list_changes.subscribe(), self.shared.wire.list_gaps.subscribe())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.stop.cancel();
        self.tasks.close();
        async {
            self.tasks.wait().await;
            self.shared.wire.said().await;
        }
        .boxed()
    }
}

impl Shared {
    async fn list(&self, ctx: &CallContext) -> Result<Offer, AdapterError> {
        list::in_time(&self.downstream, ctx, self.list_at_leisure(ctx).boxed()).await
    }

    async fn list_at_leisure(&self, ctx: &CallContext) -> Result<Offer, AdapterError> {
        let session = self.keeper.link.usable().await?;
        let terms = Terms {
            downstream: &self.downstream,
            attempt_timeout: self.attempt_timeout,
            fresh_for: self.list_refresh,
            caller_inputs: caller_inputs(self.sharing),
        };
        let modern = session.server.modern;
        let mut offer = list::list(&Listing { shared: self, server: session.server }, ctx, terms).await?;
        if modern {
            self.learn(&mut offer);
        }
        Ok(offer)
    }

    /// Takes note of the arguments that are repeated as headers, and leaves out the tools whose annotations break the rules
    /// (MCP 2026-07-28, "Schema Extension").
    fn learn(&self, offer: &mut Offer) {
        let mut learned = HashMap::new();
        let left_out = &mut offer.left_out;
        offer.tools.retain(|tool| match params_of(tool) {
            Ok(params) if params.is_empty() => true,
            Ok(params) => {
                learned.insert(Arc::clone(&tool.local_name), params.into());
                true
            }
            Err(reason) => {
                let reason = format!("its `{}` breaks the rules of MCP: {reason}", mirror::ANNOTATION);
                left_out.push(LeftOut { local_name: tool.local_name.to_string(), reason });
                false
            }
        });
        *self.mirrored() = learned;
    }

    fn mirrored(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<[Param]>>> {
        self.mirrored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, ctx: &CallContext, request: &Request) -> Result<Reply, AdapterError> {
        let limit = ctx.deadline.within(self.attempt_timeout);
        tokio::select! {
            biased;
            reply = self.call_until(ctx, request, limit).boxed() => reply,
            // A write is cancelled only before its first byte.
            () = ctx.cancel.cancelled() => {
                Err(cancelled(if request.effect.writes() { Sent::No } else { Sent::Unknown }))
            }
        }
    }

    async fn call_until(&self, ctx: &CallContext, request: &Request, limit: Deadline) -> Result<Reply, AdapterError> {
        let (mut forgotten, mut mismatched) = (false, false);
        loop {
            let way = tokio::time::timeout_at(limit.at(), self.session(ctx)).await.unwrap_or_else(|_| {
                let (tool, downstream) = (&request.local_name, &self.downstream);
                let message = format!("`{tool}` of {downstream} could not be asked in time; try again later.");
                Err(AdapterError::not_sent(ErrorClass::Timeout, message))
            })?;
            let session = &way.session;
            match self.ask(session, ctx, request, limit).await {
                Err(Trouble::SessionLost) => {
                    session.end(End::Forgotten);
                    if std::mem::replace(&mut forgotten, true) {
                        return Err(Trouble::SessionLost.for_call(&self.downstream, &request.local_name));
                    }
                }
                Err(trouble) => {
                    session.heed(&trouble);
                    // What one caller may not says nothing of the others.
                    if !(self.wire.is_per_caller() && trouble.is_about_caller()) {
                        way.kept.heed(&trouble);
                    }
                    return Err(trouble.for_call(&self.downstream, &request.local_name));
                }
                Ok(Answer::Error(error)) if !mismatched && session.server.modern && is_mismatch(&error) => {
                    // The tools changed since the last list ("Client Behavior").
                    mismatched = true;
                    if self.list(ctx).await.is_err() {
                        // Nothing was done, whatever became of the list.
                        return settle(&self.downstream, request, Answer::Error(error), true);
                    }
                }
                Ok(answer) => return settle(&self.downstream, request, answer, session.server.modern),
            }
        }
    }

    async fn session(&self, ctx: &CallContext) -> Result<Way, AdapterError> {
        // Also where calls have sessions of their own: when the server is known to be down they fail at once.
        let kept = self.keeper.link.usable().await?;
        let session = match self.sharing {
            // Where there are no sessions there is nothing of anybody's own.
            _ if kept.spoken.session.is_none() => Arc::clone(&kept),
            Sharing::Shared => Arc::clone(&kept),
            Sharing::PerCaller => self.callers.session(&self.connector, &kept, &ctx.caller).await?,
            Sharing::PerCall => self.callers.connect(&self.connector, &kept, &ctx.caller).await?,
        };
        Ok(Way { session, kept })
    }

    async fn ask(
        &self,
        session: &Arc<Session>,
        ctx: &CallContext,
        request: &Request,
        limit: Deadline,
    ) -> Result<Answer, Trouble> {
        let (modern, id) = (session.server.modern, self.wire.next_id());
        let deadline_ms = u64::try_from(limit.remaining().as_millis()).unwrap_or(u64::MAX);
        // The stream of the answer is this call's alone.
        let hop = Hop { id, modern, exclusive: true, deadline_ms, heeds_keys: self.heeds_keys };
        let text = request::call_tool(hop, ctx, request).ok_or_else(|| {
            let message = "The parameters of the call are no JSON object.";
            Trouble::Refused(AdapterError::not_sent(ErrorClass::InvalidArguments, message))
        })?;
        let headers = if modern { self.headers(request) } else { HeaderMap::new() };
        let (writes, method) = (request.effect.writes(), "tools/call");
        let ask = Ask { id, method, text, headers, call: Some(ctx), writes };
        let running = Running { wire: &self.wire, session, id, over: false };
        // Where there are no sessions, the agreement is everybody's and the credential the caller's own.
        let own = self.wire.told(&ctx.caller).map(|told| Spoken { caller: Some(told), ..session.spoken.clone() });
        let replied = self.wire.exchange(own.as_ref().unwrap_or(&session.spoken), ask, limit).await;
        running.ended(&replied);
        replied.map(|replied| replied.answer)
    }

    /// The headers that repeat parts of a call (MCP 2026-07-28, "Client Behavior").
    fn headers(&self, request: &Request) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(NAME, mirror::encode(&request.local_name));
        let params = self.mirrored().get(&request.local_name).cloned();
        let text = std::str::from_utf8(&request.params).ok();
        let arguments = text.and_then(Object::parse).and_then(|params| params.get("arguments"));
        for param in params.iter().flat_map(|params| params.iter()) {
            if let Some(value) = arguments.and_then(|arguments| mirror::value_of(arguments, param)) {
                headers.insert(param.header.clone(), value);
            }
        }
        headers
    }
}

/// The session that a call goes over, and the kept one, by which the state of the server is known. Often they are one.
struct Way {
    session: Arc<Session>,
    kept: Arc<Session>,
}

/// A call that may run in the server. Dropping it cancels the call there: in the legacy era by a message, in the modern one by
/// the closed connection alone.
struct Running<'a> {
    wire: &'a Arc<Wire>,
    session: &'a Arc<Session>,
    id: u64,
    over: bool,
}

impl Running<'_> {
    /// The exchange came to its end; only one that ran out of time goes on in the server.
    fn ended<T>(mut self, exchange: &Result<T, Trouble>) {
        let late = |trouble: &Trouble| matches!(trouble, Trouble::Http(error) if error.class == ErrorClass::Timeout && error.sent != Sent::No);
        self.over = !exchange.as_ref().err().is_some_and(late);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.over && !self.session.server.modern {
            let text = request::cancelled(self.id, "nobody waits for the answer any more");
            // Where the session is this call's alone, it must not end before the server has heard of this.
            self.wire.say(&self.session.spoken, text, Arc::clone(self.session));
        }
    }
}

/// Asks for lists, in a new session where the old one was forgotten.
struct Listing<'a> {
    shared: &'a Shared,
    server: Server,
}

impl Asked for Listing<'_> {
    fn server(&self) -> Server {
        self.server
    }

    async fn ask(&self, limit: Deadline, build: impl Fn(u64) -> String + Send + Sync) -> Result<Answer, AdapterError> {
        let (shared, mut forgotten) = (self.shared, false);
        loop {
            let session = shared.keeper.link.usable().await?;
            let id = shared.wire.next_id();
            let ask = Ask::own(id, "tools/list", build(id));
            match shared.wire.exchange(&session.spoken, ask, limit).await {
                Ok(replied) => return Ok(replied.answer),
                Err(Trouble::SessionLost) if !forgotten => {
                    session.end(End::Forgotten);
                    forgotten = true;
                }
                Err(trouble) => {
                    session.heed(&trouble);
                    return Err(trouble.for_call(&shared.downstream, "tools/list"));
                }
            }
        }
    }
}

fn params_of(tool: &OfferedTool) -> Result<Vec<Param>, String> {
    if !tool.definition.get().contains(mirror::ANNOTATION) {
        return Ok(Vec::new());
    }
    let schema = Object::parse(tool.definition.get()).and_then(|definition| definition.get("inputSchema"));
    let schema = schema.and_then(|schema| serde_json::from_str(schema).ok());
    schema.map_or_else(|| Ok(Vec::new()), |schema| mirror::params_of(&schema))
}

fn is_mismatch(error: &[u8]) -> bool {
    let error = std::str::from_utf8(error).ok().and_then(Object::parse);
    error.is_some_and(|error| error.get("code") == Some(HEADER_MISMATCH))
}

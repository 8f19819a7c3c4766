//! Another MCP server as a downstream.
//!
//! [`peer`] is the protocol on one connection whatever carries it, [`websocket`] and [`stdio`] are what carries it, [`keeper`] holds
//! the shared connection open, [`pool`] has those that belong to one caller or one call.

mod answer;
mod connection;
mod era;
mod failure;
pub(crate) mod http;
mod keeper;
mod link;
mod list;
mod peer;
mod pool;
mod request;
mod stdio;
mod waits;
mod websocket;

use std::{fmt, sync::Arc, time::Duration};

use config::{
    DownstreamName, Sources,
    downstream::{Mcp, Sharing, Transport},
};
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Adapter, AdapterError, AdapterEvent, BuildError, CallContext, CallerInput, CallerInputs, Deadline, ErrorClass,
    Offer, Rejection, Reply, Request, Sent, State, registry::Shown,
};
use answer::reply;
use connection::{Connector, Endpoint};
use keeper::Keeper;
use list::Terms;
use peer::{Answer, InFlight};
use pool::{Lease, Pool};
use request::Hop;
use stdio::Program;

/// Another MCP server, over a WebSocket or as a child process. Dropping it closes its connections and ends its tasks;
/// [`close`](Adapter::close) waits for that too.
pub(crate) struct McpServer {
    shared: Arc<Shared>,
    stop: CancellationToken,
    _stops: DropGuard,
}

struct Shared {
    downstream: Arc<str>,
    sharing: Sharing,
    attempt_timeout: Duration,
    list_refresh: Duration,
    heeds_keys: bool,
    connector: Connector,
    keeper: Keeper,
    pool: Pool,
}

impl McpServer {
    /// Reads the settings and starts connecting in the background. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When a setting or a secret is not usable.
    pub(crate) fn new(
        name: &DownstreamName,
        settings: &Mcp,
        shown: Shown<'_>,
        sources: &Sources,
    ) -> Result<Self, BuildError> {
        let setting = format!("downstreams.{name}.mcp");
        let downstream: Arc<str> = name.as_str().into();
        let is_per_caller = shown.credentials.is_per_caller();
        let (endpoint, pool) = match settings.transport() {
            Some(Transport::WebSocket(websocket)) => {
                let endpoint = websocket::Endpoint::new(websocket, shown, sources)?;
                (Endpoint::WebSocket(endpoint), (websocket.connections_max, "connections_max"))
            }
            Some(Transport::Stdio(stdio)) => {
                let program = Program::new(Arc::clone(&downstream), stdio, sources, &format!("{setting}.stdio"))?;
                (Endpoint::Program(program), (stdio.processes_max, "processes_max"))
            }
            Some(Transport::Http(_)) | None => {
                return Err(BuildError::Setting { setting, message: "give `websocket` or `stdio`".to_owned() });
            }
        };
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            sharing: settings.sharing.told(is_per_caller),
            heeds_keys: settings.idempotency_keys,
            attempt_timeout: settings.attempt_timeout.0,
            list_refresh: settings.list_refresh.0,
            connector: Connector::new(Arc::clone(&downstream), endpoint, settings.era, stop.clone()),
            keeper: Keeper::new(Arc::clone(&downstream)),
            pool: Pool::new(Arc::clone(&downstream), pool.0, pool.1),
            downstream,
        });
        let (kept, stopped) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = kept.keeper.keep(&kept.connector) => {}
                () = kept.pool.sweep() => {}
            }
            kept.keeper.link.close();
        });
        Ok(Self { shared, stop: stop.clone(), _stops: stop.drop_guard() })
    }
}

impl fmt::Debug for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer").field("downstream", &self.shared.downstream).finish_non_exhaustive()
    }
}

impl Adapter for McpServer {
    fn list<'a>(&'a self, ctx: &'a CallContext) -> BoxFuture<'a, Result<Offer, AdapterError>> {
        self.shared.list(ctx).boxed()
    }

    fn call<'a>(&'a self, ctx: &'a CallContext, request: Request) -> BoxFuture<'a, Result<Reply, AdapterError>> {
        async move { self.shared.call(ctx, &request).await }.boxed()
    }

    fn events(&self) -> BoxStream<'static, AdapterEvent> {
        let mut state = self.shared.keeper.link.state();
        state.mark_changed();
        let connector = &self.shared.connector;
        events(state, connector.list_changes.subscribe(), connector.list_gaps.subscribe())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.stop.cancel();
        self.shared.connector.closed().boxed()
    }
}

/// The present state, then what changes. One that reads too slowly sees the latest state and one change of the list.
fn events(
    state: watch::Receiver<State>,
    list: watch::Receiver<u64>,
    gaps: watch::Receiver<u64>,
) -> BoxStream<'static, AdapterEvent> {
    stream::unfold((state, list, gaps), |(mut state, mut list, mut gaps)| async move {
        let event = tokio::select! {
            biased;
            changed = state.changed() => changed.map(|()| AdapterEvent::State(state.borrow_and_update().clone())),
            changed = list.changed() => changed.map(|()| AdapterEvent::ListChanged),
            changed = gaps.changed() => changed.map(|()| AdapterEvent::ListUnknown),
        };
        event.ok().map(|event| (event, (state, list, gaps)))
    })
    .boxed()
}

impl Shared {
    async fn list(&self, ctx: &CallContext) -> Result<Offer, AdapterError> {
        let listing = async {
            let connection = self.keeper.link.usable().await?;
            let terms = Terms {
                downstream: &self.downstream,
                attempt_timeout: self.attempt_timeout,
                fresh_for: self.list_refresh,
                caller_inputs: caller_inputs(self.sharing),
            };
            list::list(&connection, ctx, terms).await
        };
        list::in_time(&self.downstream, ctx, listing).await
    }

    async fn call(&self, ctx: &CallContext, request: &Request) -> Result<Reply, AdapterError> {
        let (started, limit) = (Instant::now(), ctx.deadline.within(self.attempt_timeout));
        let (lease, mut in_flight) = tokio::select! {
            biased;
            () = ctx.cancel.cancelled() => return Err(cancelled(Sent::No)),
            asked = tokio::time::timeout_at(limit.at(), self.ask(ctx, request, limit)) => {
                asked.unwrap_or_else(|_| Err(self.too_late(request, started, Sent::No)))?
            }
        };
        tokio::select! {
            biased;
            answer = in_flight.answer() => settle(&self.downstream, request, answer, lease.connection.server.modern),
            () = ctx.cancel.cancelled() => Err(cancelled(in_flight.abandon("the caller cancelled the call"))),
            () = tokio::time::sleep_until(limit.at()) => {
                Err(self.too_late(request, started, in_flight.abandon("no answer in time")))
            }
        }
    }

    /// Finds a connection and puts the request on its way. One that ended before the request could be queued is passed over.
    async fn ask(
        &self,
        ctx: &CallContext,
        request: &Request,
        limit: Deadline,
    ) -> Result<(Lease, InFlight), AdapterError> {
        loop {
            let lease = self.lease(ctx, limit).await?;
            match self.start(&lease, ctx, request, limit).await {
                Ok(in_flight) => return Ok((lease, in_flight)),
                Err(error) if lease.connection.peer.has_ended() && error.class == ErrorClass::ConnectionLost => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn lease(&self, ctx: &CallContext, limit: Deadline) -> Result<Lease, AdapterError> {
        // Also where calls have connections of their own: when this one is known to be down they fail at once.
        let kept = self.keeper.link.usable().await?;
        match self.sharing {
            Sharing::Shared => Ok(Lease::shared(kept)),
            Sharing::PerCaller => self.pool.for_caller(&self.connector, &ctx.caller).await,
            Sharing::PerCall => self.pool.for_call(&self.connector, &ctx.caller, limit).await,
        }
    }

    async fn start(
        &self,
        lease: &Lease,
        ctx: &CallContext,
        request: &Request,
        limit: Deadline,
    ) -> Result<InFlight, AdapterError> {
        let peer = &lease.connection.peer;
        let build = |id| {
            let deadline_ms = u64::try_from(limit.remaining().as_millis()).unwrap_or(u64::MAX);
            let (modern, exclusive) = (lease.connection.server.modern, peer.is_exclusive());
            let hop = Hop { id, modern, exclusive, deadline_ms, heeds_keys: self.heeds_keys };
            request::call_tool(hop, ctx, request).ok_or_else(|| {
                AdapterError::not_sent(ErrorClass::InvalidArguments, "The parameters of the call are no JSON object.")
            })
        };
        let write = request.effect.writes().then_some(ctx);
        peer.start(write, ctx.notices.clone(), build).await
    }

    fn too_late(&self, request: &Request, started: Instant, sent: Sent) -> AdapterError {
        let (tool, waited_ms) = (&request.local_name, started.elapsed().as_millis());
        let what = if sent == Sent::No { "could not be asked" } else { "gave no answer" };
        let message =
            format!("`{tool}` of {} {what} within {waited_ms} ms; try again later or ask for less.", self.downstream);
        AdapterError::new(ErrorClass::Timeout, sent, message)
    }
}

/// What of the caller changes a result: on a connection or in a session of its own, the server may remember who it speaks with.
fn caller_inputs(sharing: Sharing) -> CallerInputs {
    match sharing {
        Sharing::Shared => CallerInputs::Known(Vec::new()),
        Sharing::PerCaller => CallerInputs::Known(vec![CallerInput::Principal]),
        Sharing::PerCall => CallerInputs::Unknown,
    }
}

/// What an answer means to its call. `modern`: in which era it was given.
fn settle(downstream: &str, request: &Request, answer: Answer, modern: bool) -> Result<Reply, AdapterError> {
    let tool = &request.local_name;
    let broken = |what: &str| {
        let message = format!("What {downstream} answered to `{tool}` {what}.");
        // It cannot be told from this whether the server did what it was asked.
        Err(AdapterError::maybe_sent(ErrorClass::Protocol, message))
    };
    match answer {
        Answer::Result(result) if modern => {
            reply(result).map_or_else(|| broken("is of a kind that Weir does not know"), Ok)
        }
        Answer::Result(result) => Ok(Reply::Complete(result)),
        Answer::Error(error) => {
            Err(AdapterError::rejected(format!("{downstream} refused `{tool}`."), Rejection::Rpc(error)))
        }
        Answer::Malformed => broken("is neither a result nor an error"),
        Answer::Lost { failure, sent, alone } => Err(failure.for_call(downstream, sent, alone)),
    }
}

fn cancelled(sent: Sent) -> AdapterError {
    AdapterError::new(ErrorClass::Cancelled, sent, "The call was cancelled.")
}

//! The session of a legacy client: what its handshake settled, and how to settle it again when the router has forgotten
//! (MCP 2025-11-25, basic/transports, "Session Management").

use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use adapters::json::{Object, unquote};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::Incoming;
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::timeout,
};

use super::{
    failure::{Failure, Refusal},
    headers::{PROTOCOL_VERSION, SESSION_ID},
    message::{Heard, HeardKind},
    stream::Stream,
    wire::Wire,
};

/// How long the end of a session may take.
const END_TIME: Duration = Duration::from_secs(1);

/// What the handshake of the client settled.
#[derive(Debug)]
pub(super) struct Session {
    state: Mutex<State>,
    /// One repetition of the handshake at a time.
    renewing: AsyncMutex<()>,
    phase: watch::Sender<Phase>,
}

/// How far the handshake is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Phase {
    /// Counts the sessions: a request that was refused for an old one need not renew the current one.
    pub(super) generation: u64,
    /// The client has said `notifications/initialized`, and the session is not being ended.
    pub(super) open: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The client's own messages, to be said again to a router that was restarted.
    initialize: Option<Bytes>,
    initialized: Option<Bytes>,
    settled: Settled,
}

/// What the answer to `initialize` said.
#[derive(Debug, Clone, Default)]
struct Settled {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
    /// The server announces that it tells when its tools change.
    tools_change: bool,
}

impl Settled {
    fn new(id: Option<HeaderValue>, answer: &Heard) -> Option<Self> {
        let result = Object::parse(answer.member("result")?)?;
        let version =
            result.get("protocolVersion").and_then(unquote).and_then(|version| HeaderValue::from_str(&version).ok());
        let tools_change =
            || Object::parse(Object::parse(result.get("capabilities")?)?.get("tools")?)?.get("listChanged");
        Some(Self { id, version, tools_change: tools_change() == Some("true") })
    }

    fn headers(&self) -> HeaderMap {
        let named = [(SESSION_ID, &self.id), (PROTOCOL_VERSION, &self.version)];
        named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

impl Session {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), renewing: AsyncMutex::default(), phase: watch::Sender::default() }
    }

    /// The headers of a message in the session, and the generation it belongs to; `None` for the latter while the server has given no id.
    pub(super) fn headers(&self) -> (HeaderMap, Option<u64>) {
        let state = self.state();
        let generation = self.phase.borrow().generation;
        (state.settled.headers(), state.settled.id.is_some().then_some(generation))
    }

    /// Tells how far the handshake is, and every change.
    pub(super) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The client's `initialize` was answered.
    pub(super) fn begin(&self, initialize: Bytes, id: Option<HeaderValue>, answer: &Heard) {
        let Some(settled) = Settled::new(id, answer) else { return };
        *self.state() = State { initialize: Some(initialize), initialized: None, settled };
        self.phase.send_modify(|phase| *phase = Phase { generation: phase.generation + 1, open: false });
    }

    /// The client's `notifications/initialized` was accepted.
    pub(super) fn open(&self, initialized: Bytes) {
        self.state().initialized = Some(initialized);
        self.phase.send_modify(|phase| phase.open = true);
    }

    /// Says the client's handshake again, because the router no longer knows the session of the generation `stale`. Says whether the
    /// client should be told that tools may have changed.
    pub(super) async fn renew(&self, wire: &Wire, stale: u64) -> Result<bool, Failure> {
        let _one_at_a_time = self.renewing.lock().await;
        if self.phase.borrow().generation != stale {
            return Ok(false);
        }
        let (initialize, initialized) = {
            let state = self.state();
            (state.initialize.clone(), state.initialized.clone())
        };
        let initialize =
            initialize.ok_or_else(|| Failure::Unusable { reason: "the session ended before it began".into() })?;
        let settled = say_initialize(wire, initialize).await?;
        if let Some(initialized) = initialized {
            let response = wire.post(settled.headers(), initialized, true, &AtomicBool::new(false)).await?;
            accepted(&response)?;
        }
        if self.phase.borrow().generation != stale {
            // The client has begun a session of its own meanwhile.
            return Ok(false);
        }
        tracing::info!("the router had forgotten the session, as after a restart; a new one is open");
        let tools_change = settled.tools_change;
        if std::mem::replace(&mut self.state().settled, settled.clone()).version != settled.version {
            tracing::warn!(version = ?settled.version, "the router negotiated another version than before: restart the client if it acts up");
        }
        self.phase.send_modify(|phase| phase.generation += 1);
        Ok(tools_change)
    }

    /// Ends the session at the server, if there is one.
    pub(super) async fn end(&self, wire: &Wire) {
        self.phase.send_modify(|phase| phase.open = false);
        let (headers, generation) = self.headers();
        if generation.is_some() {
            _ = timeout(END_TIME, wire.delete(headers)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change replaces a whole value.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The `Mcp-Session-Id` of an answer.
pub(super) fn session_id(response: &Response<Incoming>) -> Option<HeaderValue> {
    let mut id = response.headers().get(SESSION_ID)?.clone();
    id.set_sensitive(true);
    Some(id)
}

async fn say_initialize(wire: &Wire, initialize: Bytes) -> Result<Settled, Failure> {
    let response = wire.post(HeaderMap::new(), initialize, true, &AtomicBool::new(false)).await?;
    accepted(&response)?;
    let id = session_id(&response);
    let mut stream = Stream::new(response, wire.limits());
    while let Some(bytes) = stream.next().await? {
        if let Some(answer) = Heard::parse(bytes)
            && let HeardKind::Response { .. } = answer.kind
        {
            let refused = || Failure::Unusable {
                reason: "after a restart it refused the handshake that it had accepted before".into(),
            };
            return Settled::new(id, &answer).ok_or_else(refused);
        }
    }
    Err(Failure::Lost { reason: "the handshake after a restart was not answered".into() })
}

/// Whether a message was accepted, by the status alone.
fn accepted(response: &Response<Incoming>) -> Result<(), Failure> {
    if response.status().is_success() {
        return Ok(());
    }
    Err(Failure::Status(Box::new(Refusal::new(response.status(), response.headers(), &[], 0))))
}

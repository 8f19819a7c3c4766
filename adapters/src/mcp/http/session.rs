//! What was agreed on with a server: the era, and in the legacy one perhaps a session.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use config::downstream::Era;
use http::HeaderValue;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        era::{self, Asked, Patience, Server, Stranger},
        failure::Failure,
        link::Carries,
        request::{self, MODERN_VERSION},
    },
    trouble::Trouble,
    wire::{Ask, Spoken, Wire},
};
use crate::{Caller, Deadline, ErrorClass, Sent};

/// How long a server may take for each step of the handshake. Silence says nothing of its era here: over HTTP a server answers
/// also what it does not understand.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What was agreed on with a server. Dropping it ends the session there.
pub(super) struct Session {
    pub(super) server: Server,
    pub(super) spoken: Spoken,
    wire: Arc<Wire>,
    end: OnceLock<End>,
    over: CancellationToken,
    /// An answer gave a reason to look whether the server is still there.
    pub(super) suspected: Notify,
}

/// Why a session is of no use any more.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// The server forgot it.
    Forgotten,
    /// The server cannot be asked at all.
    Outage(Arc<Failure>),
}

impl Session {
    /// From now on nobody uses it. The first reason counts.
    pub(super) fn end(&self, end: End) {
        let _ = self.end.set(end);
        self.over.cancel();
    }

    /// Takes to heart what a failed request says of the server.
    pub(super) fn heed(&self, trouble: &Trouble) {
        match trouble.outage() {
            Some(failure) => self.end(End::Outage(failure)),
            None if trouble.is_from_a_proxy() => self.suspected.notify_one(),
            None => {}
        }
    }

    /// Waits for the end and says why it came.
    pub(super) async fn ended(&self) -> End {
        self.over.cancelled().await;
        self.end.get().cloned().unwrap_or(End::Forgotten)
    }
}

impl Carries for Session {
    fn has_ended(&self) -> bool {
        self.over.is_cancelled()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // One that was forgotten, or whose server is away, cannot be ended.
        if self.spoken.session.is_some() && !self.has_ended() {
            self.wire.end_session(self.spoken.clone());
        }
    }
}

/// How to come by a session.
pub(super) struct Connector {
    pub(super) wire: Arc<Wire>,
    era: Era,
    /// The server was found to speak only the legacy era; asked anew when that fails (MCP 2026-07-28, "Versioning").
    known_legacy: AtomicBool,
}

impl Connector {
    pub(super) fn new(wire: Arc<Wire>, era: Era) -> Self {
        Self { wire, era, known_legacy: AtomicBool::new(false) }
    }

    /// Settles the era, and in the legacy one begins a session: the caller's own, where the server is told who calls.
    pub(super) async fn connect(&self, caller: Option<Arc<Caller>>) -> Result<Session, Failure> {
        let era = match self.era {
            Era::Auto if self.known_legacy.load(Ordering::Relaxed) => Era::Legacy,
            era => era,
        };
        let mut attempt = self.attempt(era, caller.clone()).await;
        if era == Era::Auto && matches!(&attempt, Err(failure) if failure.class == ErrorClass::ConnectionLost) {
            // Some servers of the legacy era hang up on whatever is not `initialize`.
            attempt = self.attempt(Era::Legacy, caller).await;
        }
        let legacy = matches!(&attempt, Ok(session) if !session.server.modern);
        self.known_legacy.store(legacy, Ordering::Relaxed);
        attempt
    }

    async fn attempt(&self, era: Era, caller: Option<Arc<Caller>>) -> Result<Session, Failure> {
        let mut handshake =
            Handshake { wire: Arc::clone(&self.wire), caller: caller.clone(), session: OnceLock::new() };
        let patience = Patience { probe: HANDSHAKE, handshake: HANDSHAKE };
        let server = era::settle(&handshake, era, patience).await?;
        let (modern, session) = (server.modern, handshake.session.take());
        let spoken = Spoken { version: Some(server.version), session, modern, caller };
        let (end, over, suspected) = (OnceLock::new(), CancellationToken::new(), Notify::new());
        Ok(Session { server, spoken, wire: Arc::clone(&self.wire), end, over, suspected })
    }

    /// Looks whether the server is still there; its session ends where it is not. Whatever it answers itself is a sign of life.
    pub(super) async fn look(&self, session: &Session) {
        let (id, modern) = (self.wire.next_id(), session.server.modern);
        let method = if modern { "server/discover" } else { "ping" };
        let ask = Ask::own(id, method, request::own(id, method, modern, &[]));
        match self.wire.exchange(&session.spoken, ask, Deadline::after(HANDSHAKE)).await {
            Err(Trouble::SessionLost) => session.end(End::Forgotten),
            Err(trouble) if trouble.is_from_a_proxy() => session.end(End::Outage(Arc::new(trouble.failure()))),
            Err(trouble) => session.heed(&trouble),
            Ok(_) => {}
        }
    }
}

/// A server that is yet to be known. Dropping it ends the session that came of it, if nobody took it.
struct Handshake {
    wire: Arc<Wire>,
    caller: Option<Arc<Caller>>,
    /// What it answered `initialize` with.
    session: OnceLock<HeaderValue>,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.wire.end_session(Spoken { session: Some(session), caller: self.caller.take(), ..Spoken::default() });
        }
    }
}

impl Stranger for Handshake {
    async fn ask(&self, patience: Duration, build: impl FnOnce(u64) -> String + Send) -> Result<Asked, Failure> {
        let id = self.wire.next_id();
        let text = build(id);
        let begins_session = text.contains(r#""method":"initialize""#);
        let (method, spoken) = if begins_session {
            ("initialize", Spoken { caller: self.caller.clone(), ..Spoken::default() })
        } else {
            let spoken =
                Spoken { version: Some(MODERN_VERSION), session: None, modern: true, caller: self.caller.clone() };
            ("server/discover", spoken)
        };
        match self.wire.exchange(&spoken, Ask::own(id, method, text), Deadline::after(patience)).await {
            Ok(replied) => {
                if let Some(mut session) = replied.session.filter(|_| begins_session) {
                    session.set_sensitive(true);
                    let _ = self.session.set(session);
                }
                Ok(Asked::Answer(replied.answer))
            }
            Err(Trouble::Http(error)) if error.class == ErrorClass::Timeout && error.sent != Sent::No => {
                let told = format!("no answer to `{method}` within {} ms", patience.as_millis());
                Err(Failure::unreachable(told).because(error.reason()))
            }
            Err(Trouble::Status { status, retry_after }) => {
                let failure = Trouble::Status { status, retry_after }.failure();
                let foreign = failure.class == ErrorClass::Protocol && !status.is_redirection();
                if foreign { Ok(Asked::Refused(failure)) } else { Err(failure) }
            }
            Err(trouble @ Trouble::Protocol(_)) => Ok(Asked::Refused(trouble.failure())),
            Err(trouble) => Err(trouble.failure()),
        }
    }

    async fn initialized(&self, version: &'static str) -> Result<(), Failure> {
        let spoken = Spoken {
            version: Some(version),
            session: self.session.get().cloned(),
            modern: false,
            caller: self.caller.clone(),
        };
        let told = self.wire.tell(&spoken, request::INITIALIZED.to_owned(), Deadline::after(HANDSHAKE)).await;
        told.map_err(|trouble| trouble.failure())
    }
}

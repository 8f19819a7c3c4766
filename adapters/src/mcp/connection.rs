//! One connection to an MCP server, from the first byte to the end of the handshake, whatever carries it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use config::downstream::Era;
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    era::{self, Patience, Server},
    failure::Failure,
    link::Carries,
    peer::{Outbox, Peer},
    stdio::{Process, Program},
    waits::Waits,
    websocket::{self, Socket},
};
use crate::{ErrorClass, credential::Whose};

/// A connection that is ready for requests. Dropping it closes it.
pub(super) struct Connection {
    pub(super) peer: Arc<Peer>,
    pub(super) server: Server,
    _closes: DropGuard,
}

impl Carries for Connection {
    fn has_ended(&self) -> bool {
        self.peer.has_ended()
    }
}

/// A place among the connections that may be open at once; free again when the last of its holders is gone.
pub(super) type Place = Arc<OwnedSemaphorePermit>;

/// Where a server is.
pub(super) enum Endpoint {
    WebSocket(websocket::Endpoint),
    Program(Program),
}

/// What carries the messages of one connection.
enum Carrier {
    Socket(Socket),
    Process(Process),
}

/// How to come by a connection.
pub(super) struct Connector {
    downstream: Arc<str>,
    endpoint: Endpoint,
    era: Era,
    /// The server was found to speak only the legacy era; asked anew when that fails (MCP 2026-07-28, "Versioning").
    known_legacy: AtomicBool,
    /// Counts the server's notices that its tools changed.
    pub(super) list_changes: watch::Sender<u64>,
    /// Counts the times after which such a notice may have been missed.
    pub(super) list_gaps: watch::Sender<u64>,
    /// Fires when every connection is to be closed and no new one made.
    stop: CancellationToken,
    /// What carries the connections, until nothing of it is left.
    carriers: TaskTracker,
}

impl Connector {
    pub(super) fn new(downstream: Arc<str>, endpoint: Endpoint, era: Era, stop: CancellationToken) -> Self {
        let (known_legacy, carriers) = (AtomicBool::new(false), TaskTracker::new());
        let (list_changes, list_gaps) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { downstream, endpoint, era, known_legacy, list_changes, list_gaps, stop, carriers }
    }

    /// How long to wait before a server that was lost is tried again.
    pub(super) fn waits(&self) -> Waits {
        match &self.endpoint {
            Endpoint::WebSocket(_) => Waits::for_connection(),
            Endpoint::Program(program) => Waits::for_program(program.quarantine),
        }
    }

    /// Whether the server is shown who calls.
    pub(super) fn tells_caller(&self) -> bool {
        match &self.endpoint {
            Endpoint::WebSocket(endpoint) => endpoint.is_per_caller(),
            Endpoint::Program(_) => false,
        }
    }

    /// Connects on behalf of `whose` and settles the era. `exclusive`: one call has the connection to itself.
    pub(super) async fn connect(
        &self,
        exclusive: bool,
        place: &Place,
        whose: Whose<'_>,
    ) -> Result<Connection, Failure> {
        let era = match self.era {
            Era::Auto if self.known_legacy.load(Ordering::Relaxed) => Era::Legacy,
            era => era,
        };
        let mut attempt = self.attempt(exclusive, era, place, whose).await;
        if era == Era::Auto && matches!(&attempt, Err(failure) if failure.class == ErrorClass::ConnectionLost) {
            // Some servers of the legacy era hang up on whatever is not `initialize`.
            attempt = self.attempt(exclusive, Era::Legacy, place, whose).await;
        }
        let legacy = matches!(&attempt, Ok(connection) if !connection.server.modern);
        self.known_legacy.store(legacy, Ordering::Relaxed);
        attempt
    }

    /// Whether Weir is ending.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until nothing is left of any connection. To be called after `stop` has fired.
    pub(super) async fn closed(&self) {
        self.carriers.close();
        self.carriers.wait().await;
    }

    async fn attempt(&self, exclusive: bool, era: Era, place: &Place, whose: Whose<'_>) -> Result<Connection, Failure> {
        if self.is_stopping() {
            return Err(Failure::unreachable("Weir is ending"));
        }
        let carrier = self.endpoint.open(whose).await?;
        // A process takes up its place until it is gone, not only as long as it is of use.
        let place = matches!(carrier, Carrier::Process(_)).then(|| Arc::clone(place));
        let (peer, outbox) = Peer::new(Arc::clone(&self.downstream), exclusive, self.list_changes.clone());
        let stop = self.stop.child_token();
        let running = carrier.run(Arc::clone(&peer), outbox, stop.clone());
        self.carriers.spawn(running.map(|()| drop(place)));
        let closes = stop.drop_guard();
        match era::settle(&peer, era, self.endpoint.patience(era)).await {
            Ok(server) => Ok(Connection { peer, server, _closes: closes }),
            // The carrier knows best what it broke of.
            Err(failure) if failure.class == ErrorClass::ConnectionLost && peer.has_ended() => {
                Err(peer.ended().await.as_ref().clone())
            }
            Err(failure) => Err(failure),
        }
    }
}

impl Endpoint {
    async fn open(&self, whose: Whose<'_>) -> Result<Carrier, Failure> {
        Ok(match self {
            Self::WebSocket(endpoint) => Carrier::Socket(endpoint.open(whose).await?),
            Self::Program(program) => Carrier::Process(program.open()?),
        })
    }

    /// A program answers nothing before it has started, which may take far longer than an answer.
    fn patience(&self, era: Era) -> Patience {
        match self {
            Self::WebSocket(_) => Patience::default(),
            Self::Program(program) => {
                let whole = program.start_timeout;
                let handshake = if era == Era::Auto { whole / 2 } else { whole };
                Patience { probe: whole / 2, handshake }
            }
        }
    }
}

impl Carrier {
    /// Carries messages until the connection ends or `stop` fires.
    fn run(self, peer: Arc<Peer>, outbox: Outbox, stop: CancellationToken) -> BoxFuture<'static, ()> {
        match self {
            Self::Socket(socket) => socket.run(peer, outbox, stop).boxed(),
            Self::Process(process) => process.run(peer, outbox, stop).boxed(),
        }
    }
}

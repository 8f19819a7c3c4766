//! One connection to an MCP server, from the first byte to the end of the handshake.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use config::downstream::Era;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    era::{self, Server},
    failure::Failure,
    peer::Peer,
    websocket::Endpoint,
};
use crate::ErrorClass;

/// A connection that is ready for requests. Dropping it closes it.
pub(super) struct Connection {
    pub(super) peer: Arc<Peer>,
    pub(super) server: Server,
    _closes: DropGuard,
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
}

impl Connector {
    pub(super) fn new(downstream: Arc<str>, endpoint: Endpoint, era: Era) -> Self {
        let list_changes = watch::Sender::new(0);
        Self { downstream, endpoint, era, known_legacy: AtomicBool::new(false), list_changes }
    }

    /// Connects and settles the era. `exclusive`: one call has the connection to itself.
    pub(super) async fn connect(&self, exclusive: bool) -> Result<Connection, Failure> {
        let era = match self.era {
            Era::Auto if self.known_legacy.load(Ordering::Relaxed) => Era::Legacy,
            era => era,
        };
        let mut attempt = self.attempt(exclusive, era).await;
        if era == Era::Auto && matches!(&attempt, Err(failure) if failure.class == ErrorClass::ConnectionLost) {
            // Some servers of the legacy era hang up on whatever is not `initialize`.
            attempt = self.attempt(exclusive, Era::Legacy).await;
        }
        let legacy = matches!(&attempt, Ok(connection) if !connection.server.modern);
        self.known_legacy.store(legacy, Ordering::Relaxed);
        attempt
    }

    async fn attempt(&self, exclusive: bool, era: Era) -> Result<Connection, Failure> {
        let socket = self.endpoint.open().await?;
        let (peer, outbox) = Peer::new(Arc::clone(&self.downstream), exclusive, self.list_changes.clone());
        let stop = CancellationToken::new();
        tokio::spawn(socket.run(Arc::clone(&peer), outbox, stop.clone()));
        let closes = stop.drop_guard();
        let server = era::settle(&peer, era).await?;
        Ok(Connection { peer, server, _closes: closes })
    }
}

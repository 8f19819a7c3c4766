//! Keeps one connection to the server alive: the one that everything shared goes over, and by which its state is known.

use std::{convert::Infallible, future, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::Instant};

use super::{
    connection::{Connection, Connector, Place},
    failure::Failure,
    link::Link,
    peer::Answer,
    request,
    waits::{FAILURES_MAX, Next},
};
use crate::{credential::Whose, reconnect::Delays};

/// Replicas that lost the same server at once come back within this time, not all in the same moment.
const AT_ONCE_JITTER_MS: u64 = 50;

/// Keeps one connection to the server alive.
pub(super) struct Keeper {
    downstream: Arc<str>,
    pub(super) link: Link<Connection>,
    one: Arc<Semaphore>,
}

impl Keeper {
    pub(super) fn new(downstream: Arc<str>) -> Self {
        Self { link: Link::new(Arc::clone(&downstream)), downstream, one: Arc::new(Semaphore::new(1)) }
    }

    /// Connects, and connects again whenever the connection is lost, until Weir ends. Never gives up, never hurries.
    pub(super) async fn keep(&self, connector: &Connector) {
        let mut waits = connector.waits();
        let mut connected_before = false;
        loop {
            let (failure, usable_for) = match self.link.attempt(self.connect(connector)).await {
                Err(failure) => (Arc::new(failure), None),
                Ok(connection) => {
                    let since = Instant::now();
                    let failure = self.hold(connector, connection, connected_before).await;
                    connected_before = true;
                    (failure, Some(since.elapsed()))
                }
            };
            // What Weir ended itself is no trouble to tell of.
            if connector.is_stopping() {
                return;
            }
            match waits.next(Instant::now(), failure.class, usable_for) {
                Next::AtOnce => {
                    self.link.trying(Arc::clone(&failure));
                    self.link.tell_down(&failure);
                    tokio::time::sleep(Duration::from_millis(rand::random_range(0..AT_ONCE_JITTER_MS))).await;
                }
                Next::After(wait) => self.link.wait(failure, wait).await,
                Next::Quarantine(wait) => self.link.wait(Arc::new(failure.quarantined(FAILURES_MAX)), wait).await,
            }
        }
    }

    async fn connect(&self, connector: &Connector) -> Result<Connection, Failure> {
        let place = self.place().await;
        connector.connect(false, &place, Whose::Weir).await
    }

    /// The shared connection is one: a process that is still ending is waited for.
    async fn place(&self) -> Place {
        match Arc::clone(&self.one).acquire_owned().await {
            Ok(place) => Arc::new(place),
            Err(_closed) => future::pending().await,
        }
    }

    async fn hold(&self, connector: &Connector, connection: Connection, again: bool) -> Arc<Failure> {
        let connection = Arc::new(connection);
        self.link.up(Arc::clone(&connection));
        let era = if connection.server.modern { "modern" } else { "legacy" };
        tracing::info!(downstream = %self.downstream, era, "connected");
        if again {
            // What changed meanwhile was told to nobody.
            missed(connector);
        }
        tokio::select! {
            failure = connection.peer.ended() => failure,
            never = listen(connector, &connection) => match never {},
        }
    }
}

/// Lets a modern server tell when the list of its tools changes. The legacy era tells unasked.
async fn listen(connector: &Connector, connection: &Connection) -> Infallible {
    if !(connection.server.modern && connection.server.list_changed) {
        return future::pending().await;
    }
    let mut delays = Delays::default();
    loop {
        let filter = [("notifications", r#"{"toolsListChanged":true}"#)];
        let build = |id| {
            // Before the request can leave: the first notice may come as soon as the server has read it.
            connection.peer.listen_under(id);
            Ok(request::own(id, "subscriptions/listen", true, &filter))
        };
        let Ok(mut listening) = connection.peer.start(None, None, build).await else { return future::pending().await };
        match listening.answer().await {
            // The server ended the subscription in good order; whatever changes until the next one is told to nobody.
            Answer::Result(_) => {
                tokio::time::sleep(delays.next()).await;
                missed(connector);
            }
            Answer::Error(_) | Answer::Malformed => {
                tracing::debug!("the server does not tell when its tools change, though it says so");
                return future::pending().await;
            }
            Answer::Lost { .. } => return future::pending().await,
        }
    }
}

fn missed(connector: &Connector) {
    connector.list_gaps.send_modify(|count| *count = count.wrapping_add(1));
}

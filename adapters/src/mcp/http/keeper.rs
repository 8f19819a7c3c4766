//! Keeps an agreement with the server: the one that everything shared is asked under, and by which its state is known.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    super::{failure::Failure, link::Link},
    listener,
    session::{Connector, End, Session},
};
use crate::reconnect::Delays;

/// A session that lasted this long was a good one: waits start from the shortest again.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// How soon the server is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps a session with the server.
pub(super) struct Keeper {
    downstream: Arc<str>,
    pub(super) link: Link<Session>,
}

impl Keeper {
    pub(super) fn new(downstream: Arc<str>) -> Self {
        Self { link: Link::new(Arc::clone(&downstream)), downstream }
    }

    /// Comes to an agreement, and again whenever it is lost. Never gives up, never hurries.
    pub(super) async fn keep(&self, connector: &Connector) {
        let mut delays = Delays::default();
        let mut before = false;
        loop {
            let failure = match self.link.attempt(Box::pin(connector.connect(None))).await {
                Err(failure) => Arc::new(failure),
                Ok(session) => {
                    let since = Instant::now();
                    let end = self.hold(connector, session, before).await;
                    before = true;
                    if since.elapsed() >= GOOD_AFTER {
                        delays.reset();
                    }
                    match end {
                        End::Outage(failure) => failure,
                        End::Forgotten => {
                            self.link.trying(Arc::new(Failure::lost("it forgot the session")));
                            tracing::info!(downstream = %self.downstream, "the server forgot the session; a new one is made");
                            // The first one at once, but one that forgets them all is not hurried.
                            if since.elapsed() < GOOD_AFTER {
                                tokio::time::sleep(delays.next()).await;
                            }
                            continue;
                        }
                    }
                }
            };
            self.link.wait(failure, delays.next()).await;
        }
    }

    async fn hold(&self, connector: &Connector, session: Session, again: bool) -> End {
        let session = Arc::new(session);
        self.link.up(Arc::clone(&session));
        tracing::info!(downstream = %self.downstream, version = session.server.version, "connected");
        if again {
            // What changed meanwhile was told to nobody.
            connector.wire.list_changed();
        }
        tokio::select! {
            end = session.ended() => end,
            never = listener::listen(&connector.wire, &session) => match never {},
            never = look(connector, &session) => match never {},
        }
    }
}

/// Looks at the server whenever an answer gave a reason to: of a server that is away, what stands before it may go on answering.
async fn look(connector: &Connector, session: &Session) -> Infallible {
    loop {
        session.suspected.notified().await;
        connector.look(session).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

//! Keeps one connection to the server alive: the one that everything shared goes over, and by which its state is known.

use std::{convert::Infallible, future, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    connection::{Connection, Connector},
    failure::Failure,
    peer::Answer,
    request,
};
use crate::{AdapterError, ErrorClass, Health, Sent, State, reconnect::Delays};

/// A connection that lasted this long was a good one: waits start from the shortest again.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// How often a lost connection may be replaced at once, so that a server that hangs up on everybody is not hurried.
const AT_ONCE_EVERY: Duration = Duration::from_secs(5);
/// Replicas that lost the same server at once come back within this time, not all in the same moment.
const AT_ONCE_JITTER_MS: u64 = 50;

/// The state of the one connection.
#[derive(Clone)]
enum Link {
    /// A first attempt is under way, or a lost connection is replaced at once: calls wait for how that ends.
    Trying,
    Up(Arc<Connection>),
    /// Known to be down: calls fail at once.
    Down {
        failure: Arc<Failure>,
        next_try: Instant,
    },
}

/// Keeps one connection to the server alive.
pub(super) struct Keeper {
    downstream: Arc<str>,
    link: watch::Sender<Link>,
    state: watch::Sender<State>,
}

impl Keeper {
    pub(super) fn new(downstream: Arc<str>) -> Self {
        Self { downstream, link: watch::Sender::new(Link::Trying), state: watch::Sender::new(State::starting()) }
    }

    /// The state as the operator sees it, now and later.
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The connection, waiting only for a first attempt that has not ended yet. Has no deadline of its own.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, AdapterError> {
        let mut link = self.link.subscribe();
        let settled = link.wait_for(|link| match link {
            Link::Trying => false,
            // It is about to be found out that this one is down, and why.
            Link::Up(connection) => !connection.peer.has_ended(),
            Link::Down { .. } => true,
        });
        match settled.await.as_deref() {
            Ok(Link::Up(connection)) => Ok(Arc::clone(connection)),
            Ok(Link::Down { failure, next_try }) => Err(self.down(failure, *next_try)),
            Ok(Link::Trying) | Err(_) => Err(AdapterError::not_sent(
                ErrorClass::Unreachable,
                format!("{} was taken out of service.", self.downstream),
            )),
        }
    }

    fn down(&self, failure: &Failure, next_try: Instant) -> AdapterError {
        let wait_ms = next_try.saturating_duration_since(Instant::now()).as_millis();
        let class = match failure.class {
            class @ (ErrorClass::Unauthorized | ErrorClass::Protocol) => class,
            _ => ErrorClass::Unreachable,
        };
        let when = if wait_ms == 0 { "now".to_owned() } else { format!("in {wait_ms} ms") };
        let message = format!(
            "{} cannot be reached: {}. Weir tries again {when}; repeat the call after that.",
            self.downstream, failure.told
        );
        AdapterError::new(class, Sent::No, message).caused_by(failure.reason())
    }

    /// Connects, and connects again whenever the connection is lost. Never gives up, never hurries.
    pub(super) async fn keep(&self, connector: &Connector) {
        let mut delays = Delays::default();
        let mut connected_before = false;
        let mut at_once_after = Instant::now();
        loop {
            let failure = match connector.connect(false).await {
                Err(failure) => Arc::new(failure),
                Ok(connection) => {
                    let since = Instant::now();
                    let failure = self.hold(connector, connection, connected_before).await;
                    connected_before = true;
                    if since.elapsed() >= GOOD_AFTER {
                        delays.reset();
                    }
                    // A server that fell silent does not answer a new connection either: calls need not wait for that.
                    if failure.class != ErrorClass::Timeout && Instant::now() >= at_once_after {
                        at_once_after = Instant::now() + AT_ONCE_EVERY;
                        self.link.send_replace(Link::Trying);
                        self.tell_down(&failure);
                        tokio::time::sleep(Duration::from_millis(rand::random_range(0..AT_ONCE_JITTER_MS))).await;
                        continue;
                    }
                    failure
                }
            };
            let wait = delays.next();
            self.link.send_replace(Link::Down { failure: Arc::clone(&failure), next_try: Instant::now() + wait });
            self.tell_down(&failure);
            tokio::time::sleep(wait).await;
        }
    }

    async fn hold(&self, connector: &Connector, connection: Connection, again: bool) -> Arc<Failure> {
        let connection = Arc::new(connection);
        self.link.send_replace(Link::Up(Arc::clone(&connection)));
        self.state.send_replace(State::up());
        let era = if connection.server.modern { "modern" } else { "legacy" };
        tracing::info!(downstream = %self.downstream, era, "connected");
        if again {
            // What changed meanwhile was told to nobody.
            count(connector);
        }
        tokio::select! {
            failure = connection.peer.ended() => failure,
            never = listen(connector, &connection) => match never {},
        }
    }

    /// The state is down from the first failure on; another reason does not make it any younger.
    fn tell_down(&self, failure: &Failure) {
        let reason = failure.reason();
        let changed = self.state.send_if_modified(|state| {
            let was_down = state.health == Health::Down;
            if was_down && state.reason.as_deref() == Some(&reason) {
                return false;
            }
            let down = State::down(&reason);
            *state = State { since: if was_down { state.since } else { down.since }, ..down };
            true
        });
        if changed {
            tracing::warn!(downstream = %self.downstream, %reason, "not reachable; Weir keeps trying");
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
                count(connector);
            }
            Answer::Error(_) | Answer::Malformed => {
                tracing::debug!("the server does not tell when its tools change, though it says so");
                return future::pending().await;
            }
            Answer::Lost { .. } => return future::pending().await,
        }
    }
}

fn count(connector: &Connector) {
    connector.list_changes.send_modify(|count| *count = count.wrapping_add(1));
}

//! Keeps one connection to the server alive: the one that everything shared goes over, and by which its state is known.

use std::{convert::Infallible, future, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use super::{
    connection::{Connection, Connector, Place},
    failure::Failure,
    peer::Answer,
    request,
    waits::{FAILURES_MAX, Next},
};
use crate::{AdapterError, ErrorClass, Health, Sent, State, reconnect::Delays};

/// How long calls wait for a lost connection that is replaced at once.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Replicas that lost the same server at once come back within this time, not all in the same moment.
const AT_ONCE_JITTER_MS: u64 = 50;

/// The state of the one connection.
#[derive(Clone)]
enum Link {
    /// A first attempt is under way, or a lost connection is replaced at once: calls wait for how that ends.
    Trying {
        lost: Option<Arc<Failure>>,
    },
    Up(Arc<Connection>),
    /// Known to be down: calls fail at once.
    Down {
        failure: Arc<Failure>,
        next_try: Instant,
    },
    /// Weir is ending.
    Over,
}

/// Keeps one connection to the server alive.
pub(super) struct Keeper {
    downstream: Arc<str>,
    link: watch::Sender<Link>,
    state: watch::Sender<State>,
    one: Arc<Semaphore>,
}

impl Keeper {
    pub(super) fn new(downstream: Arc<str>) -> Self {
        let (link, state) = (watch::Sender::new(Link::Trying { lost: None }), watch::Sender::new(State::starting()));
        Self { downstream, link, state, one: Arc::new(Semaphore::new(1)) }
    }

    /// The state as the operator sees it, now and later.
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The connection, waiting only for a first attempt that has not ended yet. Has no deadline of its own.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, AdapterError> {
        let mut link = self.link.subscribe();
        let settled = link.wait_for(|link| match link {
            Link::Trying { .. } => false,
            // It is about to be found out that this one is down, and why.
            Link::Up(connection) => !connection.peer.has_ended(),
            Link::Down { .. } | Link::Over => true,
        });
        match settled.await.as_deref() {
            Ok(Link::Up(connection)) => Ok(Arc::clone(connection)),
            Ok(Link::Down { failure, next_try }) => Err(self.down(failure, *next_try)),
            Ok(Link::Trying { .. } | Link::Over) | Err(_) => Err(AdapterError::not_sent(
                ErrorClass::Unreachable,
                format!("{} was taken out of service.", self.downstream),
            )),
        }
    }

    fn down(&self, failure: &Failure, next_try: Instant) -> AdapterError {
        let wait = next_try.saturating_duration_since(Instant::now());
        let class = match failure.class {
            class @ (ErrorClass::Unauthorized | ErrorClass::Protocol) => class,
            _ => ErrorClass::Unreachable,
        };
        let when = match wait.as_millis() {
            0 => "now".to_owned(),
            ms @ 1..10_000 => format!("in {ms} ms"),
            _ => format!("in {} s", wait.as_secs()),
        };
        let message = format!(
            "{} cannot be reached: {}. Weir tries again {when}; repeat the call after that.",
            self.downstream, failure.told
        );
        AdapterError::new(class, Sent::No, message).caused_by(failure.reason())
    }

    /// No connection comes any more: whoever waits for one learns it now.
    pub(super) fn close(&self) {
        self.link.send_replace(Link::Over);
    }

    /// Connects, and connects again whenever the connection is lost, until Weir ends. Never gives up, never hurries.
    pub(super) async fn keep(&self, connector: &Connector) {
        let mut waits = connector.waits();
        let mut connected_before = false;
        loop {
            let (failure, usable_for) = match self.connect(connector).await {
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
                    self.link.send_replace(Link::Trying { lost: Some(Arc::clone(&failure)) });
                    self.tell_down(&failure);
                    tokio::time::sleep(Duration::from_millis(rand::random_range(0..AT_ONCE_JITTER_MS))).await;
                }
                Next::After(wait) => self.wait(failure, wait).await,
                Next::Quarantine(wait) => self.wait(Arc::new(failure.quarantined(FAILURES_MAX)), wait).await,
            }
        }
    }

    /// Connects. Where a lost connection is replaced at once and that takes its time, calls wait for it no longer.
    async fn connect(&self, connector: &Connector) -> Result<Connection, Failure> {
        let connecting = async {
            let place = self.place().await;
            connector.connect(false, &place).await
        };
        tokio::pin!(connecting);
        if let Ok(connected) = tokio::time::timeout(AT_ONCE, &mut connecting).await {
            return connected;
        }
        self.link.send_if_modified(|link| match link {
            Link::Trying { lost: Some(failure) } => {
                *link = Link::Down { failure: Arc::clone(failure), next_try: Instant::now() };
                true
            }
            Link::Trying { lost: None } | Link::Up(_) | Link::Down { .. } | Link::Over => false,
        });
        connecting.await
    }

    /// The shared connection is one: a process that is still ending is waited for.
    async fn place(&self) -> Place {
        match Arc::clone(&self.one).acquire_owned().await {
            Ok(place) => Arc::new(place),
            Err(_closed) => future::pending().await,
        }
    }

    async fn wait(&self, failure: Arc<Failure>, wait: Duration) {
        self.link.send_replace(Link::Down { failure: Arc::clone(&failure), next_try: Instant::now() + wait });
        self.tell_down(&failure);
        tokio::time::sleep(wait).await;
    }

    async fn hold(&self, connector: &Connector, connection: Connection, again: bool) -> Arc<Failure> {
        let connection = Arc::new(connection);
        // Both at once: whoever reads that it is up can use it, and whoever has used it reads that it is up.
        self.state.send_modify(|state| {
            self.link.send_replace(Link::Up(Arc::clone(&connection)));
            *state = State::up();
        });
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

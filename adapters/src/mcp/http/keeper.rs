//! Keeps an agreement with the server: the one that everything shared is asked under, and by which its state is known.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    super::failure::Failure,
    listener,
    session::{Connector, End, Session},
};
use crate::{AdapterError, ErrorClass, Health, Sent, State, reconnect::Delays};

/// A session that lasted this long was a good one: waits start from the shortest again.
const GOOD_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone)]
enum Link {
    /// A first attempt is under way, or a session that was forgotten is made anew: calls wait for how that ends.
    Trying,
    Up(Arc<Session>),
    /// Known to be down: calls fail at once.
    Down {
        failure: Arc<Failure>,
        next_try: Instant,
    },
}

/// Keeps a session with the server.
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

    /// The session, waiting only for a first attempt that has not ended yet, or for one in the place of a forgotten one. Many
    /// that find it forgotten at once wait for one and the same. Has no deadline of its own.
    pub(super) async fn session(&self) -> Result<Arc<Session>, AdapterError> {
        let mut link = self.link.subscribe();
        let settled = link.wait_for(|link| match link {
            Link::Trying => false,
            Link::Up(session) => !session.has_ended(),
            Link::Down { .. } => true,
        });
        match settled.await.as_deref() {
            Ok(Link::Up(session)) => Ok(Arc::clone(session)),
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

    /// Comes to an agreement, and again whenever it is lost. Never gives up, never hurries.
    pub(super) async fn keep(&self, connector: &Connector) {
        let mut delays = Delays::default();
        let mut before = false;
        loop {
            let failure = match connector.connect().await {
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
                            self.link.send_replace(Link::Trying);
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
            let wait = delays.next();
            self.link.send_replace(Link::Down { failure: Arc::clone(&failure), next_try: Instant::now() + wait });
            self.tell_down(&failure);
            tokio::time::sleep(wait).await;
        }
    }

    async fn hold(&self, connector: &Connector, session: Session, again: bool) -> End {
        let session = Arc::new(session);
        self.link.send_replace(Link::Up(Arc::clone(&session)));
        self.state.send_replace(State::up());
        tracing::info!(downstream = %self.downstream, version = session.server.version, "connected");
        if again {
            // What changed meanwhile was told to nobody.
            connector.wire.list_changed();
        }
        tokio::select! {
            end = session.ended() => end,
            never = listener::listen(&connector.wire, &session) => match never {},
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

//! What is known of the way to a server: whether there is one, what calls are told while there is none, and what the operator sees.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::failure::Failure;
use crate::{AdapterError, ErrorClass, State};

/// How long calls wait for a new way in the place of a lost one.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What carries calls to a server until it ends.
pub(super) trait Carries: Send + Sync {
    /// Whether it is of no use any more.
    fn has_ended(&self) -> bool;
}

#[derive(Clone)]
enum Now<T> {
    /// A first attempt is under way, or what was lost is replaced at once: calls wait for how that ends.
    Trying {
        lost: Option<Arc<Failure>>,
    },
    Up(Arc<T>),
    /// Known to be down: calls fail at once.
    Down {
        failure: Arc<Failure>,
        next_try: Instant,
    },
    /// Weir is ending.
    Over,
}

/// The way to one server that everything shared takes.
pub(super) struct Link<T> {
    downstream: Arc<str>,
    now: watch::Sender<Now<T>>,
    state: watch::Sender<State>,
}

impl<T: Carries> Link<T> {
    pub(super) fn new(downstream: Arc<str>) -> Self {
        let (now, state) = (watch::Sender::new(Now::Trying { lost: None }), watch::Sender::new(State::starting()));
        Self { downstream, now, state }
    }

    /// The state as the operator sees it, now and later.
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// What carries a call now, waiting only for an attempt whose end calls are to wait for. Has no deadline of its own.
    pub(super) async fn usable(&self) -> Result<Arc<T>, AdapterError> {
        let mut now = self.now.subscribe();
        let settled = now.wait_for(|now| match now {
            Now::Trying { .. } => false,
            // It is about to be found out that this one is down, and why.
            Now::Up(carries) => !carries.has_ended(),
            Now::Down { .. } | Now::Over => true,
        });
        match settled.await.as_deref() {
            Ok(Now::Up(carries)) => Ok(Arc::clone(carries)),
            Ok(Now::Down { failure, next_try }) => Err(self.known_down(failure, *next_try)),
            Ok(Now::Trying { .. } | Now::Over) | Err(_) => {
                let message = format!("{} was taken out of service.", self.downstream);
                Err(AdapterError::not_sent(ErrorClass::Unreachable, message).known())
            }
        }
    }

    fn known_down(&self, failure: &Failure, next_try: Instant) -> AdapterError {
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
        AdapterError::not_sent(class, message).known().caused_by(failure.reason())
    }

    /// Calls go over this from now on.
    pub(super) fn up(&self, carries: Arc<T>) {
        // Both at once: whoever reads that it is up can use it, and whoever has used it reads that it is up.
        self.state.send_modify(|state| {
            self.now.send_replace(Now::Up(carries));
            *state = State::up();
        });
    }

    /// What was lost is replaced at once: calls wait for how that ends, within [`attempt`](Self::attempt).
    pub(super) fn trying(&self, lost: Arc<Failure>) {
        self.now.send_replace(Now::Trying { lost: Some(lost) });
    }

    /// Waits for an attempt to connect. Where it replaces what was lost and that takes its time, calls wait for it no longer.
    pub(super) async fn attempt<F: Future>(&self, connecting: F) -> F::Output {
        let mut connecting = std::pin::pin!(connecting);
        if let Ok(connected) = tokio::time::timeout(AT_ONCE, &mut connecting).await {
            return connected;
        }
        self.give_up_waiting();
        connecting.await
    }

    fn give_up_waiting(&self) {
        self.now.send_if_modified(|now| match now {
            Now::Trying { lost: Some(failure) } => {
                *now = Now::Down { failure: Arc::clone(failure), next_try: Instant::now() };
                true
            }
            Now::Trying { lost: None } | Now::Up(_) | Now::Down { .. } | Now::Over => false,
        });
    }

    /// It is down, and is tried again when this returns.
    pub(super) async fn wait(&self, failure: Arc<Failure>, wait: Duration) {
        // The state first: whoever was refused for it reads that it is down.
        self.tell_down(&failure);
        self.now.send_replace(Now::Down { failure, next_try: Instant::now() + wait });
        tokio::time::sleep(wait).await;
    }

    /// Tells whoever follows the state.
    pub(super) fn tell_down(&self, failure: &Failure) {
        let reason = failure.reason();
        self.state.send_if_modified(|state| state.turn_down(&reason));
    }

    /// Nothing carries calls any more: whoever waits learns it now.
    pub(super) fn close(&self) {
        self.now.send_replace(Now::Over);
    }
}

//! Whether a downstream can be reached: learned from traffic, and while it cannot, from a probe.

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    sync::{Notify, watch},
    time::timeout_at,
};

use crate::{AdapterEvent, Deadline, Health as Word, State, reconnect::Delays};

/// How long a list waits for the first probe: less than the router waits for first lists, or a system that hangs would hide
/// its tools.
const FIRST_PROBE: Duration = Duration::from_secs(1);

/// Whether a downstream can be reached.
#[derive(Debug)]
pub(crate) struct Health {
    state: watch::Sender<State>,
    suspected: Notify,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self { state: watch::Sender::new(State::starting()), suspected: Notify::new() }
    }

    /// It answered.
    pub(crate) fn up(&self) {
        self.state.send_if_modified(|state| {
            let changed = state.health != Word::Up;
            if changed {
                *state = State::up();
            }
            changed
        });
    }

    /// No connection could be made; `reason` is for the operator.
    pub(crate) fn down(&self, reason: &str) {
        self.state.send_if_modified(|state| state.turn_down(reason));
        self.suspect();
    }

    /// Something happened that a look at the downstream must explain.
    pub(crate) fn suspect(&self) {
        self.suspected.notify_one();
    }

    pub(crate) fn is_down(&self) -> bool {
        self.state.borrow().health == Word::Down
    }

    /// Whether it is known to be down for this `reason`, by its beginning.
    pub(crate) fn is_down_because(&self, reason: &str) -> bool {
        let state = self.state.borrow();
        state.health == Word::Down && state.reason.as_deref().is_some_and(|known| known.starts_with(reason))
    }

    /// Ends when it is known whether the downstream can be reached; after a second, or at `limit`, without knowing.
    pub(crate) async fn settled(&self, limit: Deadline) {
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| state.health != Word::Starting);
        _ = timeout_at(limit.within(FIRST_PROBE).at(), known).await;
    }

    /// The present state and each that follows.
    pub(crate) fn events(&self) -> BoxStream<'static, AdapterEvent> {
        let mut receiver = self.state.subscribe();
        receiver.mark_changed();
        stream::unfold(receiver, async |mut receiver| {
            receiver.changed().await.ok()?;
            let state = receiver.borrow_and_update().clone();
            Some((AdapterEvent::State(state), receiver))
        })
        .boxed()
    }
}

/// Looks at the downstream whenever there is a reason to, and until it answers. An error without a reason says nothing about it.
pub(crate) async fn watch<F>(health: Arc<Health>, probe: impl Fn() -> F)
where
    F: Future<Output = Result<(), Option<String>>>,
{
    let mut delays = Delays::default();
    loop {
        health.suspected.notified().await;
        while let Err(reason) = probe().await {
            if let Some(reason) = reason {
                health.down(&reason);
            }
            tokio::time::sleep(delays.next()).await;
        }
        delays.reset();
        health.up();
    }
}

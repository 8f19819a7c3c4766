//! Whether the database can be reached: learned from traffic, and while it cannot, from a probe.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{Pool, Timeouts};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::failure;
use crate::{AdapterEvent, Health as Word, State, reconnect::Delays};

/// Whether the database can be reached.
#[derive(Debug)]
pub(super) struct Health {
    state: watch::Sender<State>,
    suspected: Notify,
}

impl Health {
    pub(super) fn new() -> Self {
        Self { state: watch::Sender::new(State::starting()), suspected: Notify::new() }
    }

    /// It answered.
    pub(super) fn up(&self) {
        self.state.send_if_modified(|state| {
            let changed = state.health != Word::Up;
            if changed {
                *state = State::up();
            }
            changed
        });
    }

    /// No connection could be made; `reason` is for the operator.
    pub(super) fn down(&self, reason: &str) {
        self.state.send_if_modified(|state| {
            let changed = state.health != Word::Down || state.reason.as_deref() != Some(reason);
            if changed {
                // The reason may become another one; since when it is down does not.
                let since = if state.health == Word::Down { state.since } else { jiff::Timestamp::now() };
                *state = State { since, ..State::down(reason) };
            }
            changed
        });
        self.suspect();
    }

    /// Something happened that a look at the database must explain.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }

    pub(super) fn is_down(&self) -> bool {
        self.state.borrow().health == Word::Down
    }

    /// The present state and each that follows.
    pub(super) fn events(&self) -> BoxStream<'static, AdapterEvent> {
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

/// Looks at the database whenever there is a reason to, and until it answers.
pub(super) async fn watch(pool: Pool, health: Arc<Health>, connect_timeout: Duration) {
    let mut delays = Delays::default();
    loop {
        health.suspected.notified().await;
        while let Err(reason) = probe(&pool, connect_timeout).await {
            if let Some(reason) = reason {
                health.down(&reason);
            }
            tokio::time::sleep(delays.next()).await;
        }
        delays.reset();
        health.up();
    }
}

/// One cheap question. An error without a reason says nothing about the database: all connections were in use.
async fn probe(pool: &Pool, limit: Duration) -> Result<(), Option<String>> {
    let timeouts = Timeouts { wait: Some(limit), create: Some(limit), recycle: Some(limit) };
    let client = pool.timeout_get(&timeouts).await.map_err(|error| failure::why_unreachable(&error, limit))?;
    match timeout(limit, client.check_connection()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            drop(deadpool_postgres::Object::take(client));
            Err(Some("a connection was open but gave no answer".to_owned()))
        }
    }
}

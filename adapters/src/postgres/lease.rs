//! A connection that one call has for itself. Whatever becomes of the call, nothing of it reaches the next one.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{ClientWrapper, Object};
use tokio::{runtime::Handle, time::timeout};

use super::connect::Connector;
use crate::health::Health;

/// Undoes what a statement may have left in its session: settings, role, cursors, session locks, temporary tables, listening.
/// Prepared statements stay. For a transaction that is over.
const CLEAN: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD SEQUENCES; DISCARD TEMP";

/// How long undoing, or cancelling, may take before the connection is closed instead.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection of the pool while one call uses it. If it is dropped without one of the ends below, its statement is cancelled and the
/// connection closed: a cancel request may arrive late, and must not meet the statement of another call.
pub(super) struct Lease {
    client: Option<Object>,
    connector: Connector,
    health: Arc<Health>,
    runtime: Handle,
}

impl Lease {
    /// Must run inside a tokio runtime.
    pub(super) fn new(client: Object, connector: Connector, health: Arc<Health>) -> Self {
        Self { client: Some(client), connector, health, runtime: Handle::current() }
    }

    pub(super) fn client(&self) -> &ClientWrapper {
        self.client.as_ref().expect("there until the lease ends")
    }

    /// Gives the connection back as it is: no statement was executed on it.
    pub(super) fn unused(mut self) {
        self.client = None;
    }

    /// Closes the connection at once: nothing runs on it that would have to be cancelled.
    pub(super) fn close(mut self) {
        drop(Discarded(self.client.take()));
    }

    /// Gives the connection back clean, in the background: the caller need not wait.
    pub(super) fn settle(self, transaction: Transaction) {
        tokio::spawn(async move {
            let batch = match transaction {
                Transaction::Open => format!("ROLLBACK; {CLEAN}"),
                Transaction::Ended => CLEAN.to_owned(),
            };
            match timeout(SETTLE_TIMEOUT, self.client().batch_execute(&batch)).await {
                Ok(Ok(())) => self.unused(),
                Ok(Err(_)) | Err(_) => self.close(),
            }
        });
    }
}

/// Whether a transaction is to be ended. A read has nothing to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    Open,
    Ended,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        if client.is_closed() {
            self.health.suspect();
            drop(Discarded(Some(client)));
            return;
        }
        let connector = self.connector.clone();
        // The place in the pool stays taken until the statement is cancelled, so that there are never more connections than allowed.
        self.runtime.spawn(async move {
            let client = Discarded(Some(client));
            if let Some(client) = &client.0 {
                let _ = timeout(SETTLE_TIMEOUT, connector.cancel(&client.cancel_token())).await;
            }
        });
    }
}

/// A connection that never returns to the pool, whatever becomes of the task that holds it.
struct Discarded(Option<Object>);

impl Drop for Discarded {
    fn drop(&mut self) {
        self.0.take().map(Object::take);
    }
}

//! A ticketing service in the wire shape of Jira Cloud's REST API, version 3. It keeps a ledger of every write, pages
//! its searches, and tells those who ask too often to wait. Its tickets are about the customers of
//! [`customers`](crate::customers).
//!
//! | route under `/rest/api/3` | |
//! |---|---|
//! | `POST search/jql` | a subset of JQL, pages by `nextPageToken`; a query without any restriction is refused |
//! | `search` | 410, as since 2025 |
//! | `POST issue`, `GET issue/{key}` | descriptions and comments are ADF documents |
//! | `GET`, `POST issue/{key}/transitions` | To Do → In Progress → Done, and back by reopening |
//! | `GET`, `POST issue/{key}/comment` | |
//! | `GET issue/{key}/properties/{name}`, `GET comment/{id}/properties/{name}` | what `properties` of a new one said |
//! | `GET myself`, `GET user/search` | |
//!
//! `GET /__ledger` and `POST /__trouble` are for whoever plays with it.

mod adf;
mod generate;
mod jql;
mod routes;
mod shape;
mod store;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::customers::SEED;
use crate::faults::Troubles;
use crate::listener::Running;
use crate::observed::Observed;
use store::Store;

pub use crate::faults::{Trouble, TroubleKind};
pub use crate::web::Recorded;

/// How many tickets there are at the start, over all projects.
pub const TICKETS: usize = 200;

/// What kind of service to be.
#[derive(Clone)]
pub struct TicketsOptions {
    /// The account that calls; it is also who writes.
    pub user: String,
    /// Only the user with this token is served, by basic authentication. Nothing: everybody is served.
    pub token: Option<String>,
    /// The first one has most of the tickets.
    pub projects: Vec<String>,
    pub seed: u64,
    /// The most issues that a page has, whatever is asked for.
    pub page_max: usize,
}

impl Default for TicketsOptions {
    fn default() -> Self {
        Self {
            user: "bot@example.com".to_owned(),
            token: None,
            projects: vec!["SUP".to_owned(), "OPS".to_owned()],
            seed: SEED,
            page_max: 50,
        }
    }
}

impl fmt::Debug for TicketsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketsOptions")
            .field("user", &self.user)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("projects", &self.projects)
            .field("seed", &self.seed)
            .field("page_max", &self.page_max)
            .finish()
    }
}

/// What the service saw.
#[derive(Clone, Debug, Default)]
pub struct TicketsSeen {
    /// The first hundred thousand.
    pub requests: Vec<Recorded>,
    /// Every write that was done, in order; the first hundred thousand.
    pub ledger: Vec<LedgerEntry>,
    pub running: usize,
    pub finished: u64,
    /// Requests whose caller was gone first.
    pub dropped: u64,
    /// Requests that were told to wait.
    pub limited: u64,
}

/// A write that was done.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerEntry {
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    pub method: String,
    pub path: String,
    /// Of the ticket.
    pub key: String,
    pub what: What,
    /// Of the request.
    pub body: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Created,
    Transitioned { from: String, to: String },
    Commented,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// The service. Stops on drop.
pub struct Tickets {
    pub addr: SocketAddr,
    /// Without a path: `http://127.0.0.1:PORT`.
    pub url: String,
    inner: Arc<Inner>,
    running: Running,
}

struct Inner {
    options: TicketsOptions,
    store: Mutex<Store>,
    limit: Mutex<Limit>,
    troubles: Troubles,
    observed: Observed<TicketsSeen>,
}

/// How many of the next requests are told to wait, for how long, and why.
#[derive(Clone, Debug, Default)]
struct Limit {
    requests: usize,
    retry_after_s: u64,
    reason: String,
}

impl Tickets {
    /// Port 0 chooses a free one.
    pub async fn start(bind: &str, options: TicketsOptions) -> Result<Self> {
        anyhow::ensure!(!options.projects.is_empty(), "a ticketing service has at least one project");
        let inner = Arc::new(Inner {
            store: Mutex::new(Store::generate(&options)),
            options,
            limit: Mutex::default(),
            troubles: Troubles::default(),
            observed: Observed::default(),
        });
        let running = crate::web::serve(inner.clone(), bind).await?;
        Ok(Self { addr: running.addr, url: format!("http://{}", running.addr), inner, running })
    }

    pub fn seen(&self) -> TicketsSeen {
        self.inner.observed.get()
    }

    /// Waits until the service has seen something; an error after ten seconds.
    pub async fn wait_until(&self, reached: impl FnMut(&TicketsSeen) -> bool) -> Result<TicketsSeen> {
        self.inner.observed.wait_until(reached).await?;
        Ok(self.seen())
    }

    /// So many of the next requests are answered with 429 and not carried out. `reason` as in `RateLimit-Reason`:
    /// `jira-burst-based`, `jira-per-issue-on-write`, `jira-quota-tenant-based`.
    pub fn limit_next(&self, requests: usize, retry_after_s: u64, reason: &str) {
        *self.inner.limit.lock().unwrap_or_else(PoisonError::into_inner) =
            Limit { requests, retry_after_s, reason: reason.to_owned() };
    }

    /// Replaces the trouble.
    pub fn trouble(&self, trouble: Trouble) {
        self.inner.troubles.set(trouble);
    }

    /// Whether who connects is refused. Connections that are open go on. Returns when the change is effective.
    pub async fn refuse(&self, refuse: bool) -> Result<()> {
        self.running.refuse(refuse).await
    }

    /// Hangs up on everybody without a word. Whoever connects again is served.
    pub fn drop_connections(&self) {
        self.running.drop_connections();
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("url", &self.url).field("options", &self.inner.options).finish_non_exhaustive()
    }
}

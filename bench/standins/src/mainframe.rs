//! A legacy system over HTTP, as a company has one since 1987: records of fixed width in EBCDIC, error screens with
//! status 200, a handful of tasks at once, and seconds for each answer. What it knows agrees with the tables of
//! [`customers`](crate::customers) for the same seed.
//!
//! | route | answer |
//! |---|---|
//! | `GET /cics/acct/{number}` | one record by [`ACCOUNT_COPYBOOK`] |
//! | `GET /cics/hist/{number}?from=YYYYMMDD&max=N` | records by [`HISTORY_COPYBOOK`], newest first; maybe none |
//! | `GET /orders/{order_id}/status` | JSON, `rc` "00" with `order`, or "04" where there is none |
//! | `POST /batch/jobs` | a form with `job` and `parm`; JSON with `job_id` and `status` |
//! | `GET /batch/jobs/{id}` | JSON with `status`, `return_code`, and `output` when it has ended |
//! | `GET /__seen`, `POST /__trouble` | for whoever plays with it |
//!
//! An unknown account is the screen `DFHAC2206 … ACCOUNT NOT FOUND`: EBCDIC of the same media type as a record at
//! `/cics/acct`, HTML at `/cics/hist`. So are `SYSTEM BUSY - MAXTASK REACHED` and `TRANSACTION ABEND ASRA`; the JSON
//! routes show them as HTML.

mod accounts;
mod ebcdic;
mod jobs;
mod routes;
mod screens;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, atomic::Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Semaphore;

use crate::customers::SEED;
use crate::faults::Troubles;
use crate::listener::Running;
use crate::observed::Observed;
use crate::random::Random;
use accounts::Accounts;
use jobs::Jobs;

pub use crate::faults::{Trouble, TroubleKind};
pub use crate::web::Recorded;
pub use jobs::{Job, JobStatus};

/// The layout of an account: 192 bytes.
pub const ACCOUNT_COPYBOOK: &str = include_str!("mainframe/ACCTREC.cpy");
/// The layout of one entry of an account: 72 bytes.
pub const HISTORY_COPYBOOK: &str = include_str!("mainframe/HISTREC.cpy");

/// What kind of mainframe to be.
#[derive(Clone)]
pub struct MainframeOptions {
    /// How long an answer takes. What a request does is done at once.
    pub delay: RangeInclusive<Duration>,
    /// How many requests are worked on at once. More are told so by a screen.
    pub concurrency: usize,
    pub seed: u64,
    /// Only callers with this bearer token are served.
    pub bearer: Option<String>,
    /// Only this user with this password is served.
    pub basic: Option<(String, String)>,
    /// How long a job waits, and then how long it runs. Nothing: until [`Mainframe::advance_jobs`].
    pub job_step: Option<Duration>,
}

impl Default for MainframeOptions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO..=Duration::ZERO,
            concurrency: 8,
            seed: SEED,
            bearer: None,
            basic: None,
            job_step: None,
        }
    }
}

impl fmt::Debug for MainframeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MainframeOptions")
            .field("delay", &self.delay)
            .field("concurrency", &self.concurrency)
            .field("seed", &self.seed)
            .field("bearer", &self.bearer.as_ref().map(|_| "…"))
            .field("basic", &self.basic.as_ref().map(|_| "…"))
            .field("job_step", &self.job_step)
            .finish()
    }
}

/// What the mainframe saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The first hundred thousand.
    pub requests: Vec<Recorded>,
    /// Requests whose answer is not there yet, with those that are only told that there are too many.
    pub running: usize,
    pub running_max: usize,
    pub finished: u64,
    /// Requests whose caller was gone first.
    pub dropped: u64,
    /// Requests that were told that there are too many.
    pub over_limit: u64,
    pub jobs: Vec<Job>,
}

/// The mainframe. Stops on drop.
pub struct Mainframe {
    pub addr: SocketAddr,
    /// Without a path: `http://127.0.0.1:PORT`.
    pub url: String,
    inner: Arc<Inner>,
    running: Running,
}

struct Inner {
    options: MainframeOptions,
    accounts: Accounts,
    jobs: Mutex<Jobs>,
    tasks: Semaphore,
    delays: Mutex<Random>,
    abends: AtomicU32,
    troubles: Troubles,
    observed: Observed<Seen>,
}

impl Mainframe {
    /// Port 0 chooses a free one.
    pub async fn start(bind: &str, options: MainframeOptions) -> Result<Self> {
        let inner = Arc::new(Inner {
            accounts: Accounts::generate(options.seed),
            jobs: Mutex::default(),
            tasks: Semaphore::new(options.concurrency),
            delays: Mutex::new(Random::new(options.seed, "delays")),
            abends: AtomicU32::new(0),
            troubles: Troubles::default(),
            observed: Observed::default(),
            options,
        });
        let running = crate::web::serve(inner.clone(), bind).await?;
        Ok(Self { addr: running.addr, url: format!("http://{}", running.addr), inner, running })
    }

    pub fn seen(&self) -> Seen {
        self.inner.refresh_jobs();
        self.inner.observed.get()
    }

    /// Waits until the mainframe has seen something; an error after ten seconds.
    pub async fn wait_until(&self, reached: impl FnMut(&Seen) -> bool) -> Result<Seen> {
        self.inner.observed.wait_until(reached).await?;
        Ok(self.seen())
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

    /// So many of the next requests end with the screen of an abend, and do nothing.
    pub fn abend_next(&self, requests: u32) {
        self.inner.abends.store(requests, Ordering::Relaxed);
    }

    /// Every job makes its next step, from submitted to running to ended.
    pub fn advance_jobs(&self) {
        self.inner.change_jobs(Jobs::advance);
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}

impl fmt::Debug for Mainframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mainframe")
            .field("url", &self.url)
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

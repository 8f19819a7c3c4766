//! Start and stop: listeners, and the order in which things end.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use adapters::{BuildError, OutgoingError};
use cache::redis::{LinkState, Redis};
use futures_util::future::join_all;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    Live, Router, admin, auth,
    definitions::LockError,
    reload::{Refused, Reloader},
    server::{
        self,
        tls::{self, Tls},
    },
};

/// Why the router does not start: what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting of a downstream makes no sense.
    #[error("{0}")]
    Downstream(#[from] BuildError),
    /// There can be no audit log.
    #[error(transparent)]
    Audit(#[from] crate::audit::OpenError),
    /// The address of Redis cannot be used.
    #[error("redis.url: {0}")]
    Redis(#[source] cache::redis::SettingsError),
    /// The address of the second Redis cannot be used.
    #[error("redis.state_url: {0}")]
    StateRedis(#[source] cache::redis::SettingsError),
    /// The file of approved definitions cannot be used.
    #[error("definitions.lock: {0}")]
    Definitions(#[source] LockError),
    /// An address cannot be listened on.
    #[error("{setting}: cannot listen on {address} ({source}): choose another port, or stop what uses it")]
    Listen {
        /// `server.listen` or `server.admin`.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Conditions of the policy make no sense.
    #[error("{0}; `weir check` shows each with its place")]
    Policy(String),
    /// The secret of the webhook is not what it says.
    #[error(
        "cache.webhook.secret: begins with `whsec_`, and the rest of it is no base64: copy it as a whole, or choose a text that begins otherwise"
    )]
    Webhook,
    /// The keys of an authorization server cannot be asked for.
    #[error("identity.jwt: the issuer {issuer}: {source}")]
    Issuer {
        /// As the config has it.
        issuer: String,
        /// What is wrong with its settings.
        source: OutgoingError,
    },
    /// Certificate or key cannot be used.
    #[error("server.tls: {0}")]
    Tls(String),
    /// What vouches for client certificates cannot be used.
    #[error("identity.mtls.{0}")]
    Mtls(String),
}

/// How long a start waits for a Redis of which nothing is heard.
const REDIS_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long calls that are cut off may take to leave their records, and those to reach the disk.
const CUT_OFF: Duration = Duration::from_millis(500);

/// A router that listens.
#[derive(Debug)]
pub struct Running {
    /// Where callers are served.
    pub callers: SocketAddr,
    /// Where operators are served.
    pub admin: SocketAddr,
    live: Arc<Live>,
    reloader: Arc<Reloader>,
    readiness: Arc<Readiness>,
    stop_accepting: CancellationToken,
    stop_admin: CancellationToken,
    serving: JoinHandle<()>,
    serving_admin: JoinHandle<()>,
}

/// Whether new work is welcome.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    is_draining: AtomicBool,
    draining: CancellationToken,
}

impl Readiness {
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Until it is not.
    pub(crate) async fn draining(&self) {
        self.draining.cancelled().await;
    }

    fn fail(&self) {
        self.is_draining.store(true, Ordering::Release);
        self.draining.cancel();
    }
}

/// Starts everything that `weir serve` needs: listens and serves at once; the lists of the downstreams arrive in the background.
///
/// # Errors
/// [`StartError`] names the setting and what to do.
pub async fn start(loaded: config::Loaded, surroundings: config::Surroundings) -> Result<Running, StartError> {
    let settings = &loaded.config.server;
    let certified = settings.tls.as_ref().map(|tls| tls::read(tls, &loaded.sources.base)).transpose()?;
    let listener = listen("server.listen", settings.listen).await?;
    let admin_listener = listen("server.admin", settings.admin).await?;
    let (callers, admin) = (local_address(&listener, settings.listen), local_address(&admin_listener, settings.admin));
    let router = Router::new(&loaded, &surroundings)?;
    let tls = certified.map(|certified| Arc::new(Tls::new(certified, router.authenticator.certificates())));
    if router.cache.redis().is_some() {
        router.follow_changes();
    }
    router.gatekeeper.listens_on(callers);
    router.operators_gate.listens_on(admin);
    redis_is_tried(&router).await;
    router.audit.started(&router.config);
    let live = Live::new(router);
    let recorder = auth::record_always(live.clone());
    let closing = live.router().closing.clone();
    tokio::spawn(async move { closing.run_until_cancelled(recorder).await });

    let readiness = Arc::<Readiness>::default();
    let (stop_accepting, stop_admin) = (CancellationToken::new(), CancellationToken::new());
    let serving =
        tokio::spawn(server::serve(live.clone(), listener, tls.clone(), readiness.clone(), stop_accepting.clone()));
    let operator = admin::Operator::new(live.clone(), readiness.clone(), surroundings.admin_token.clone(), admin);
    let serving_admin = tokio::spawn(admin::serve(operator, admin_listener, stop_admin.clone()));
    if surroundings.admin_token.is_none() {
        tracing::info!("WEIR_ADMIN_TOKEN is not set: on the admin listener only probes and metrics are served");
    }
    let reloader = Arc::new(Reloader::new(live.clone(), tls, readiness.clone(), loaded.sources.fetched()));
    Ok(Running { callers, admin, live, reloader, readiness, stop_accepting, stop_admin, serving, serving_admin })
}

impl Running {
    /// The router behind the listeners, as it is now.
    #[must_use]
    pub fn router(&self) -> Arc<Router> {
        self.live.router()
    }

    /// Waits until every downstream has been listed once; false when that takes longer than `within`.
    pub async fn catalog_ready(&self, within: Duration) -> bool {
        self.router().catalog.listed(Instant::now() + within).await
    }

    /// Reads the config at `path` again and puts it in force, or leaves everything as it is.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn read_again(&self, path: &Path) -> Result<(), Arc<Refused>> {
        self.reloader.read_again(path).await
    }

    /// From now on the config at `path` is read again whenever it has changed, or a file that it refers to, and whenever somebody asked.
    pub fn follow_config(&self, path: PathBuf, asked: Arc<Notify>) {
        let (reloader, closing) = (self.reloader.clone(), self.router().closing.clone());
        tokio::spawn(async move { closing.run_until_cancelled(Box::pin(reloader.follow(&path, &asked))).await });
    }

    /// Ends what runs at once: it is cut off, its audit records are on the disk.
    pub fn cut_off(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let live = self.live.clone();
        async move {
            let router = live.router();
            router.out_of_time.cancel();
            let over = async {
                while router.calls.taken() > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let _ = tokio::time::timeout(CUT_OFF, over).await;
            router.audit.flush(CUT_OFF).await;
        }
    }

    /// Readiness fails from now on; work is still accepted.
    pub fn begin_drain(&self) {
        self.readiness.fail();
    }

    /// Drains and ends: a grace in which work is still accepted, then no more of it, then running calls finish within their time.
    pub async fn stop(self) {
        self.begin_drain();
        let (grace, drain, running) = {
            let router = self.router();
            (router.config.server.grace.0, router.config.server.drain.0, router.calls.taken())
        };
        if running > 0 {
            tracing::info!(running, "draining");
        }
        tokio::time::sleep(grace).await;
        self.finish(drain).await;
    }

    /// Ends without a grace, for tests and the demo: running calls still finish.
    pub async fn stop_now(self) {
        self.begin_drain();
        self.finish(Duration::from_secs(1)).await;
    }

    async fn finish(self, drain: Duration) {
        let _as_it_is = self.reloader.no_more().await;
        let router = self.live.router();
        self.stop_accepting.cancel();
        // Streams end first: a connection lives as long as the streams on it.
        router.closing.cancel();
        let until = Instant::now() + drain;
        let mut serving = self.serving;
        if tokio::time::timeout_at(until, &mut serving).await.is_err() {
            router.out_of_time.cancel();
            let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
        }
        router.finish(until.saturating_duration_since(Instant::now())).await;
        self.stop_admin.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.serving_admin).await;
    }
}

/// Waits until Redis is there, or known not to be. What is fetched without it is shared with nobody: replicas that restart together would ask
/// the downstreams for all that lies there. Who connects meanwhile waits in the queue of the listener.
async fn redis_is_tried(router: &Router) {
    let tried = router.redis().map(|(_, redis)| {
        let mut link = redis.link_changes();
        async move { link.wait_for(|link| link.state != LinkState::Connecting).await.is_ok() }
    });
    if tokio::time::timeout(REDIS_WAIT_MAX, join_all(tried)).await.is_err() {
        tracing::warn!("nothing is heard of Redis; serving without it until it is there");
    } else if router.state.as_ref().is_some_and(Redis::is_up) {
        // What was revoked elsewhere while this replica was down.
        router.revocations.heard(REDIS_WAIT_MAX).await;
        // And what was approved.
        router.definitions().board().look().await;
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { setting, address, source })
}

fn local_address(listener: &TcpListener, configured: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(configured)
}

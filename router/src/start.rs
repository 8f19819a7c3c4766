//! Start and stop: listeners, and the order in which things end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use adapters::BuildError;
use cache::redis::LinkState;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{Router, admin, server};

/// Why the router does not start: what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting of a downstream makes no sense.
    #[error("{0}")]
    Downstream(#[from] BuildError),
    /// The audit folder cannot be written.
    #[error("audit.dir: the folder cannot be written ({source}): mend it, or choose another one")]
    Audit {
        /// What the system said.
        source: std::io::Error,
    },
    /// The address of Redis cannot be used.
    #[error("redis.url: {0}")]
    Redis(#[source] cache::redis::SettingsError),
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
    /// The secret of the webhook is not what it says.
    #[error(
        "cache.webhook.secret: begins with `whsec_`, and the rest of it is no base64: copy it as a whole, or choose a text that begins otherwise"
    )]
    Webhook,
    /// Certificate or key cannot be used.
    #[error("server.tls: {0}")]
    Tls(String),
}

/// How long a start waits for a Redis of which nothing is heard.
const REDIS_WAIT_MAX: Duration = Duration::from_secs(2);

/// A router that listens.
#[derive(Debug)]
pub struct Running {
    /// Where callers are served.
    pub callers: SocketAddr,
    /// Where operators are served.
    pub admin: SocketAddr,
    router: Arc<Router>,
    readiness: Arc<Readiness>,
    stop_accepting: CancellationToken,
    stop_admin: CancellationToken,
    serving: JoinHandle<()>,
    serving_admin: JoinHandle<()>,
}

/// Whether new work is welcome.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicBool);

impl Readiness {
    pub(crate) fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Starts everything that `weir serve` needs: listens and serves at once; the lists of the downstreams arrive in the background.
///
/// # Errors
/// [`StartError`] names the setting and what to do.
pub async fn start(loaded: config::Loaded, surroundings: config::Surroundings) -> Result<Running, StartError> {
    let settings = &loaded.config.server;
    let tls = settings.tls.as_ref().map(|tls| server::tls_acceptor(tls, &loaded.base)).transpose()?;
    let listener = listen("server.listen", settings.listen).await?;
    let admin_listener = listen("server.admin", settings.admin).await?;
    let (callers, admin) = (local_address(&listener, settings.listen), local_address(&admin_listener, settings.admin));
    let router = Router::new(&loaded, &surroundings)?;
    if router.cache.redis().is_some() {
        router.follow_changes();
    }
    router.gatekeeper.listens_on(callers);
    redis_is_tried(&router).await;

    let readiness = Arc::<Readiness>::default();
    let (stop_accepting, stop_admin) = (CancellationToken::new(), CancellationToken::new());
    let serving = tokio::spawn(server::serve(router.clone(), listener, tls, readiness.clone(), stop_accepting.clone()));
    let operator = admin::Operator::new(router.clone(), readiness.clone(), surroundings.admin_token.clone(), admin);
    let serving_admin = tokio::spawn(admin::serve(operator, admin_listener, stop_admin.clone()));
    if surroundings.admin_token.is_none() {
        tracing::info!("WEIR_ADMIN_TOKEN is not set: on the admin listener only probes and metrics are served");
    }
    Ok(Running { callers, admin, router, readiness, stop_accepting, stop_admin, serving, serving_admin })
}

impl Running {
    /// The router behind the listeners.
    #[must_use]
    pub fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// Waits until every downstream has been listed once; false when that takes longer than `within`.
    pub async fn catalog_ready(&self, within: Duration) -> bool {
        self.router.catalog.listed(Instant::now() + within).await
    }

    /// Readiness fails from now on; work is still accepted.
    pub fn begin_drain(&self) {
        self.readiness.0.store(true, Ordering::Release);
    }

    /// Drains and ends: a grace in which work is still accepted, then no more of it, then running calls finish within their time.
    pub async fn stop(self) {
        self.begin_drain();
        let (grace, drain) = (self.router.config.server.grace.0, self.router.config.server.drain.0);
        if self.router.calls.taken() > 0 {
            tracing::info!(running = self.router.calls.taken(), "draining");
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
        self.stop_accepting.cancel();
        // Streams end first: a connection lives as long as the streams on it.
        self.router.closing.cancel();
        let until = Instant::now() + drain;
        let mut serving = self.serving;
        if tokio::time::timeout_at(until, &mut serving).await.is_err() {
            self.router.out_of_time.cancel();
            let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
        }
        self.router.finish(until.saturating_duration_since(Instant::now())).await;
        self.stop_admin.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(1), self.serving_admin).await;
    }
}

/// Waits until Redis is there, or known not to be. What is fetched without it is shared with nobody: replicas that restart together would ask
/// the downstreams for all that lies there. Who connects meanwhile waits in the queue of the listener.
async fn redis_is_tried(router: &Router) {
    let Some(redis) = router.cache.redis() else { return };
    let mut link = redis.link_changes();
    let tried = link.wait_for(|link| link.state != LinkState::Connecting);
    if tokio::time::timeout(REDIS_WAIT_MAX, tried).await.is_err() {
        tracing::warn!("nothing is heard of Redis; serving without it until it is there");
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { setting, address, source })
}

fn local_address(listener: &TcpListener, configured: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(configured)
}

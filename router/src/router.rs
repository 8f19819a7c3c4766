//! What all calls share.

use std::{path::PathBuf, sync::Arc, time::Duration};

use cache::{Bounds, Cache, KeyMaker, Pages, Tags, redis::Redis};
use config::Config;
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Downstream, StartError,
    audit::Audit,
    auth::Authenticator,
    call::SharedAnswer,
    catalog::{self, Catalog},
    front::Gatekeeper,
    invalidate::{self, StrictFamilies, Webhook},
    limit::Slots,
    mcp::Sessions,
    pages,
    policy::Policy,
    seal::Masters,
    server::body::Room,
    shared, telemetry,
};

/// How long dropped calls may take to leave their records.
const SETTLE: Duration = Duration::from_secs(1);
/// How long downstreams may take to end what they keep running; each knows a shorter time itself.
const CLOSE: Duration = Duration::from_secs(40);
/// How long the last audit records may take to the disk.
const FLUSH: Duration = Duration::from_secs(5);
/// How many tags are known at once where there is no Redis. The entries of one that is forgotten are dead.
const TAGS_MAX: usize = 100_000;

/// What all calls share: the catalog, the policy, the limits, the audit log.
#[derive(Debug)]
pub struct Router {
    pub(crate) config: Config,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) policy: Policy,
    pub(crate) authenticator: Authenticator,
    pub(crate) gatekeeper: Gatekeeper,
    pub(crate) sessions: Sessions,
    pub(crate) calls: Slots,
    pub(crate) body_room: Room,
    pub(crate) audit: Arc<Audit>,
    /// The results that tools gave before.
    pub(crate) cache: Cache<SharedAnswer>,
    pub(crate) cache_keys: KeyMaker,
    /// The rest of long answers.
    pub(crate) pages: Arc<Pages>,
    /// What cached answers are about.
    pub(crate) tags: Tags,
    pub(crate) strict: Arc<StrictFamilies>,
    /// Where other systems may say what changed.
    pub(crate) webhook: Option<Webhook>,
    /// Calls that have a task of their own: those that outlive their callers' connections, and those whose answers are streams.
    pub(crate) tasks: TaskTracker,
    /// Fires when the time for running calls is over: what still runs is dropped, and its record says so.
    pub(crate) out_of_time: CancellationToken,
    /// Fires when the router goes down: streams end, background work stops.
    pub(crate) closing: CancellationToken,
    pub(crate) downstreams: Vec<Arc<Downstream>>,
}

/// One tool of the catalog, for the operator.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ToolLine {
    /// What callers see.
    pub name: String,
    /// The downstream that has it.
    pub downstream: String,
    /// What the downstream calls it.
    pub local_name: String,
    /// Whether `name` stands for a name that clients would refuse.
    pub alias: bool,
    /// What calling it does.
    pub effect: &'static str,
}

impl Router {
    /// Makes the router of a checked config and begins to list its downstreams. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When an adapter's settings make no sense, or the audit folder cannot be written.
    pub fn new(loaded: &config::Loaded, surroundings: &config::Surroundings) -> Result<Arc<Self>, StartError> {
        telemetry::recorder();
        let config = loaded.config.clone();
        let mut downstreams = Vec::with_capacity(config.downstreams.len());
        for (name, settings) in &config.downstreams {
            downstreams.push(Arc::new(Downstream::new(name, settings, &loaded.base, &config.cache.strict)?));
        }
        let audit_dir: Option<PathBuf> = config.audit.dir.as_ref().map(|dir| loaded.base.join(dir));
        let masters = Masters::new(surroundings);
        let redis = shared::redis(&config, surroundings)?;
        let tags = match (&redis, &config.redis) {
            (Some(redis), Some(settings)) => Tags::shared(redis.clone(), TAGS_MAX, settings.command_timeout.0),
            _ => Tags::in_memory(TAGS_MAX),
        };
        let pages = Arc::new(pages::store(masters.store_sealer("cache/page", pages::ANSWER_BYTES_MAX), redis.clone()));
        let own = pages::own_tools(&config, &pages).map(Arc::new);
        let catalog = Arc::new(Catalog::new(config.names.clone(), config.deadlines.clone(), downstreams.clone(), own));
        let router = Arc::new(Self {
            policy: Policy::new(&config.policy),
            authenticator: Authenticator::new(&config.identity, &surroundings.keys),
            gatekeeper: Gatekeeper::new(&config.server),
            sessions: Sessions::new(masters.sealer("session")),
            calls: Slots::new(config.server.calls_max),
            body_room: Room::new(config.server.body_bytes_max.bytes()),
            audit: Audit::open(audit_dir.as_deref()).map_err(|source| StartError::Audit { source })?,
            cache: result_cache(&config.cache, &masters, tags.clone(), redis),
            cache_keys: masters.store_keys("cache/key"),
            pages,
            tags,
            strict: Arc::new(StrictFamilies::new(&config.cache)),
            webhook: surroundings
                .webhook_secret
                .as_ref()
                .map(|secret| Webhook::new(secret).ok_or(StartError::Webhook))
                .transpose()?,
            tasks: TaskTracker::new(),
            out_of_time: CancellationToken::new(),
            closing: CancellationToken::new(),
            catalog: catalog.clone(),
            downstreams: downstreams.clone(),
            config,
        });
        for downstream in downstreams {
            let keeper = catalog::keep_fresh(Arc::downgrade(&catalog), downstream);
            let closing = router.closing.clone();
            tokio::spawn(async move { closing.run_until_cancelled(keeper).await });
        }
        if router.cache.redis().is_none() {
            router.follow_changes();
        }
        Ok(router)
    }

    /// Ends cached answers when downstreams say so. Whoever begins to listen cannot know what was said before, and ends more: so where
    /// answers are shared, only the processes that serve do it, and not each command that makes a router for one call.
    pub(crate) fn follow_changes(&self) {
        for downstream in &self.downstreams {
            let follower = invalidate::follow(self.tags.clone(), self.strict.clone(), downstream.clone());
            let closing = self.closing.clone();
            tokio::spawn(async move { closing.run_until_cancelled(follower).await });
        }
    }

    /// Every tool of the catalog, for the operator.
    #[must_use]
    pub fn tools(&self) -> Vec<ToolLine> {
        let line = |tool: &Arc<catalog::Tool>| ToolLine {
            name: tool.name.shown.to_string(),
            downstream: tool.name.downstream.to_string(),
            local_name: tool.name.local.to_string(),
            alias: tool.name.is_alias,
            effect: tool.effect.as_str(),
        };
        self.catalog.view().tools().iter().map(line).collect()
    }

    /// The configured downstreams, in the order of the config.
    #[must_use]
    pub fn downstreams(&self) -> &[Arc<Downstream>] {
        &self.downstreams
    }

    /// Ends what runs: calls may finish within `drain`, what is left then is dropped, the audit records are on their way to the disk,
    /// and child processes are gone.
    /// No new call is taken in any more by a listener of this router when this is called.
    pub async fn finish(&self, drain: Duration) {
        let until = Instant::now() + drain;
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(drain, self.tasks.wait()).await.is_err() {
            tracing::warn!("some calls did not end in the time that server.drain gives them");
            self.out_of_time.cancel();
            let _ = tokio::time::timeout(SETTLE, self.tasks.wait()).await;
        }
        // Fetches that go on for others have the rest of the drain.
        self.cache.finish(until.saturating_duration_since(Instant::now())).await;
        let closing = join_all(self.downstreams.iter().map(|downstream| downstream.adapter.close()));
        let (_, closed) = tokio::join!(self.audit.flush(FLUSH), tokio::time::timeout(CLOSE, closing));
        if closed.is_err() {
            tracing::warn!("some downstreams did not end what they keep running");
        }
    }

    /// [`finish`](Self::finish) within the time that `server.drain` gives.
    pub async fn drain(&self) {
        self.finish(self.config.server.drain.0).await;
    }

    /// Runs a call in a task of its own, for which the end of the router waits.
    pub(crate) fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        let out_of_time = self.out_of_time.clone();
        self.tasks.spawn(async move { out_of_time.run_until_cancelled(call).await });
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// The merged list of tools.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

fn result_cache(settings: &config::Cache, masters: &Masters, tags: Tags, redis: Option<Redis>) -> Cache<SharedAnswer> {
    let value_bytes_max = settings.value_bytes_max.bytes();
    let bounds = Bounds { flights_max: settings.fetches_max, waiters_max: settings.waiters_max };
    let local_bytes_max = settings.local_bytes_max.bytes() as u64;
    let sealer = masters.store_sealer("cache/value", value_bytes_max);
    let settings = cache::Settings { local_bytes_max, value_bytes_max, lease: settings.lease.0, bounds };
    Cache::new(settings, tags, redis, sealer)
}

//! What all calls share.

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use cache::{Approvals, Bounds, Cache, KeyMaker, Nonces, Pages, Revocations, Tags, limits::Limiter, redis::Redis};
use config::{Config, DownstreamName};
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    Downstream, StartError,
    audit::Audit,
    auth::{Authenticator, Tokens},
    call::SharedAnswer,
    catalog::{self, Catalog},
    definitions::{self, Board, Definitions},
    downstream::{Hold, Revision},
    front::Gatekeeper,
    invalidate::{self, StrictFamilies, Webhook},
    limits::Limits,
    masking::{AuditMask, Masking},
    mcp::Sessions,
    operations::Operations,
    own, pages,
    policy::Policy,
    seal::Masters,
    server::body::Room,
    settled::Settled,
    shared,
    shed::Shed,
    telemetry,
};

/// How long dropped calls may take to leave their records.
const SETTLE: Duration = Duration::from_secs(1);
/// How long downstreams may take to end what they keep running; each knows a shorter time itself.
const CLOSE: Duration = Duration::from_secs(40);
/// How long the last audit records may take to the disk.
const FLUSH: Duration = Duration::from_secs(5);
/// How many tags are known at once where there is no Redis. The entries of one that is forgotten are dead.
const TAGS_MAX: usize = 100_000;

/// What all calls share under one config: the catalog, the policy, the limits, the audit log. When the config changes, another router
/// takes its place and takes over what outlives the change.
#[derive(Debug)]
pub struct Router {
    pub(crate) config: Config,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) authenticator: Authenticator,
    /// Which keys do not count any more, and when each was used last.
    pub(crate) revocations: Revocations,
    /// Which signed requests were sent before.
    pub(crate) nonces: Nonces,
    pub(crate) gatekeeper: Gatekeeper,
    /// The one of the operator's listener.
    pub(crate) operators_gate: Gatekeeper,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) calls: Shed,
    /// What is counted, and the permits of downstreams.
    pub(crate) limiter: Limiter,
    pub(crate) limits: Limits,
    pub(crate) body_room: Arc<Room>,
    pub(crate) audit: Arc<Audit>,
    /// What log and audit may not hold.
    pub(crate) audit_mask: Arc<AuditMask>,
    /// What callers may not see.
    pub(crate) masking: Arc<Masking>,
    /// Where limits, permits and writes are kept; the cache's own Redis unless the config names a second.
    pub(crate) state: Option<Redis>,
    /// The results that tools gave before.
    pub(crate) cache: Cache<SharedAnswer>,
    pub(crate) cache_keys: Arc<KeyMaker>,
    /// The rest of long answers.
    pub(crate) pages: Arc<Pages>,
    /// What is kept of writes.
    pub(crate) operations: Operations,
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
    pub(crate) downstreams: Arc<[Arc<Downstream>]>,
    /// Downstreams of configs before, whose last calls still run.
    pub(crate) retired: TaskTracker,
    /// What was settled at the start.
    pub(crate) settled: Arc<Settled>,
    /// The settings whose new values wait for the next start.
    pub(crate) waiting: Vec<&'static str>,
    _holds: Vec<Hold>,
    /// When the last router of the process is gone, so is what works for it in the background.
    _end: Arc<DropGuard>,
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
        Self::with(loaded, surroundings, downstreams(loaded, &[])?)
    }

    fn with(
        loaded: &config::Loaded,
        surroundings: &config::Surroundings,
        downstreams: Arc<[Arc<Downstream>]>,
    ) -> Result<Arc<Self>, StartError> {
        let config = loaded.config.clone();
        let masters = Masters::new(surroundings);
        let shared::Handles { cache: redis, state } = shared::redis(&config, surroundings)?;
        let tags = match (&redis, &config.redis) {
            (Some(redis), Some(settings)) => Tags::shared(redis.clone(), TAGS_MAX, settings.command_timeout.0),
            _ => Tags::in_memory(TAGS_MAX),
        };
        let pages = Arc::new(pages::store(masters.store_sealer("cache/page", pages::ANSWER_BYTES_MAX), redis.clone()));
        let operations = Operations::new(&config, &masters, state.clone());
        let policy = policy(&config)?;
        let masking = Masking::new(&config.masking, &masters, state.clone());
        let own = own::downstream(&config, &pages, &operations, &downstreams, &policy, &masking).map(Arc::new);
        let limiter = state.clone().map_or_else(Limiter::in_memory, Limiter::shared);
        let revocations = state.clone().map_or_else(Revocations::in_memory, Revocations::shared);
        let nonce_names = masters.store_secret("signature/nonce");
        let nonces = match state.clone() {
            Some(redis) => Nonces::shared(redis, &nonce_names),
            None => Nonces::in_memory(&nonce_names),
        };
        let tokens = Tokens::new(&config, &loaded.sources, None)?;
        let digests = masters.store_secret("audit/digest");
        let signing_key = surroundings.audit_signing_key.as_ref();
        let audit = Audit::open(&config.audit, &loaded.sources.base, signing_key, &digests)?;
        let board = Board::new(Approvals::new(&masters.store_secret("definitions/approval"), state.clone()));
        let definitions = Definitions::new(&config, &loaded.sources.base, board.clone(), audit.clone(), None)?;
        let closing = CancellationToken::new();
        let router = Arc::new(Self {
            catalog: Catalog::new(&config, downstreams.clone(), own, definitions, None),
            policy,
            audit_mask: Arc::new(AuditMask::new(&config.masking)),
            masking,
            authenticator: Authenticator::new(loaded, surroundings, revocations.clone(), tokens, &nonces)?,
            revocations,
            nonces,
            gatekeeper: Gatekeeper::new(&config.server),
            operators_gate: Gatekeeper::new(&config.server),
            sessions: Arc::new(Sessions::new(masters.sealer("session"))),
            calls: Shed::new(config.server.calls_max),
            limits: Limits::new(&config, limiter.clone(), masters.limit_subjects()),
            limiter,
            body_room: Arc::new(Room::new(config.server.body_bytes_max.bytes())),
            audit,
            state,
            cache: result_cache(&config.cache, &masters, tags.clone(), redis),
            cache_keys: Arc::new(masters.store_keys("cache/key")),
            pages,
            operations,
            tags,
            strict: Arc::new(StrictFamilies::new(&config.cache)),
            webhook: webhook(surroundings)?,
            tasks: TaskTracker::new(),
            out_of_time: CancellationToken::new(),
            retired: TaskTracker::new(),
            settled: Arc::new(Settled::new(surroundings)),
            waiting: Vec::new(),
            _holds: downstreams.iter().map(|downstream| downstream.hold()).collect(),
            _end: Arc::new(closing.clone().drop_guard()),
            closing,
            downstreams,
            config,
        });
        router.downstreams.iter().for_each(|downstream| router.keep_listed(downstream));
        if router.state.is_some() {
            let closing = router.closing.clone();
            tokio::spawn(async move { closing.run_until_cancelled(definitions::follow(board)).await });
        }
        if router.cache.redis().is_none() {
            router.follow_changes();
        }
        Ok(router)
    }

    /// Makes the router that takes the place of `before` when the config has become another one. It takes over what outlives the change:
    /// whatever it is that calls share, and each downstream whose settings are the same, with its connections, its state and its tools.
    /// What it cannot take over from the config is in `waiting`. Nothing is served by it yet, and `before` goes on as it is.
    ///
    /// # Errors
    /// When an adapter's settings make no sense.
    pub(crate) fn succeeding(
        before: &Arc<Self>,
        loaded: &config::Loaded,
        surroundings: &config::Surroundings,
    ) -> Result<Arc<Self>, StartError> {
        let mut config = loaded.config.clone();
        let waiting = before.settled.keep(&before.config, &mut config, surroundings);
        let webhook = webhook(surroundings)?;
        let downstreams = downstreams(loaded, &before.downstreams)?;
        let policy = policy(&config)?;
        let masking = Masking::succeeding(&before.masking, &config.masking);
        let (pages, operations) = (&before.pages, &before.operations);
        let own = own::downstream(&config, pages, operations, &downstreams, &policy, &masking).map(Arc::new);
        let known = before.definitions();
        let (board, audit) = (known.board().clone(), before.audit.clone());
        let definitions = Definitions::new(&config, &loaded.sources.base, board, audit, Some(known))?;
        let tokens = Tokens::new(&config, &loaded.sources, Some(before.authenticator.tokens()))?;
        let is_as_large = config.server.body_bytes_max == before.config.server.body_bytes_max;
        let router = Arc::new(Self {
            catalog: Catalog::new(&config, downstreams.clone(), own, definitions, Some(&before.catalog)),
            policy,
            audit_mask: Arc::new(AuditMask::new(&config.masking)),
            masking,
            authenticator: Authenticator::new(
                loaded,
                surroundings,
                before.revocations.clone(),
                tokens,
                &before.nonces,
            )?,
            revocations: before.revocations.clone(),
            nonces: before.nonces.clone(),
            gatekeeper: before.gatekeeper.with(&config.server),
            operators_gate: before.operators_gate.with(&config.server),
            strict: Arc::new(StrictFamilies::new(&config.cache)),
            webhook,
            calls: before.calls.with_max(config.server.calls_max),
            limiter: before.limiter.clone(),
            limits: Limits::succeeding(&before.limits, &config),
            body_room: if is_as_large {
                before.body_room.clone()
            } else {
                Arc::new(Room::new(config.server.body_bytes_max.bytes()))
            },
            sessions: before.sessions.clone(),
            audit: before.audit.clone(),
            cache: before.cache.clone(),
            state: before.state.clone(),
            cache_keys: before.cache_keys.clone(),
            pages: before.pages.clone(),
            operations: before.operations.clone(),
            tags: before.tags.clone(),
            tasks: before.tasks.clone(),
            out_of_time: before.out_of_time.clone(),
            closing: before.closing.clone(),
            retired: before.retired.clone(),
            settled: before.settled.clone(),
            waiting,
            _holds: downstreams.iter().map(|downstream| downstream.hold()).collect(),
            _end: before._end.clone(),
            downstreams,
            config,
        });
        for downstream in router.downstreams.iter().filter(|downstream| !before.has(downstream)) {
            router.keep_listed(downstream);
        }
        Ok(router)
    }

    /// Each Redis there is, by the name under which operators hear of it.
    pub(crate) fn redis(&self) -> impl Iterator<Item = (&'static str, &Redis)> {
        let cache = self.cache.redis();
        let second = self.state.as_ref().filter(|state| cache.is_none_or(|cache| !state.is(cache)));
        cache
            .map(|redis| ("Redis", redis))
            .into_iter()
            .chain(second.map(|redis| ("the Redis of redis.state_url", redis)))
    }

    /// Whether this very downstream is one of it, with the same connections.
    pub(crate) fn has(&self, downstream: &Arc<Downstream>) -> bool {
        self.downstreams.iter().any(|own| Arc::ptr_eq(own, downstream))
    }

    /// Lists a downstream from now on, in the background.
    fn keep_listed(&self, downstream: &Arc<Downstream>) {
        let (downstream, closing) = (downstream.clone(), self.closing.clone());
        tokio::spawn(async move {
            let keeping = downstream.while_served(catalog::keep_fresh(downstream.clone()));
            closing.run_until_cancelled(keeping).await
        });
    }

    /// Ends cached answers when downstreams say so. Whoever begins to listen cannot know what was said before, and ends more: so where
    /// answers are shared, only the processes that serve do it, and not each command that makes a router for one call.
    pub(crate) fn follow_changes(&self) {
        self.downstreams.iter().for_each(|downstream| self.follow_changes_of(downstream));
    }

    /// The same for one downstream, which is new.
    pub(crate) fn follow_changes_of(&self, downstream: &Arc<Downstream>) {
        let follower = invalidate::follow(self.tags.clone(), self.strict.clone(), downstream.clone());
        let (downstream, closing) = (downstream.clone(), self.closing.clone());
        tokio::spawn(async move { closing.run_until_cancelled(downstream.while_served(follower)).await });
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
        self.operations.settled(SETTLE).await;
        self.retired.close();
        let closing = async {
            join_all(self.downstreams.iter().map(|downstream| downstream.adapter.close())).await;
            self.retired.wait().await;
        };
        self.audit.stopped();
        let (_, closed) = tokio::join!(self.audit.end(FLUSH), tokio::time::timeout(CLOSE, closing));
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

    /// Which tools callers may see.
    pub(crate) fn definitions(&self) -> &Arc<Definitions> {
        self.catalog.definitions()
    }

    /// The merged list of tools.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }
}

/// The downstreams of a config: those `before` whose settings are the same, and new ones.
fn downstreams(loaded: &config::Loaded, before: &[Arc<Downstream>]) -> Result<Arc<[Arc<Downstream>]>, StartError> {
    let config = &loaded.config;
    let one = |(name, settings): (&DownstreamName, &config::Downstream)| {
        let revision = Revision::of(settings, &loaded.sources, &config.cache.strict);
        let before = before.iter().find(|before| before.name == *name);
        match before.filter(|before| before.is_of(&revision)) {
            Some(same) => Ok(same.clone()),
            None => {
                let before = before.map(|before| &**before);
                Ok(Arc::new(Downstream::new(name, settings, &loaded.sources, revision, before)?))
            }
        }
    };
    config.downstreams.iter().map(one).collect()
}

fn policy(config: &Config) -> Result<Arc<Policy>, StartError> {
    let told =
        |(role, at, mistake): &(String, usize, String)| format!("policy.roles.{role}.conditions[{at}]: {mistake}");
    Policy::new(config).map_err(|mistakes| StartError::Policy(mistakes.iter().map(told).collect::<Vec<_>>().join("; ")))
}

fn webhook(surroundings: &config::Surroundings) -> Result<Option<Webhook>, StartError> {
    let secret = surroundings.webhook_secret.as_ref();
    secret.map(|secret| Webhook::new(secret).ok_or(StartError::Webhook)).transpose()
}

fn result_cache(settings: &config::Cache, masters: &Masters, tags: Tags, redis: Option<Redis>) -> Cache<SharedAnswer> {
    let value_bytes_max = settings.value_bytes_max.bytes();
    let bounds = Bounds { flights_max: settings.fetches_max, waiters_max: settings.waiters_max };
    let local_bytes_max = settings.local_bytes_max.bytes() as u64;
    let sealer = masters.store_sealer("cache/value", value_bytes_max);
    let settings = cache::Settings { local_bytes_max, value_bytes_max, lease: settings.lease.0, bounds };
    Cache::new(settings, tags, redis, sealer)
}

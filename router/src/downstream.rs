//! One configured downstream, as the router keeps it: its adapter, its last good offer, its state.

mod condition;
mod revision;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use adapters::{Adapter, BuildError, Health, Offer, OfferedTool, State};
use arc_swap::{ArcSwap, ArcSwapOption};
use config::{DownstreamName, Effect, Sources, downstream::Kind, name::RESERVED};
use tokio::time::Instant;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{catalog::Catalog, guard::Guard, line::Line, telemetry};

pub(crate) use condition::Condition;
pub(crate) use revision::Revision;

/// One configured downstream.
pub struct Downstream {
    /// Its name.
    pub name: DownstreamName,
    /// Its part of the config.
    pub config: config::Downstream,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) line: Line,
    pub(crate) guard: Guard,
    pub(crate) revision: Revision,
    offer: ArcSwapOption<Offer>,
    /// Until when the offer holds, in milliseconds since `made`.
    holds_until_ms: AtomicU64,
    made: Instant,
    state: ArcSwap<State>,
    /// Whether it has been asked for its list once, whatever it answered.
    asked: AtomicBool,
    /// Whether the catalog has had its tools.
    listed: AtomicBool,
    /// Who hears of a new offer: the catalogs of the routers that have it.
    catalogs: Mutex<Vec<Weak<Catalog>>>,
    /// The routers that have it: one, but for the time after a change of the config in which calls of before still run.
    holders: TaskTracker,
    /// Fires when no router that is served has it any more: nobody listens to it from then on.
    retired: CancellationToken,
}

/// One router's hold on a downstream: as long as it is there, calls may come.
#[derive(Debug)]
pub(crate) struct Hold(#[expect(dead_code, reason = "it counts as long as it is there")] TaskTrackerToken);

impl Downstream {
    /// Makes the adapter. Connects to nothing. `before` is the one of this name under other settings, whose calls may still run.
    pub(crate) fn new(
        name: &DownstreamName,
        config: &config::Downstream,
        sources: &Sources,
        revision: Revision,
        before: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let adapter = adapters::build(name, config, sources, telemetry::token_requested)?;
        let as_many =
            |before: &&Self| before.config.calls_max() == config.calls_max() && before.config.line == config.line;
        let line = match before.filter(as_many) {
            Some(before) => before.line.like(name.as_str(), config),
            None => Line::new(name.as_str(), config),
        };
        Ok(Self {
            name: name.clone(),
            config: config.clone(),
            adapter,
            line,
            guard: Guard::new(name, config),
            revision,
            offer: ArcSwapOption::empty(),
            holds_until_ms: AtomicU64::new(0),
            made: Instant::now(),
            state: ArcSwap::from_pointee(State::starting()),
            asked: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            catalogs: Mutex::default(),
            holders: TaskTracker::new(),
            retired: CancellationToken::new(),
        })
    }

    /// What stands behind Weir's own tools. All of them read.
    pub(crate) fn own(adapter: Arc<dyn Adapter>, offer: Offer) -> Self {
        let tool = |tool: &OfferedTool| {
            (tool.local_name.to_string(), config::Tool { effect: Some(Effect::Read), ..config::Tool::default() })
        };
        let tools = offer.tools.iter().map(tool).collect();
        let config = config::Downstream { tools, ..config::Downstream::default() };
        Self {
            name: DownstreamName::own(),
            revision: Revision::of(&config, &Sources::default(), &[]),
            guard: Guard::new(&DownstreamName::own(), &config),
            config,
            adapter,
            line: Line::new(RESERVED, &config::Downstream::default()),
            offer: ArcSwapOption::from_pointee(offer),
            holds_until_ms: AtomicU64::new(u64::MAX),
            made: Instant::now(),
            state: ArcSwap::from_pointee(State::starting()),
            asked: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            catalogs: Mutex::default(),
            holders: TaskTracker::new(),
            retired: CancellationToken::new(),
        }
    }

    /// Whether its settings are these, and all that those refer to.
    pub(crate) fn is_of(&self, revision: &Revision) -> bool {
        self.revision.whole == revision.whole
    }

    /// Whether it is Weir itself.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.name.as_str() == RESERVED
    }

    /// What it offered last; `None` before it was reached the first time.
    #[must_use]
    pub fn offer(&self) -> Option<Arc<Offer>> {
        self.offer.load_full()
    }

    /// How long after `now` what it offered last holds, by its own word: no longer where it said that its list is another one.
    #[must_use]
    pub fn offer_holds_for(&self, now: Instant) -> Duration {
        let until = Duration::from_millis(self.holds_until_ms.load(Ordering::Acquire));
        until.saturating_sub(now.saturating_duration_since(self.made))
    }

    /// What it offered holds from now on for `period`. Said only when the catalog has it.
    pub(crate) fn offer_holds(&self, period: Duration) {
        let until = if period.is_zero() { Duration::ZERO } else { self.made.elapsed().saturating_add(period) };
        self.holds_until_ms.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Whether it has been asked for its list once, whatever it answered.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether the catalog has had its tools.
    pub(crate) fn was_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// It has answered for its list, and the catalog has it if it is `listed`.
    pub(crate) fn answered_for_its_list(&self, listed: bool) {
        self.listed.fetch_or(listed, Ordering::AcqRel);
        self.asked.store(true, Ordering::Release);
    }

    /// Has the tools of the one of this name in the config before, as far as this one's config may have them, until it is listed itself.
    pub(crate) fn take_over_offer(&self, before: &Self) {
        let Some(offer) = before.offer().filter(|_| self.offer().is_none() && self.kind() == before.kind()) else {
            return;
        };
        // A server may offer what the config does not name; all others have what the config says.
        let may_have = |tool: &OfferedTool| {
            matches!(self.config.kind(), Some(Kind::Mcp(_) | Kind::Ticketing(_)))
                || self.config.tools.contains_key(&*tool.local_name)
        };
        let tools = offer.tools.iter().filter(|tool| may_have(tool)).cloned().collect();
        self.offer.compare_and_swap(&None::<Arc<Offer>>, Some(Arc::new(Offer { tools, ..Offer::default() })));
    }

    /// From now on `catalog` hears of a new offer.
    pub(crate) fn tells(&self, catalog: &Arc<Catalog>) {
        let mut catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        catalogs.retain(|catalog| catalog.strong_count() > 0);
        catalogs.push(Arc::downgrade(catalog));
    }

    /// The catalogs that hear of a new offer.
    pub(crate) fn catalogs(&self) -> Vec<Arc<Catalog>> {
        let catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        catalogs.iter().filter_map(Weak::upgrade).collect()
    }

    /// Counts a router among those that have it.
    pub(crate) fn hold(&self) -> Hold {
        Hold(self.holders.token())
    }

    /// Runs until no router that is served has it any more.
    pub(crate) async fn while_served(&self, work: impl Future<Output = ()>) {
        self.retired.run_until_cancelled(work).await;
    }

    /// No router that is served has it any more: ends what listens to it, then, when the last call to it is over or after `most`, what it
    /// keeps running.
    pub(crate) async fn retire(&self, most: Duration) {
        self.retired.cancel();
        self.holders.close();
        if tokio::time::timeout(most, self.holders.wait()).await.is_err() {
            tracing::warn!(downstream = %self.name, "calls of before the config changed did not end in time");
        }
        self.adapter.close().await;
    }

    /// Whether it can be reached, and why not.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// The word that the config uses for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.config.kind() {
            Some(Kind::Postgres(_)) => "postgres",
            Some(Kind::Mainframe(_)) => "mainframe",
            Some(Kind::Ticketing(_)) => "ticketing",
            Some(Kind::Mcp(_)) => "mcp",
            None => "unknown",
        }
    }

    pub(crate) fn keep_offer(&self, offer: Offer) {
        for left_out in &offer.left_out {
            tracing::warn!(downstream = %self.name, tool = %left_out.local_name, reason = %left_out.reason, "a tool is left out");
        }
        self.offer.store(Some(Arc::new(offer)));
    }

    pub(crate) fn keep_state(&self, state: State) {
        let before = self.state.load();
        if before.health == state.health && before.reason == state.reason {
            return;
        }
        telemetry::downstream_state(self.name.as_str(), state.health);
        match state.health {
            Health::Up => {
                tracing::info!(downstream = %self.name, "reached");
                self.guard.reached();
            }
            Health::Down => {
                tracing::warn!(downstream = %self.name, reason = state.reason.as_deref().unwrap_or("unknown"), "not reached");
            }
            Health::Starting => {}
        }
        self.state.store(Arc::new(state));
    }
}

impl fmt::Debug for Downstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downstream").field("name", &self.name).field("state", &self.state()).finish_non_exhaustive()
    }
}

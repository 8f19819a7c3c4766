//! One configured downstream, as the router keeps it: its adapter, its last good offer, its state.

mod revision;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use adapters::{Adapter, BuildError, Health, Offer, OfferedTool, State};
use arc_swap::{ArcSwap, ArcSwapOption};
use config::{DownstreamName, Effect, downstream::Kind, name::RESERVED};
use tokio::time::Instant;

use crate::{limit::Slots, telemetry};

pub(crate) use revision::Revision;

/// One configured downstream.
pub struct Downstream {
    /// Its name.
    pub name: DownstreamName,
    /// Its part of the config.
    pub config: config::Downstream,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) slots: Slots,
    pub(crate) revision: Revision,
    offer: ArcSwapOption<Offer>,
    /// Until when the offer holds, in milliseconds since `made`.
    holds_until_ms: AtomicU64,
    made: Instant,
    state: ArcSwap<State>,
}

/// How many calls to one downstream run at once, where the config states nothing.
const CALLS_MAX_DEFAULT: usize = 256;

impl Downstream {
    /// Makes the adapter. Connects to nothing. `strict` are the families of tags of which no read may ever miss a write.
    pub(crate) fn new(
        name: &DownstreamName,
        config: &config::Downstream,
        base: &Path,
        strict: &[String],
    ) -> Result<Self, BuildError> {
        let adapter = adapters::build(name, config, base)?;
        telemetry::downstream_state(name.as_str(), Health::Starting);
        Ok(Self {
            name: name.clone(),
            config: config.clone(),
            adapter,
            slots: Slots::new(config.calls_max.unwrap_or(CALLS_MAX_DEFAULT)),
            revision: Revision::of(config, base, strict),
            offer: ArcSwapOption::empty(),
            holds_until_ms: AtomicU64::new(0),
            made: Instant::now(),
            state: ArcSwap::from_pointee(State::starting()),
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
            revision: Revision::of(&config, Path::new(""), &[]),
            config,
            adapter,
            slots: Slots::new(CALLS_MAX_DEFAULT),
            offer: ArcSwapOption::from_pointee(offer),
            holds_until_ms: AtomicU64::new(u64::MAX),
            made: Instant::now(),
            state: ArcSwap::from_pointee(State::starting()),
        }
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
            Health::Up => tracing::info!(downstream = %self.name, "reached"),
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

//! One configured downstream, as the router keeps it: its adapter, its last good offer, its state.

use std::{fmt, path::Path, sync::Arc};

use adapters::{Adapter, BuildError, Health, Offer, State};
use arc_swap::{ArcSwap, ArcSwapOption};
use config::{DownstreamName, downstream::Kind};

use crate::{limit::Slots, telemetry};

/// One configured downstream.
pub struct Downstream {
    /// Its name.
    pub name: DownstreamName,
    /// Its part of the config.
    pub config: config::Downstream,
    pub(crate) adapter: Arc<dyn Adapter>,
    pub(crate) slots: Slots,
    offer: ArcSwapOption<Offer>,
    state: ArcSwap<State>,
}

/// How many calls to one downstream run at once, where the config states nothing.
const CALLS_MAX_DEFAULT: usize = 256;

impl Downstream {
    /// Makes the adapter. Connects to nothing.
    pub(crate) fn new(name: &DownstreamName, config: &config::Downstream, base: &Path) -> Result<Self, BuildError> {
        let adapter = adapters::build(name, config, base)?;
        telemetry::downstream_state(name.as_str(), Health::Starting);
        Ok(Self {
            name: name.clone(),
            config: config.clone(),
            adapter,
            slots: Slots::new(config.calls_max.unwrap_or(CALLS_MAX_DEFAULT)),
            offer: ArcSwapOption::empty(),
            state: ArcSwap::from_pointee(State::starting()),
        })
    }

    /// What it offered last; `None` before it was reached the first time.
    #[must_use]
    pub fn offer(&self) -> Option<Arc<Offer>> {
        self.offer.load_full()
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

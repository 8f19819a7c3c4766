//! How a downstream is, for operators: what its adapter knows of it and what its guard does about it, in one word with its reason.

use adapters::Health;
use jiff::Timestamp;

use super::Downstream;

/// How a downstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// `up`, `starting`, `down`, `breaker_open` or `closed_by_calendar`.
    pub(crate) word: &'static str,
    /// Why it is not up.
    pub(crate) reason: Option<String>,
    /// Since when.
    pub(crate) since: Timestamp,
}

impl Downstream {
    /// How it is now. That it is closed by its calendar says more than that it cannot be reached meanwhile; and that it cannot be reached
    /// says more than that it is left alone for it.
    pub(crate) fn condition(&self) -> Condition {
        if let Some(closed) = self.guard.closed() {
            return closed;
        }
        let state = self.state();
        let own = || Condition { word: state.health.as_str(), reason: state.reason.clone(), since: state.since };
        match state.health {
            Health::Down => own(),
            Health::Up | Health::Starting => self.guard.opened().unwrap_or_else(own),
        }
    }
}

//! Whether a downstream can be reached, and why not.

use jiff::Timestamp;

/// Whether a downstream can be reached, why not, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Up, down, or not known yet.
    pub health: Health,
    /// Why it is not up, in a sentence for the operator. No secret in it.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// Up, down, or not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing has been tried yet.
    Starting,
    /// The last traffic or probe went well.
    Up,
    /// It cannot be reached.
    Down,
}

impl State {
    /// Not known yet.
    #[must_use]
    pub fn starting() -> Self {
        Self { health: Health::Starting, reason: None, since: Timestamp::now() }
    }

    /// Reached, from now on.
    #[must_use]
    pub fn up() -> Self {
        Self { health: Health::Up, reason: None, since: Timestamp::now() }
    }

    /// Not reached, from now on.
    pub fn down(reason: impl Into<String>) -> Self {
        Self { health: Health::Down, reason: Some(reason.into()), since: Timestamp::now() }
    }

    /// Becomes down for this reason, and says whether that changed anything. It is down from the first failure on: another
    /// reason does not make that any younger.
    pub(crate) fn turn_down(&mut self, reason: &str) -> bool {
        let was_down = self.health == Health::Down;
        if was_down && self.reason.as_deref() == Some(reason) {
            return false;
        }
        let down = Self::down(reason);
        *self = Self { since: if was_down { self.since } else { down.since }, ..down };
        true
    }
}

impl Health {
    /// The word in logs, metrics and the admin API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

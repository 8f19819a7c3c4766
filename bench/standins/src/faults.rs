//! What can go wrong with an HTTP server: the faults that [`mainframe`](crate::mainframe) and
//! [`tickets`](crate::tickets) can be told to have.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

/// A fault, and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Waited before anything else is done with a request.
    pub delay: Option<Duration>,
    pub kind: Option<TroubleKind>,
    /// How many requests it hits; `usize::MAX` means until it is changed.
    pub next: usize,
}

/// What happens instead of a good answer. An answer that has no body is complete with its head, so what befalls bodies does
/// not befall it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The request is carried out, then the connection is reset.
    ResetBeforeAnswer,
    /// The request is carried out; status and headers of its answer arrive, then the connection is reset.
    ResetAfterHead,
    /// The request is carried out; its answer has status 200, the right headers and random bytes.
    Garbage,
    /// The request is not carried out; a short text with this status answers it.
    Status(u16),
    /// The request is carried out; the body of its answer comes at one byte a second.
    Trickle,
    /// The request is carried out; status and headers of its answer arrive, and then nothing.
    StopAfterHead,
    /// The request is carried out; its answer has status 200 and a body of spaces that never ends.
    Endless,
}

impl Default for Trouble {
    /// None, until it is changed.
    fn default() -> Self {
        Self { delay: None, kind: None, next: usize::MAX }
    }
}

impl Trouble {
    /// Until it is changed.
    pub fn of(kind: TroubleKind) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }

    /// As `{"delay_ms": 500, "kind": {"status": 503}, "next": 3}`; what is left out is none.
    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            delay_ms: Option<u64>,
            kind: Option<TroubleKind>,
            next: Option<usize>,
        }
        let Written { delay_ms, kind, next } = serde_json::from_slice(json)?;
        Ok(Self { delay: delay_ms.map(Duration::from_millis), kind, next: next.unwrap_or(usize::MAX) })
    }
}

/// The trouble that a server has now.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Trouble>);

impl Troubles {
    pub(crate) fn set(&self, trouble: Trouble) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The trouble of one request, which is counted.
    pub(crate) fn take(&self) -> Trouble {
        let mut trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = *trouble;
        match trouble.next {
            0 => return Trouble::default(),
            usize::MAX => {}
            next => trouble.next = next - 1,
        }
        now
    }
}

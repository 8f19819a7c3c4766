//! Why there is nothing to show a downstream.

use std::{borrow::Cow, time::Duration};

/// Why there is nothing to show a downstream. It was not asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{told}")]
pub(crate) struct NoCredential {
    /// Whether the authorization server said no, or the caller brought nothing, rather than that nobody answered.
    pub(crate) refused: bool,
    /// What a caller may know of it, half a sentence.
    pub(crate) told: Cow<'static, str>,
    /// What the operator needs besides; no secret in it.
    pub(crate) detail: Option<String>,
    /// When it is worth trying again.
    pub(crate) retry_after: Option<Duration>,
}

impl NoCredential {
    pub(super) fn refused(told: &'static str) -> Self {
        Self { refused: true, told: told.into(), detail: None, retry_after: None }
    }

    pub(super) fn unanswered(told: &'static str) -> Self {
        Self { refused: false, ..Self::refused(told) }
    }

    #[must_use]
    pub(super) fn because(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    #[must_use]
    pub(super) fn after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }
}

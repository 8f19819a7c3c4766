//! What the cache was to one call.

/// What the cache was to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not asked.
    Bypass(Bypass),
}

/// Why the cache was not asked. There is no bypass without a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    /// The config does not declare the tool cacheable.
    NotDeclared,
    /// The call may change something.
    Write,
}

impl Outcome {
    /// The words in logs, metrics and audit records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass(Bypass::NotDeclared) => "bypass: not declared",
            Self::Bypass(Bypass::Write) => "bypass: write",
        }
    }
}

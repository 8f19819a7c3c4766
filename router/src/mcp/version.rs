//! The revisions of the protocol that Weir speaks with callers.

/// A revision of the protocol, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP+SSE was its transport; over streamable HTTP and stdio it is spoken too.
    V2024_11_05,
    /// Streamable HTTP, and the only one with batches.
    V2025_03_26,
    /// Structured content, the version header.
    V2025_06_18,
    /// The last one with sessions.
    V2025_11_25,
    /// The first modern one: no handshake, no session.
    V2026_07_28,
}

impl Version {
    /// All of them, the newest first, as `server/discover` and errors list them.
    pub const ALL: [Self; 5] =
        [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26, Self::V2024_11_05];
    /// What a legacy client gets that asks for something else.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;
    /// What a legacy request without a version header speaks (MCP 2025-06-18, basic/transports).
    pub const ASSUMED: Self = Self::V2025_03_26;

    /// The revision's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == name)
    }

    /// A number for the revision in what is sealed and kept by clients: it never changes its meaning.
    #[must_use]
    pub(super) fn code(self) -> u8 {
        match self {
            Self::V2024_11_05 => 1,
            Self::V2025_03_26 => 2,
            Self::V2025_06_18 => 3,
            Self::V2025_11_25 => 4,
            Self::V2026_07_28 => 5,
        }
    }

    /// The revision of this number.
    #[must_use]
    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.code() == code)
    }

    /// Whether requests carry their own version and capabilities.
    #[must_use]
    pub fn is_modern(self) -> bool {
        self >= Self::V2026_07_28
    }
}

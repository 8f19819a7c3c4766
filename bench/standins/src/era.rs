use std::str::FromStr;

use anyhow::bail;

/// Which generations of the protocol a server speaks: *modern* is 2026-07-28 and later (`server/discover`, no
/// handshake), *legacy* is everything before it (`initialize`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Era {
    #[default]
    Both,
    LegacyOnly,
    ModernOnly,
}

impl Era {
    pub(crate) fn speaks_legacy(self) -> bool {
        self != Self::ModernOnly
    }

    pub(crate) fn speaks_modern(self) -> bool {
        self != Self::LegacyOnly
    }
}

impl FromStr for Era {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "both" => Ok(Self::Both),
            "legacy" => Ok(Self::LegacyOnly),
            "modern" => Ok(Self::ModernOnly),
            _ => bail!("there is no era {name}: use both, legacy or modern"),
        }
    }
}

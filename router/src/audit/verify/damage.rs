//! What can be wrong with a log, what it means and what to do.

use serde::Serialize;
use uuid::Uuid;

/// The kinds of damage, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The anchor has another checkpoint than the log.
    Rewritten,
    /// A checkpoint is not signed by a key that may sign.
    Signature,
    /// A line is another one than was written.
    Altered,
    /// Lines, segments or chains are missing, stand twice or elsewhere.
    Missing,
    /// The end of a chain is missing.
    CutOff,
    /// A sealed record cannot be opened although its line is as it was written.
    Sealed,
}

impl Kind {
    /// What `weir audit verify` ends with.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Altered => 10,
            Self::Missing => 11,
            Self::CutOff => 12,
            Self::Signature => 13,
            Self::Rewritten => 14,
            Self::Sealed => 15,
        }
    }

    /// What it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Rewritten => {
                "what lies in the folder is not what was written: somebody who could sign wrote it anew, or took it away"
            }
            Self::Signature => "somebody without the signing key wrote this, or another key signs now",
            Self::Altered => "somebody changed the file, or its disk is failing",
            Self::Missing => "somebody took lines or files away, or put them elsewhere",
            Self::CutOff => "somebody cut the end off, or a disk lost what it had confirmed",
            Self::Sealed => "the identity is not the one of these records, or they were sealed by somebody else",
        }
    }

    /// What to do.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Signature => {
                "if the signing key was replaced, give the old public key as well (--public-key, several times); otherwise \
                 proceed as docs/runbooks/broken-chain.md says"
            }
            Self::Sealed => "give the identity whose recipient stands in the first line of the segment (--identity)",
            Self::Rewritten | Self::Altered | Self::Missing | Self::CutOff => {
                "keep the folder as it is and copy it before anything else: docs/runbooks/broken-chain.md"
            }
        }
    }
}

/// One damage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// What kind it is of.
    pub kind: Kind,
    /// The chain.
    pub chain: Uuid,
    /// The number of the first line that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The file in which it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What was found, in one sentence.
    pub what: String,
}

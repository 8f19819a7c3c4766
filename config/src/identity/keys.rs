//! API keys.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the API keys are.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeys {
    /// The file that `weir keys create` writes: hashes of the keys with subject, roles and expiry. Readable by its owner alone.
    pub file: PathBuf,
}

/// The content of the key file: the durable record of keys.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeyFile {
    /// One entry per key.
    pub keys: Vec<KeyRecord>,
}

/// One API key, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Names the key in logs and audit; part of the key itself.
    pub id: String,
    /// SHA-256 of the whole key, as 64 hexadecimal digits.
    pub hash: String,
    /// Who the key speaks for.
    pub subject: String,
    /// The organisation the subject belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The roles of the key.
    #[serde(default)]
    pub roles: Vec<String>,
    /// When the key was made, as `2027-01-31T00:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// When the key stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// When the key was revoked. It does not work, and the entry says so to every replica that reads the file or shares a Redis with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

impl KeyRecord {
    /// The SHA-256 of the key, or nothing where `hash` is no 64 hexadecimal digits.
    #[must_use]
    pub fn hash_bytes(&self) -> Option<[u8; 32]> {
        let digits = self.hash.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        Some(bytes)
    }

    /// When the key stops working. Nothing where `expires` is absent; the checks refuse one that is no timestamp.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires.as_deref()?.parse().ok()
    }
}

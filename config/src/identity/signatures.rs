//! Signed requests.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Period, SecretRef};

/// Requests signed by HTTP Message Signatures (RFC 9421) with `hmac-sha256`. A signature covers `@method`, `@target-uri` and
/// `content-digest` (RFC 9530), and has `created`, `expires`, `nonce` and `keyid`. Each is taken once: nonces are shared through Redis,
/// and without the Redis that the config names signed requests are refused.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signatures {
    /// Keys by `keyid`.
    pub keys: IndexMap<String, SigningKey>,
    /// The longest time between `created` and `expires`, and how long a nonce is kept.
    #[serde(default = "Signatures::window")]
    pub window: Period,
    /// How far in the future `created` may lie, for clocks that go before ours.
    #[serde(default = "Signatures::leeway")]
    pub leeway: Period,
}

impl Signatures {
    fn window() -> Period {
        Period::s(300)
    }

    fn leeway() -> Period {
        Period::s(5)
    }
}

/// One key, and who signs with it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    /// The shared secret, at least 32 bytes.
    pub secret: SecretRef,
    /// Who signs with it.
    pub subject: String,
    /// The organisation the subject belongs to.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The roles.
    #[serde(default)]
    pub roles: Vec<String>,
}

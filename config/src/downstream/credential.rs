//! What Weir shows a downstream to be let in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SecretRef;

/// What Weir shows a downstream to be let in. Never the caller's own credential.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Credential {
    /// Sent as `Authorization: Bearer …`.
    Bearer(SecretRef),
    /// Sent as `Authorization: Basic …` (RFC 7617).
    Basic(Basic),
    /// Sent as a header of its own, such as `X-Api-Key`.
    Header(HeaderCredential),
}

/// A user and a password.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user's name.
    pub user: String,
    /// Where the password is.
    pub password: SecretRef,
}

/// A header with a secret in it.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderCredential {
    /// The header's name.
    pub name: String,
    /// Where its value is.
    pub value: SecretRef,
}

impl Credential {
    /// Where its secret is.
    #[must_use]
    pub fn secret(&self) -> &SecretRef {
        match self {
            Self::Bearer(secret) => secret,
            Self::Basic(basic) => &basic.password,
            Self::Header(header) => &header.value,
        }
    }
}

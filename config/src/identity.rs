//! Who may speak to Weir, and how they prove it.

pub mod jwt;
pub mod keys;
pub mod mtls;
pub mod signatures;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use jwt::Jwt;
pub use keys::{ApiKeys, KeyFile, KeyRecord};
pub use mtls::Mtls;
pub use signatures::Signatures;

/// Who may speak to Weir, and how they prove it. With nothing configured every caller on loopback is `local`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// API keys, sent as `Authorization: Bearer …`.
    pub api_keys: Option<ApiKeys>,
    /// Authorization servers whose access tokens are accepted (OAuth 2.1, JWT by RFC 9068), sent as `Authorization: Bearer …`.
    pub jwt: Vec<Jwt>,
    /// Client certificates, shown in the TLS handshake of the caller listener. Needs `server.tls`.
    pub mtls: Option<Mtls>,
    /// Signed requests (RFC 9421, `hmac-sha256`).
    pub signatures: Option<Signatures>,
    /// What a request with two credentials of different subjects is: `authorization`, a signature, a certificate.
    pub combine: Combine,
    /// The identity of callers without credentials: on loopback where no kind of credential is configured, and for `weir stdio --config`.
    pub local: Local,
}

impl Identity {
    /// Whether a kind of credential is configured; then nobody comes in without one.
    #[must_use]
    pub fn requires_credentials(&self) -> bool {
        self.api_keys.is_some() || !self.jwt.is_empty() || self.mtls.is_some() || self.signatures.is_some()
    }
}

/// What a request with two credentials of different subjects is. A wrong credential is refused in any case, whatever else is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Refused.
    #[default]
    Refuse,
    /// From the first of them: `Authorization`, then the signature, then the certificate. For a proxy or a mesh whose own certificate
    /// says who carries the request, and not who sends it.
    First,
}

/// The identity `local`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Local {
    /// The roles that `local` has. None: it sees and calls nothing.
    pub roles: Vec<String>,
}

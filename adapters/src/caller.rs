//! Who calls.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use secrecy::SecretString;

/// Who calls: an identity that was proven, and where it comes from.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who, as one value to compare and to key by.
    pub principal: Principal,
    /// The roles that count for this call.
    pub roles: Arc<[Box<str>]>,
    /// What else the credential says of the caller.
    pub claims: Arc<serde_json::Map<String, serde_json::Value>>,
    /// Names the credential in logs and audit, never reveals it.
    pub credential_id: Option<Arc<str>>,
    /// How the identity was proven.
    pub method: AuthMethod,
    /// The caller's own address, behind proxies that are trusted.
    pub address: Option<IpAddr>,
    /// When the credential stops working.
    pub expires: Option<Timestamp>,
    /// The caller's own access token, for token exchange and nothing else: it never leaves for a downstream.
    pub token: Option<Arc<SecretString>>,
}

/// Issuer, subject and tenant: two callers with the same three are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Who vouches for the subject: `weir` for API keys, the token's issuer otherwise.
    pub issuer: Arc<str>,
    /// Who the caller is.
    pub subject: Arc<str>,
    /// The organisation the subject belongs to.
    pub tenant: Option<Arc<str>>,
}

/// How a caller proved its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// By being on this machine, where no credentials are configured.
    Local,
    /// By an API key.
    ApiKey,
    /// By an access token of an authorization server.
    Jwt,
    /// By a client certificate.
    Certificate,
    /// By signing the request.
    Signature,
}

impl AuthMethod {
    /// The word in logs and audit records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::Certificate => "certificate",
            Self::Signature => "signature",
        }
    }
}

impl Caller {
    /// The identity `local`: a caller without credentials on this machine, with the roles that the config gives it.
    #[must_use]
    pub fn local(roles: &[String]) -> Self {
        Self {
            principal: Principal { issuer: "weir".into(), subject: "local".into(), tenant: None },
            roles: roles.iter().map(|role| role.as_str().into()).collect(),
            claims: Arc::default(),
            credential_id: None,
            method: AuthMethod::Local,
            address: None,
            expires: None,
            token: None,
        }
    }
}

//! Bytes become a caller, or 401. A bad credential is never tried as another kind, and never as none.

mod keys;
mod standing;

use std::net::IpAddr;

use adapters::Caller;
use config::{Identity, identity::KeyRecord};
use http::{HeaderMap, header};
use jiff::Timestamp;

use crate::{Router, front::Peer};

pub use keys::{NewKey, new_key};
pub(crate) use standing::Standing;

/// Tells callers apart by their credentials.
#[derive(Debug)]
pub struct Authenticator {
    keys: keys::Keys,
    /// Whether a kind of credential is configured; then nobody comes in without one.
    requires_credentials: bool,
    local: Caller,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The word for metrics.
    pub reason: &'static str,
    /// For the caller: what to do. The same for every wrong key.
    pub text: &'static str,
    /// The value of `WWW-Authenticate` (RFC 6750, section 3).
    pub challenge: &'static str,
    /// Whether a credential was shown: then it counts as a failed login.
    pub is_wrong: bool,
}

const MISSING: Refused = Refused {
    reason: "no_credential",
    text: "No credential. Send an API key as `Authorization: Bearer …`; the operator makes one with `weir keys create`.",
    challenge: "Bearer realm=\"weir\"",
    is_wrong: false,
};
const WRONG: Refused = Refused {
    reason: "bad_credential",
    text: "This credential is not accepted. Use a valid, unexpired API key; the operator makes one with `weir keys create`.",
    challenge: "Bearer realm=\"weir\", error=\"invalid_token\"",
    is_wrong: true,
};

impl Authenticator {
    pub(crate) fn new(identity: &Identity, keys: &[KeyRecord]) -> Self {
        Self {
            keys: keys::Keys::new(keys),
            requires_credentials: identity.api_keys.is_some(),
            local: Caller::local(&identity.local.roles),
        }
    }
}

/// Who sent a request with these headers.
///
/// # Errors
/// [`Refused`] when a credential is wrong, or missing where one is needed.
pub(crate) fn authenticate(
    router: &Router,
    peer: Peer,
    address: Option<IpAddr>,
    headers: &HeaderMap,
) -> Result<Caller, Refused> {
    let authenticator = &router.authenticator;
    let mut credentials = headers.get_all(header::AUTHORIZATION).iter();
    let (credential, another) = (credentials.next(), credentials.next());
    if another.is_some() {
        return Err(WRONG);
    }
    if matches!(peer, Peer::InProcess) {
        return Ok(authenticator.local.clone());
    }
    let Some(credential) = credential else {
        return if authenticator.requires_credentials {
            Err(MISSING)
        } else {
            Ok(Caller { address, ..authenticator.local.clone() })
        };
    };
    // Where no credentials are configured, one is still never ignored: its sender believes it counts.
    let token = credential.to_str().ok().and_then(bearer).ok_or(WRONG)?;
    let record = authenticator.keys.find(token, Timestamp::now()).ok_or(WRONG)?;
    Ok(record.caller(address))
}

/// The token of `Bearer <token>`; the scheme's case does not count (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

//! Bytes become a caller, or 401. A bad credential is never tried as another kind, and never as none.

mod key_file;
mod keys;
mod standing;

use std::{borrow::Cow, net::IpAddr};

use adapters::Caller;
use cache::Revocations;
use config::{Combine, Identity, identity::KeyRecord};
use http::{HeaderMap, StatusCode, header, request::Parts};
use jiff::Timestamp;

use crate::{Router, front::Peer};

pub use key_file::{KeyFileError, KeyStore, MadeKey, read_key_file};
pub use keys::{NewKey, new_key};
pub(crate) use standing::Standing;

/// Tells callers apart by their credentials.
#[derive(Debug)]
pub struct Authenticator {
    keys: keys::Keys,
    /// Whether a kind of credential is configured; then nobody comes in without one.
    requires_credentials: bool,
    combine: Combine,
    local: Caller,
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The word for metrics.
    pub reason: &'static str,
    /// For the caller: what to do. The same for every wrong key.
    pub text: &'static str,
    /// The value of `WWW-Authenticate` (RFC 6750, section 3; RFC 9728, section 5.1).
    pub challenge: Cow<'static, str>,
    /// Whether a credential was shown: then it counts as a failed login.
    pub is_wrong: bool,
    /// 401, but for a right credential that is not enough (403) and for one that cannot be judged now (503).
    pub status: StatusCode,
}

const MISSING: Refused = Refused {
    reason: "no_credential",
    text: "No credential. Send an API key as `Authorization: Bearer …`; the operator makes one with `weir keys create`.",
    challenge: Cow::Borrowed("Bearer realm=\"weir\""),
    is_wrong: false,
    status: StatusCode::UNAUTHORIZED,
};
const WRONG: Refused = Refused {
    reason: "bad_credential",
    text: "This credential is not accepted. Use a valid, unexpired API key; the operator makes one with `weir keys create`.",
    challenge: Cow::Borrowed("Bearer realm=\"weir\", error=\"invalid_token\""),
    is_wrong: true,
    status: StatusCode::UNAUTHORIZED,
};
const CONTRADICTION: Refused = Refused {
    reason: "two_subjects",
    text: "This request has two credentials, and they are of different subjects. Send one of them.",
    challenge: Cow::Borrowed("Bearer realm=\"weir\", error=\"invalid_request\""),
    is_wrong: true,
    status: StatusCode::UNAUTHORIZED,
};

impl Authenticator {
    pub(crate) fn new(identity: &Identity, keys: &[KeyRecord], revocations: Revocations) -> Self {
        Self {
            keys: keys::Keys::new(keys, revocations),
            requires_credentials: identity.requires_credentials(),
            combine: identity.combine,
            local: Caller::local(&identity.local.roles),
        }
    }

    /// By `Authorization`; `None` where there is none.
    fn by_authorization(&self, address: Option<IpAddr>, headers: &HeaderMap) -> Result<Option<Caller>, Refused> {
        let mut credentials = headers.get_all(header::AUTHORIZATION).iter();
        let (credential, another) = (credentials.next(), credentials.next());
        if another.is_some() {
            return Err(WRONG);
        }
        let Some(credential) = credential else { return Ok(None) };
        // Where no credentials are configured, one is still never ignored: its sender believes it counts.
        let token = credential.to_str().ok().and_then(bearer).ok_or(WRONG)?;
        let record = self.keys.find(token, Timestamp::now()).ok_or(WRONG)?;
        Ok(Some(record.caller(address)))
    }
}

/// Who sent a request with this head. Several kinds of credential may be shown at once; each that is shown must be right.
///
/// # Errors
/// [`Refused`] when a credential is wrong, when two contradict each other, or when none is there and one is needed.
pub(crate) async fn authenticate(
    router: &Router,
    peer: &Peer,
    address: Option<IpAddr>,
    request: &Parts,
) -> Result<Caller, Refused> {
    let authenticator = &router.authenticator;
    if matches!(peer, Peer::InProcess) {
        return Ok(authenticator.local.clone());
    }
    // The order in which they count: `Authorization`, then the signature, then the certificate.
    let shown = [authenticator.by_authorization(address, &request.headers)?];
    let mut shown = shown.into_iter().flatten();
    let Some(first) = shown.next() else {
        return if authenticator.requires_credentials {
            Err(MISSING)
        } else {
            Ok(Caller { address, ..authenticator.local.clone() })
        };
    };
    let is_other = |caller: &Caller| caller.principal != first.principal;
    if authenticator.combine == Combine::Refuse && shown.any(|caller| is_other(&caller)) {
        return Err(CONTRADICTION);
    }
    Ok(first)
}

/// The token of `Bearer <token>`; the scheme's case does not count (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

//! Bytes become a caller, or 401. A bad credential is never tried as another kind, and never as none.

pub(crate) mod certificate;
mod jwt;
mod key_file;
mod keys;
pub(crate) mod metadata;
mod recorder;
pub(crate) mod signature;
mod standing;

use std::{borrow::Cow, net::IpAddr, path::PathBuf, sync::Arc};

use adapters::Caller;
use cache::{Nonces, Revocations};
use config::{Combine, KeyRecord, Surroundings};
use http::{StatusCode, header, request::Parts};
use jiff::Timestamp;

use crate::{Router, StartError, front::Peer};

use certificate::Certificates;
pub(crate) use jwt::Tokens;
use jwt::Wrong;
#[cfg(fuzzing)]
pub(crate) use jwt::fuzz as fuzz_jwt;
pub use key_file::{KeyFileError, KeyStore, MadeKey, read_key_file};
pub use keys::{NewKey, new_key};
pub(crate) use recorder::{record_always, record_revocations};
use signature::{Signatures, Unproven};
pub(crate) use standing::Standing;

/// Tells callers apart by their credentials.
#[derive(Debug)]
pub struct Authenticator {
    keys: keys::Keys,
    tokens: Tokens,
    signatures: Option<Signatures>,
    certificates: Option<Arc<Certificates>>,
    /// The file of the keys, and what stands in it.
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) key_records: Arc<[KeyRecord]>,
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
const WRONG_TOKEN: Refused = Refused {
    text: "This credential is not accepted. Get a new access token from the authorization server that the metadata of this resource names, \
        or use a valid API key.",
    ..WRONG
};
const CONTRADICTION: Refused = Refused {
    reason: "two_subjects",
    text: "This request has two credentials, and they are of different subjects. Send one of them.",
    challenge: Cow::Borrowed("Bearer realm=\"weir\", error=\"invalid_request\""),
    is_wrong: true,
    status: StatusCode::UNAUTHORIZED,
};

/// What a caller is to ask its authorization server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepUp {
    /// The scopes, with spaces between.
    pub scopes: String,
    /// The value of `WWW-Authenticate` that says so.
    pub challenge: String,
}

impl Authenticator {
    pub(crate) fn new(
        loaded: &config::Loaded,
        surroundings: &Surroundings,
        revocations: Revocations,
        tokens: Tokens,
        nonces: &Nonces,
    ) -> Result<Self, StartError> {
        let (identity, keys) = (&loaded.config.identity, &surroundings.keys);
        let public_url = loaded.config.server.public_url.as_deref();
        let signatures = identity.signatures.as_ref();
        let mtls = identity.mtls.as_ref();
        Ok(Self {
            keys: keys::Keys::new(keys, revocations),
            tokens,
            signatures: signatures
                .and_then(|settings| Signatures::new(settings, &surroundings.signing_keys, public_url, nonces)),
            certificates: mtls.map(|mtls| Certificates::read(mtls, &loaded.sources.base)).transpose()?,
            key_file: identity.api_keys.as_ref().map(|keys| loaded.sources.base.join(&keys.file)),
            key_records: keys.as_slice().into(),
            requires_credentials: identity.requires_credentials(),
            combine: identity.combine,
            local: Caller::local(&identity.local.roles),
        })
    }

    /// Which certificates callers may show.
    pub(crate) fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.certificates.as_ref()
    }

    /// Whether callers may sign their requests.
    pub(crate) fn takes_signatures(&self) -> bool {
        self.signatures.is_some()
    }

    /// Whether the certificate of a connection is accepted now.
    pub(crate) fn trusts(&self, shown: &certificate::Shown) -> bool {
        shown.caller(self.certificates.as_ref(), None, Timestamp::now()).is_ok()
    }

    /// The authorization servers whose tokens are accepted.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// By `Authorization`; `None` where there is none. What a credential looks like says which kind it is, and it is tried as no other.
    async fn by_authorization(
        &self,
        address: Option<IpAddr>,
        peer: &Peer,
        request: &Parts,
    ) -> Result<Option<Caller>, Refused> {
        let mut credentials = request.headers.get_all(header::AUTHORIZATION).iter();
        let (credential, another) = (credentials.next(), credentials.next());
        if another.is_some() {
            return Err(WRONG);
        }
        let Some(credential) = credential else { return Ok(None) };
        // Where no credentials are configured, one is still never ignored: its sender believes it counts.
        let token = credential.to_str().ok().and_then(bearer).ok_or(WRONG)?;
        let now = Timestamp::now();
        if keys::is_one(token) || !self.tokens.are_accepted() {
            let record = self.keys.find(token, now).ok_or(WRONG)?;
            return Ok(Some(record.caller(address)));
        }
        let certificate = peer.certificate().map(AsRef::as_ref);
        let shown = jwt::Showing { path: request.uri.path(), certificate };
        match self.tokens.caller(token, shown, now).await {
            Ok(caller) => Ok(Some(Caller { address, ..caller })),
            Err(wrong) => Err(self.refused(wrong, token)),
        }
    }

    /// What is said of a token that is not accepted: the same of every wrong one.
    fn refused(&self, wrong: Wrong, token: &str) -> Refused {
        let reason = wrong.reason();
        match wrong {
            Wrong::Scope => Refused {
                reason,
                text: "This token lacks a scope without which nobody is let in. Get one with the scopes that `WWW-Authenticate` names.",
                challenge: insufficient_scope(&self.tokens.required_scopes(token)).into(),
                is_wrong: false,
                status: StatusCode::FORBIDDEN,
            },
            Wrong::NoKeys => Refused {
                reason,
                text: "The keys of the authorization server cannot be fetched, so its tokens cannot be judged now. Try again in a few seconds.",
                is_wrong: false,
                status: StatusCode::SERVICE_UNAVAILABLE,
                ..WRONG_TOKEN
            },
            _ => Refused { reason, ..WRONG_TOKEN },
        }
    }

    /// The challenge for a call that more scopes would allow.
    pub(crate) fn step_up(&self, caller: &Caller, allows: impl Fn(&Caller) -> bool) -> Option<Arc<StepUp>> {
        let scopes = self.tokens.step_up(caller, allows)?;
        let challenge = self.told_way(&insufficient_scope(&scopes), "/mcp");
        Some(Arc::new(StepUp { scopes: scopes.join(" "), challenge }))
    }

    /// A challenge with the way to a token, for a request to `path`.
    pub(crate) fn challenge(&self, refused: &Refused, path: &str) -> String {
        self.told_way(&refused.challenge, path)
    }

    fn told_way(&self, challenge: &str, path: &str) -> String {
        if !self.tokens.are_accepted() || !challenge.starts_with("Bearer ") {
            return challenge.to_owned();
        }
        let first = if challenge.contains(" scope=") { Vec::new() } else { self.tokens.first_scopes() };
        format!("{challenge}{}", metadata::way(&self.tokens, path, &first))
    }
}

/// RFC 6750, section 3.1. Scopes are checked to have no quotes.
fn insufficient_scope(scopes: &[&str]) -> String {
    format!("Bearer realm=\"weir\", error=\"insufficient_scope\", scope=\"{}\"", scopes.join(" "))
}

/// Who sent a request with this head, and what its body must still prove. Several kinds of credential may be shown at once; each that is
/// shown must be right.
///
/// # Errors
/// [`Refused`] when a credential is wrong, when two contradict each other, or when none is there and one is needed.
pub(crate) async fn authenticate(
    router: &Router,
    peer: &Peer,
    address: Option<IpAddr>,
    request: &Parts,
) -> Result<(Caller, Option<Unproven>), Refused> {
    let authenticator = &router.authenticator;
    let certificate = match peer {
        Peer::InProcess => return Ok((authenticator.local.clone(), None)),
        Peer::Remote(_, certificate) => certificate.as_deref(),
    };
    // The order in which they count: `Authorization`, then the signature, then the certificate.
    let authorization = authenticator.by_authorization(address, peer, request).await?;
    let now = Timestamp::now();
    let signed =
        authenticator.signatures.as_ref().map(|signatures| signatures.of(address, request, now)).transpose()?;
    let (signed, unproven) = signed.flatten().unzip();
    let certified =
        certificate.map(|shown| shown.caller(authenticator.certificates.as_ref(), address, now)).transpose()?;
    let shown = [authorization, signed, certified];
    let mut shown = shown.into_iter().flatten();
    let Some(first) = shown.next() else {
        return if authenticator.requires_credentials {
            Err(MISSING)
        } else {
            Ok((Caller { address, ..authenticator.local.clone() }, None))
        };
    };
    let is_other = |caller: &Caller| caller.principal != first.principal;
    if authenticator.combine == Combine::Refuse && shown.any(|caller| is_other(&caller)) {
        return Err(CONTRADICTION);
    }
    Ok((first, unproven))
}

/// The token of `Bearer <token>`; the scheme's case does not count (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

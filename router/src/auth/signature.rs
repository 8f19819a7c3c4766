//! Signed requests: HTTP Message Signatures (RFC 9421) with `hmac-sha256`, and the digest of what is sent (RFC 9530).
//!
//! A request has one signature, or is refused. What its head says is checked before its body is read; the body against its digest when it
//! was, before anything looks into it; and last of all the nonce is used up, so that nobody uses up another's by sending half of a request.

mod base;
mod digest;
mod parameters;

use std::{borrow::Cow, collections::HashMap, fmt, net::IpAddr, sync::Arc, time::Duration};

use adapters::{AuthMethod, Caller, Principal};
use aws_lc_rs::{
    digest::{SHA256, digest as hash},
    hmac,
};
use cache::{NonceClaim, Nonces, Unspent};
use config::identity::{Signatures as Settings, signatures::SigningKey};
use http::{Method, StatusCode, request::Parts};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::Refused;
use base::Origin;
use digest::Digests;
use parameters::Parameters;

/// What tells a caller how to sign (RFC 9421, section 5.1).
pub(crate) const ACCEPT_SIGNATURE: &str =
    "sig=(\"@method\" \"@target-uri\" \"content-digest\");created;expires;alg=\"hmac-sha256\"";

/// Tells callers apart by their signatures.
pub(crate) struct Signatures {
    keys: HashMap<Box<str>, Key>,
    /// What the signatures of unknown keys are compared by, so that they take as long.
    decoy: hmac::Key,
    origin: Origin,
    window_s: i64,
    leeway: Duration,
    nonces: Nonces,
}

/// One key, and who signs with it.
struct Key {
    id: Arc<str>,
    mac: hmac::Key,
    /// The SHA-256 of the secret.
    print: [u8; 32],
    principal: Principal,
    roles: Arc<[Box<str>]>,
}

/// What is still to be proven of a request whose head was signed: that the body is the one that was, and that it was not sent before.
#[derive(Debug)]
pub(crate) struct Unproven {
    digests: Option<Digests>,
    key_id: Arc<str>,
    nonce: String,
    created_s: i64,
    expires_s: i64,
    leeway: Duration,
    nonces: Nonces,
    address: Option<IpAddr>,
}

impl Signatures {
    /// Those of a checked config; `secrets` holds what its keys refer to.
    pub(crate) fn new(
        settings: &Settings,
        secrets: &HashMap<String, SecretString>,
        public_url: Option<&str>,
        nonces: &Nonces,
    ) -> Option<Self> {
        nonces.watch();
        let key = |(id, key): (&String, &SigningKey)| {
            let secret = secrets.get(id)?.expose_secret().as_bytes();
            Some((id.as_str().into(), Key::new(id, key, secret)))
        };
        let mut decoy = [0; 32];
        aws_lc_rs::rand::fill(&mut decoy).expect("the system has random bytes");
        Some(Self {
            keys: settings.keys.iter().filter_map(key).collect(),
            decoy: hmac::Key::new(hmac::HMAC_SHA256, &decoy),
            origin: Origin::parse(public_url?)?,
            window_s: i64::try_from(settings.window.0.as_secs()).unwrap_or(i64::MAX),
            leeway: settings.leeway.0,
            nonces: nonces.clone(),
        })
    }

    /// Who signed this request, and what is still to be proven; `None` where it has no signature.
    pub(super) fn of(
        &self,
        address: Option<IpAddr>,
        request: &Parts,
        now: Timestamp,
    ) -> Result<Option<(Caller, Unproven)>, Refused> {
        let Some(parameters) = Parameters::of(&request.headers).map_err(wrong)? else { return Ok(None) };
        let has_body = request.method == Method::POST;
        let needed: &[&str] =
            if has_body { &["@method", "@target-uri", "content-digest"] } else { &["@method", "@target-uri"] };
        if !needed.iter().all(|needed| parameters.covers(needed)) {
            return Err(wrong(
                "The signature does not cover enough: sign \"@method\", \"@target-uri\" and, with a body, \"content-digest\".",
            ));
        }
        self.is_in_time(&parameters, now.as_second())?;
        let base = base::of(request, &self.origin, &parameters).map_err(wrong)?;
        let key = self.keys.get(parameters.key_id.as_str());
        let mac = key.map_or(&self.decoy, |key| &key.mac);
        let is_right = hmac::verify(mac, base.as_bytes(), &parameters.signature).is_ok();
        let key = key.filter(|_| is_right).ok_or(wrong(NOT_RIGHT))?;
        let digests = has_body.then(|| Digests::of(&request.headers)).transpose().map_err(wrong)?;
        let unproven = Unproven {
            digests,
            key_id: key.id.clone(),
            nonce: parameters.nonce,
            created_s: parameters.created_s,
            expires_s: parameters.expires_s,
            leeway: self.leeway,
            nonces: self.nonces.clone(),
            address,
        };
        Ok(Some((key.caller(address), unproven)))
    }

    fn is_in_time(&self, parameters: &Parameters, now_s: i64) -> Result<(), Refused> {
        let Parameters { created_s, expires_s, .. } = *parameters;
        let leeway_s = i64::try_from(self.leeway.as_secs()).unwrap_or(i64::MAX);
        if expires_s <= created_s || expires_s.saturating_sub(created_s) > self.window_s {
            return Err(wrong(WINDOW));
        }
        if created_s > now_s.saturating_add(leeway_s) {
            return Err(wrong(EARLY));
        }
        if expires_s <= now_s {
            return Err(wrong(LATE));
        }
        Ok(())
    }

    /// Who signs with the key of this id now, if its secret is still the one with this print.
    pub(super) fn still(&self, id: &str, print: &[u8], address: Option<IpAddr>) -> Option<Caller> {
        self.keys.get(id).filter(|key| key.print == print).map(|key| key.caller(address))
    }

    /// The print of the secret of this key.
    pub(super) fn print(&self, id: &str) -> Option<&[u8]> {
        self.keys.get(id).map(|key| key.print.as_slice())
    }
}

impl Unproven {
    /// Where the request came from.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether `body`, all that was sent, is what was signed, and for the first time. Nothing is used up when it is not.
    ///
    /// # Errors
    /// [`Refused`] when the request must not count.
    pub(crate) async fn prove(self, body: &[u8]) -> Result<(), Refused> {
        let is_signed = match &self.digests {
            Some(digests) => digests.fit(body),
            None => body.is_empty(),
        };
        if !is_signed {
            return Err(wrong("The body is not the one of Content-Digest."));
        }
        let millis = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
        let claim = NonceClaim {
            key_id: &self.key_id,
            nonce: &self.nonce,
            created_ms: millis(self.created_s),
            expires_ms: millis(self.expires_s),
            leeway: self.leeway,
        };
        self.nonces.spend(&claim).await.map_err(unspent)
    }
}

impl Key {
    fn new(id: &str, settings: &SigningKey, secret: &[u8]) -> Self {
        Self {
            id: id.into(),
            mac: hmac::Key::new(hmac::HMAC_SHA256, secret),
            print: hash(&SHA256, secret).as_ref().try_into().expect("SHA-256 has 32 bytes"),
            principal: Principal {
                issuer: "weir".into(),
                subject: settings.subject.as_str().into(),
                tenant: settings.tenant.as_deref().map(Into::into),
            },
            roles: settings.roles.iter().map(|role| role.as_str().into()).collect(),
        }
    }

    fn caller(&self, address: Option<IpAddr>) -> Caller {
        Caller {
            principal: self.principal.clone(),
            roles: self.roles.clone(),
            claims: Arc::default(),
            credential_id: Some(self.id.clone()),
            method: AuthMethod::Signature,
            address,
            expires: None,
            token: None,
        }
    }
}

const NOT_RIGHT: &str = "This signature is not accepted. Sign with a key that Weir knows, for the public address of Weir; \
    the documentation of signed requests has an example.";
const WINDOW: &str = "The signature must count for a time, and for no longer than identity.signatures.window says: \
    `expires` is after `created`, by at most 300 s unless the operator says otherwise.";
const EARLY: &str = "The signature was made in the future. Set the clock of this machine.";
const LATE: &str = "The signature has expired. Sign again; set the clock of this machine if that does not help.";

/// A signature that is not accepted.
fn wrong(text: &'static str) -> Refused {
    Refused {
        reason: "bad_signature",
        text,
        challenge: Cow::Borrowed("Signature realm=\"weir\", error=\"invalid_signature\""),
        is_wrong: true,
        status: StatusCode::UNAUTHORIZED,
    }
}

fn unspent(why: Unspent) -> Refused {
    let (reason, text, is_wrong) = match why {
        Unspent::Used => {
            ("replayed_signature", "This request was sent before. Sign each request with a nonce of its own.", true)
        }
        Unspent::Early => ("bad_signature", EARLY, true),
        Unspent::Late => ("bad_signature", LATE, true),
        Unspent::Lost => (
            "nonces_unknown",
            "Weir has not been there for long, or has lost what it knew of nonces: signatures from before are refused. Sign again in a few seconds.",
            false,
        ),
        Unspent::Gone | Unspent::Evicts | Unspent::Full => (
            "nonces_unknown",
            "Whether this request was sent before cannot be known now, so it is refused. Sign again later, or use another credential.",
            false,
        ),
    };
    Refused { reason, text, is_wrong, ..wrong(text) }
}

/// The secrets are not shown.
impl fmt::Debug for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signatures").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// What a stranger writes in the headers of a signed request, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn fuzz(headers: &http::HeaderMap, body: &[u8]) {
    if let Ok(Some(parameters)) = Parameters::of(headers) {
        assert!(!parameters.nonce.is_empty() && !parameters.key_id.is_empty());
    }
    if let Ok(digest) = Digests::of(headers) {
        digest.fit(body);
    }
}

#[cfg(test)]
mod tests;

//! Access tokens of authorization servers: OAuth 2.1 as a resource server (RFC 9068, RFC 8707).

mod claims;
mod discovery;
mod key;
mod schedule;
mod source;
mod token;
mod wrong;

use std::{fmt::Write as _, sync::Arc, time::Duration};

use adapters::{AuthMethod, Caller, Principal};
use aws_lc_rs::digest;
use config::{Config, Sources, downstream::Credential, identity::Jwt};
use jiff::Timestamp;
use moka::sync::Cache;
use secrecy::SecretString;

use crate::StartError;
use claims::{Audience, Judged};
use key::Thumbprint;
use source::KeySource;
use token::{TOKEN_BYTES_MAX, Token};
pub(in crate::auth) use wrong::Wrong;

/// How much memory tokens that were verified may take, counted as a multiple of their length.
const VERIFIED_BYTES_MAX: u64 = 64 << 20;
/// What one of them takes beside its claims, and how its claims grow when they are read.
const VERIFIED_BYTES_EACH: usize = 1 << 10;
const VERIFIED_GROWTH: usize = 4;
/// How long one is remembered that nobody shows any more.
const VERIFIED_IDLE: Duration = Duration::from_secs(900);
/// The scope that asks for a refresh token. It is nothing that a resource needs.
const OFFLINE_ACCESS: &str = "offline_access";

/// The first half of a token's SHA-256: names the token in records and among those that were verified.
type TokenId = [u8; 16];

/// The authorization servers whose tokens are accepted, and the tokens of theirs that were verified.
#[derive(Debug)]
pub(crate) struct Tokens {
    issuers: Vec<Issuer>,
    /// The canonical URI of the MCP endpoint.
    resource: Box<str>,
    verified: Cache<TokenId, Arc<Verified>>,
    /// Whether a downstream exchanges its callers' tokens; otherwise none is kept.
    exchanges: bool,
}

#[derive(Debug)]
struct Issuer {
    settings: Jwt,
    name: Arc<str>,
    keys: Arc<KeySource>,
}

/// A token whose signature and claims were found right. Time, key, place and certificate are looked at each time it is shown.
#[derive(Debug)]
struct Verified {
    hash: [u8; 32],
    issuer: usize,
    key: Thumbprint,
    ends: Timestamp,
    audience: Audience,
    certificate: Option<[u8; 32]>,
    caller: Caller,
}

/// With what a token was shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Showing<'a> {
    pub(super) path: &'a str,
    /// The client certificate of the connection, in DER.
    pub(super) certificate: Option<&'a [u8]>,
}

impl Tokens {
    /// Those of a config. Keys of an issuer that was there `before` are taken over. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When the URL or the authorities of an issuer cannot be used.
    pub(crate) fn new(config: &Config, sources: &Sources, before: Option<&Self>) -> Result<Self, StartError> {
        let issuer = |settings: &Jwt| {
            let known = before.into_iter().flat_map(|before| &before.issuers).find(|known| known.keys.is_of(settings));
            let keys = match known {
                Some(known) => known.keys.clone(),
                None => Arc::new(
                    KeySource::start(settings, sources)
                        .map_err(|source| StartError::Issuer { issuer: settings.issuer.clone(), source })?,
                ),
            };
            Ok(Issuer { settings: settings.clone(), name: settings.issuer.as_str().into(), keys })
        };
        let weight = |_: &TokenId, verified: &Arc<Verified>| {
            let claims = serde_json::to_string(&*verified.caller.claims).map_or(TOKEN_BYTES_MAX, |claims| claims.len());
            u32::try_from(VERIFIED_BYTES_EACH + claims * VERIFIED_GROWTH).unwrap_or(u32::MAX)
        };
        let public_url = config.server.public_url.as_deref().unwrap_or_default();
        Ok(Self {
            issuers: config.identity.jwt.iter().map(issuer).collect::<Result<_, StartError>>()?,
            resource: format!("{}/mcp", public_url.trim_end_matches('/')).into(),
            verified: Cache::builder()
                .max_capacity(VERIFIED_BYTES_MAX)
                .weigher(weight)
                .time_to_idle(VERIFIED_IDLE)
                .build(),
            exchanges: config
                .downstreams
                .values()
                .filter_map(config::Downstream::credential)
                .any(|credential| matches!(credential, Credential::TokenExchange(_))),
        })
    }

    /// Whether tokens are accepted at all.
    pub(super) fn are_accepted(&self) -> bool {
        !self.issuers.is_empty()
    }

    /// Who shows the token, from nowhere yet.
    pub(super) async fn caller(&self, text: &str, shown: Showing<'_>, now: Timestamp) -> Result<Caller, Wrong> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Wrong::Malformed);
        }
        let (hash, id) = names(text);
        let known = self
            .verified
            .get(&id)
            .filter(|known| known.hash == hash && now < known.ends && self.issuers[known.issuer].keys.has(&known.key));
        let verified = match known {
            Some(known) => known,
            None => {
                let verified = Arc::new(self.verify(text, hash, now).await?);
                self.verified.insert(id, verified.clone());
                verified
            }
        };
        verified.check(shown)?;
        Ok(verified.caller.clone())
    }

    async fn verify(&self, text: &str, hash: [u8; 32], now: Timestamp) -> Result<Verified, Wrong> {
        let token = Token::read(text)?;
        let named = token.issuer().ok_or(Wrong::Issuer)?;
        let found = self.issuers.iter().enumerate().find(|(_, issuer)| *issuer.name == *named);
        let (index, issuer) = found.ok_or(Wrong::Issuer)?;
        if !issuer.settings.algorithms.contains(&token.algorithm) {
            return Err(Wrong::Algorithm);
        }
        let key = issuer.keys.signer(token.key.as_deref(), token.algorithm, token.signed, &token.signature).await?;
        if !token.is_access_token {
            claims::is_access_token(&token.claims)?;
        }
        let judged = claims::judge(&issuer.settings, &self.resource, &token.claims, now)?;
        let id: String = hash[..16].iter().fold("jwt-".to_owned(), |mut id, byte| {
            write!(id, "{byte:02x}").expect("a String takes everything");
            id
        });
        let own = self.exchanges.then(|| Arc::new(SecretString::from(text)));
        let Judged { ends, audience, certificate, .. } = judged;
        let caller = Caller {
            claims: Arc::new(token.claims),
            credential_id: Some(id.into()),
            token: own,
            ..issuer.caller(judged.subject, judged.tenant, judged.roles, ends)
        };
        Ok(Verified { hash, issuer: index, key, ends, audience, certificate, caller })
    }

    /// By which key the token of `caller` was signed, as long as that is remembered.
    pub(super) fn key_of(&self, caller: &Caller) -> Option<Thumbprint> {
        let digits = caller.credential_id.as_deref()?.strip_prefix("jwt-")?;
        let id = u128::from_str_radix(digits, 16).ok()?.to_be_bytes();
        self.verified.get(&id).map(|known| known.key)
    }

    /// A caller of before as its token would be judged now; `None` when it would be refused.
    pub(super) fn still(&self, caller: &Caller, key: &Thumbprint, now: Timestamp) -> Option<Caller> {
        let issuer = self.of(caller).filter(|issuer| issuer.keys.has(key))?;
        let judged = claims::judge(&issuer.settings, &self.resource, &caller.claims, now).ok()?;
        let current = Caller {
            claims: caller.claims.clone(),
            credential_id: caller.credential_id.clone(),
            address: caller.address,
            token: caller.token.clone(),
            ..issuer.caller(judged.subject, judged.tenant, judged.roles, judged.ends)
        };
        (current.principal == caller.principal).then_some(current)
    }

    /// The scopes with which `caller` could do what it may not: those that it is to ask for, where the config lets it know of them.
    pub(super) fn step_up(&self, caller: &Caller, allows: impl Fn(&Caller) -> bool) -> Option<Vec<&str>> {
        let settings = &self.of(caller)?.settings;
        let held = claims::scopes(&caller.claims);
        let mut lacking = settings.step_up.iter().filter(|scope| !held.contains(&scope.as_str()));
        let helps = |scope: &&String| {
            let roles = settings.scopes.get(*scope).into_iter().flatten().map(|role| role.as_str().into());
            allows(&Caller { roles: caller.roles.iter().cloned().chain(roles).collect(), ..caller.clone() })
        };
        let scope = lacking.find(helps)?;
        let required = settings.required_scopes.iter().filter(|required| *required != scope);
        Some(required.chain([scope]).map(String::as_str).collect())
    }

    /// The scopes that the issuer of a token wants to see in it, for a token that lacks one.
    pub(super) fn required_scopes(&self, text: &str) -> Vec<&str> {
        let token = Token::read(text).ok();
        let issuer = token.as_ref().and_then(Token::issuer);
        let issuer = self.issuers.iter().find(|known| issuer == Some(&*known.name));
        issuer.into_iter().flat_map(|issuer| &issuer.settings.required_scopes).map(String::as_str).collect()
    }

    /// The scopes that a client without a token is to ask for: all but those of a step up.
    pub(super) fn first_scopes(&self) -> Vec<&str> {
        let mut first: Vec<&str> = Vec::new();
        for Jwt { required_scopes, scopes, step_up, .. } in self.issuers.iter().map(|issuer| &issuer.settings) {
            let usual = scopes.keys().filter(|scope| !step_up.contains(scope));
            for scope in required_scopes.iter().chain(usual) {
                if *scope != OFFLINE_ACCESS && !first.contains(&scope.as_str()) {
                    first.push(scope);
                }
            }
        }
        first
    }

    /// The canonical URI of the MCP endpoint.
    pub(super) fn resource(&self) -> &str {
        &self.resource
    }

    pub(super) fn issuer_names(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|issuer| &*issuer.name)
    }

    fn of(&self, caller: &Caller) -> Option<&Issuer> {
        let issuer = || self.issuers.iter().find(|issuer| issuer.name == caller.principal.issuer);
        (caller.method == AuthMethod::Jwt).then(issuer)?
    }
}

impl Issuer {
    fn caller(&self, subject: Arc<str>, tenant: Option<Arc<str>>, roles: Arc<[Box<str>]>, ends: Timestamp) -> Caller {
        Caller {
            principal: Principal { issuer: self.name.clone(), subject, tenant },
            roles,
            claims: Arc::default(),
            credential_id: None,
            method: AuthMethod::Jwt,
            address: None,
            expires: Some(ends),
            token: None,
        }
    }
}

impl Verified {
    /// Whether it counts where and as it is shown.
    fn check(&self, shown: Showing<'_>) -> Result<(), Wrong> {
        if !self.audience.has(shown.path) {
            return Err(Wrong::Audience);
        }
        let Some(bound) = &self.certificate else { return Ok(()) };
        let is_shown = |certificate| digest::digest(&digest::SHA256, certificate).as_ref() == bound;
        shown.certificate.is_some_and(is_shown).then_some(()).ok_or(Wrong::Bound)
    }
}

/// The SHA-256 of a token, and the half of it that names it.
fn names(text: &str) -> ([u8; 32], TokenId) {
    let hash: [u8; 32] =
        digest::digest(&digest::SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes");
    let (id, _) = hash.split_first_chunk().expect("16 are fewer than 32");
    (hash, *id)
}

/// What a stranger sends as a token, and an authorization server as its keys, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn fuzz(token: &str, keys: &[u8]) {
    let keys = key::read_set(keys).unwrap_or_default();
    if let Ok(token) = Token::read(token) {
        let _ = token.issuer();
        let _ = key::choose(&keys, token.key.as_deref(), token.algorithm);
    }
}

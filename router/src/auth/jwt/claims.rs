//! What a token's claims come to under the settings of its issuer. Pure: the signature was verified before.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use config::identity::Jwt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::wrong::Wrong;

/// The longest subject or tenant: they stand in every record.
const NAME_BYTES_MAX: usize = 512;
/// How many scopes and roles of one token are looked at.
const VALUES_MAX: usize = 1000;

/// Who a token is for, and what it gives.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) subject: Arc<str>,
    pub(super) tenant: Option<Arc<str>>,
    pub(super) roles: Arc<[Box<str>]>,
    /// From then on it is refused: its `exp`, and the leeway.
    pub(super) ends: Timestamp,
    pub(super) audience: Audience,
    /// SHA-256 of the certificate that its bearer must show (RFC 8705, section 3.1).
    pub(super) certificate: Option<[u8; 32]>,
}

/// Where on this resource a token counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Everywhere,
    /// On these paths alone: it was made for a view.
    Paths(Box<[Box<str>]>),
}

impl Audience {
    pub(super) fn has(&self, path: &str) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Paths(paths) => paths.iter().any(|own| **own == *path),
        }
    }
}

/// What the claims of a token of this issuer come to at `now`. `resource` is the canonical URI of `/mcp`.
pub(super) fn judge(
    issuer: &Jwt,
    resource: &str,
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<Judged, Wrong> {
    let leeway = SignedDuration::try_from(issuer.leeway.0).map_err(|_| Wrong::Claims)?;
    let at = |name: &str| claims.get(name).map(|value| time(value).ok_or(Wrong::Claims)).transpose();
    let ends = at("exp")?.ok_or(Wrong::Claims)?.checked_add(leeway).map_err(|_| Wrong::Claims)?;
    if now >= ends {
        return Err(Wrong::Expired);
    }
    for begin in ["nbf", "iat"] {
        if at(begin)?.is_some_and(|begin| now.checked_add(leeway).is_ok_and(|latest| latest < begin)) {
            return Err(Wrong::NotYet);
        }
    }
    let audience = audience(issuer, resource, claims.get("aud")).ok_or(Wrong::Audience)?;
    let certificate = bound_certificate(claims)?;
    let subject = name(claims, &issuer.subject_claim).ok_or(Wrong::Claims)?;
    let tenant = match &issuer.tenant_claim {
        Some(path) => Some(name(claims, path).ok_or(Wrong::Claims)?),
        None => None,
    };
    let scopes = scopes(claims);
    if !issuer.required_scopes.iter().all(|required| scopes.contains(&required.as_str())) {
        return Err(Wrong::Scope);
    }
    let groups = issuer.roles_claim.as_deref().and_then(|path| find(claims, path)).map(words).unwrap_or_default();
    let by_group = groups.iter().filter_map(|group| issuer.roles.get(*group));
    let by_scope = scopes.iter().filter_map(|scope| issuer.scopes.get(*scope));
    let mut roles: Vec<Box<str>> = Vec::new();
    for role in by_group.chain(by_scope).flatten() {
        if !roles.iter().any(|held| **held == **role) {
            roles.push(role.as_str().into());
        }
    }
    Ok(Judged { subject, tenant, roles: roles.into(), ends, audience, certificate })
}

/// Refuses what is signed by the same key and is no access token, as far as it tells (RFC 9068, section 5; OpenID Connect Core, section 2).
pub(super) fn is_access_token(claims: &Map<String, Value>) -> Result<(), Wrong> {
    let says = |name: &str| claims.get(name).and_then(Value::as_str);
    match (says("typ"), says("token_use")) {
        // The words of two widespread servers, which put a nonce into access tokens too.
        (Some("Bearer"), _) | (_, Some("access")) => return Ok(()),
        (Some("ID" | "Refresh" | "Offline" | "Logout"), _) | (_, Some("id" | "refresh")) => return Err(Wrong::Kind),
        _ => {}
    }
    let of_id_tokens = ["nonce", "at_hash", "c_hash", "s_hash", "events"];
    if of_id_tokens.iter().any(|name| claims.contains_key(*name)) { Err(Wrong::Kind) } else { Ok(()) }
}

/// The scopes of a token: `scope` (RFC 8693, section 4.2), or `scp` where the issuer calls it so.
pub(super) fn scopes(claims: &Map<String, Value>) -> Vec<&str> {
    claims.get("scope").or_else(|| claims.get("scp")).map(words).unwrap_or_default()
}

/// A NumericDate (RFC 7519, section 2).
fn time(value: &Value) -> Option<Timestamp> {
    let seconds = value.as_i64().or_else(|| {
        let seconds = value.as_f64()?.floor();
        // Beyond these a time would not be exact, and is no time of ours either.
        (seconds.abs() < 9e15).then_some(seconds as i64)
    })?;
    Timestamp::from_second(seconds).ok()
}

/// For what on this resource the token was made; `None` when for nothing here.
fn audience(issuer: &Jwt, resource: &str, said: Option<&Value>) -> Option<Audience> {
    let said: Vec<&str> = match said? {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    let is_ours = |audience: &&str| match issuer.audience.as_slice() {
        [] => *audience == resource,
        stated => stated.iter().any(|stated| stated == audience),
    };
    if said.iter().any(is_ours) {
        return Some(Audience::Everywhere);
    }
    let origin = resource.strip_suffix("/mcp")?;
    let view = |audience: &&str| audience.strip_prefix(origin).filter(|path| path.starts_with("/mcp/")).map(Into::into);
    let paths: Box<[Box<str>]> = said.iter().filter_map(view).collect();
    (issuer.audience.is_empty() && !paths.is_empty()).then_some(Audience::Paths(paths))
}

/// A token that is bound to a key is no bearer token. Of the ways to prove that one holds the key, Weir knows the client certificate.
fn bound_certificate(claims: &Map<String, Value>) -> Result<Option<[u8; 32]>, Wrong> {
    let Some(bound) = claims.get("cnf") else { return Ok(None) };
    let hash = bound.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("x5t#S256"));
    let hash = hash.and_then(Value::as_str).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    hash.and_then(|hash| hash.try_into().ok()).map(Some).ok_or(Wrong::Bound)
}

/// A claim that names somebody: a text that can stand in a record.
fn name(claims: &Map<String, Value>, path: &str) -> Option<Arc<str>> {
    let name = find(claims, path)?.as_str()?;
    let is_fit = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    is_fit.then(|| name.into())
}

/// The claim of this very name, or what a path with dots leads to.
fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    claims.get(path).or_else(|| {
        let (first, rest) = path.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    })
}

/// A list of texts, or one text with spaces between. Of a list that holds anything else nothing counts.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split(' ').filter(|word| !word.is_empty()).take(VALUES_MAX).collect(),
        Value::Array(values) => {
            values.iter().take(VALUES_MAX).map(Value::as_str).collect::<Option<_>>().unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;

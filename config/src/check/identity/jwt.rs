//! `identity.jwt`: authorization servers whose tokens are accepted.

use std::collections::HashSet;

use crate::{Config, Period, identity::Jwt, web::WebUrl};

use super::super::{Scope, known_role};

/// More would let tokens live on long after their end.
const LEEWAY_MAX: Period = Period::s(300);

/// What belongs to one authorization server.
pub(super) fn issuer(issuer: &Jwt, known_roles: &[&str], scope: &Scope<'_>) {
    url(&issuer.issuer, false, &scope.key("issuer"));
    if let Some(jwks_url) = &issuer.jwks_url {
        url(jwks_url, true, &scope.key("jwks_url"));
    }
    for (scope, audience) in scope.key("audience").items(&issuer.audience) {
        if audience.is_empty() {
            scope.refuse("must not be empty", "write what tokens have in `aud`");
        }
    }
    if issuer.algorithms.is_empty() {
        scope.key("algorithms").refuse("must name an algorithm", "leave it out for RS256, PS256, ES256 and EdDSA");
    }
    for (key, path) in [
        ("subject_claim", Some(&issuer.subject_claim)),
        ("tenant_claim", issuer.tenant_claim.as_ref()),
        ("roles_claim", issuer.roles_claim.as_ref()),
    ] {
        if path.is_some_and(|path| path.split('.').any(str::is_empty)) {
            scope
                .key(key)
                .refuse("must be the name of a claim", "a path has names with dots between: `realm_access.roles`");
        }
    }
    for (key, map) in [("roles", &issuer.roles), ("scopes", &issuer.scopes)] {
        for (value, roles) in map {
            for (scope, role) in scope.key(key).key(value).items(roles) {
                known_role(role, known_roles, &scope);
            }
        }
    }
    if scope.key("roles").given() && issuer.roles_claim.is_none() {
        scope
            .key("roles")
            .refuse("needs `roles_claim`", "name the claim whose values these are, or write scopes under `scopes`");
    }
    if !scope.key("roles").given() && !scope.key("scopes").given() {
        scope.warn("gives no role to anybody", "say under `roles` or `scopes` which claims give which roles");
    }
    let is_wrong = |name: &String| !is_scope(name);
    for name in issuer.scopes.keys().filter(|name| is_wrong(name)) {
        scope.key("scopes").key(name).refuse("is no scope", "a scope has no spaces, quotes or backslashes");
    }
    for (scope, name) in scope.key("required_scopes").items(&issuer.required_scopes) {
        if is_wrong(name) {
            scope.refuse("is no scope", "a scope has no spaces, quotes or backslashes");
        }
    }
    for (scope, name) in scope.key("step_up").items(&issuer.step_up) {
        if !issuer.scopes.contains_key(name) {
            scope.refuse(format!("names `{name}`, which gives no role"), "name a scope that stands under `scopes`");
        }
    }
    scope.key("leeway").time_within(issuer.leeway, Period::s(0), LEEWAY_MAX);
}

/// What belongs to all of them.
pub(super) fn together(config: &Config, root: &Scope<'_>) {
    let scope = root.key("identity").key("jwt");
    if !config.identity.jwt.is_empty() && !root.key("server").key("public_url").given() {
        scope.refuse(
            "needs `server.public_url`",
            "tokens must be meant for this resource, whose name is that URL with the path `/mcp`",
        );
    }
    let mut seen = HashSet::new();
    for (scope, issuer) in scope.items(&config.identity.jwt) {
        if !seen.insert(&issuer.issuer) {
            scope.key("issuer").refuse(format!("is there twice: `{}`", issuer.issuer), "one entry for each issuer");
        }
    }
}

/// Keys that come over plain HTTP are anybody's keys.
fn url(text: &str, may_ask: bool, scope: &Scope<'_>) {
    let parsed = WebUrl::parse(text);
    if parsed.as_ref().is_some_and(WebUrl::has_credentials) {
        scope.hide();
        scope.refuse("must not hold credentials", "write the URL without `user:password@`");
        return;
    }
    let is_safe = |url: &WebUrl| url.scheme() == "https" || url.scheme() == "http" && url.is_loopback();
    // RFC 8414, section 2: an issuer has no query and no fragment.
    if !parsed.is_some_and(|url| is_safe(&url) && (may_ask || !url.has_query()) && !url.has_fragment()) {
        scope.refuse(
            format!(
                "must be an `https://` URL without {}, not `{text}`",
                if may_ask { "fragment" } else { "query and fragment" }
            ),
            "plain `http://` is for this machine alone: `http://127.0.0.1:9000`",
        );
    }
}

/// A scope-token of RFC 6749, section 3.3.
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests;

//! `identity.signatures`: signed requests.

use crate::{Config, Period, identity::signatures::SigningKey};

use super::super::{Scope, known_role};

/// Nonces are kept as long, and a request that was caught counts as long.
const WINDOW_MAX: Period = Period::s(3_600);
const LEEWAY_MAX: Period = Period::s(60);
/// The longest id of a key that a signature may have.
const ID_BYTES_MAX: usize = 256;

pub(super) fn signatures(config: &Config, known_roles: &[&str], root: &Scope<'_>) {
    let Some(signatures) = &config.identity.signatures else { return };
    let scope = root.key("identity").key("signatures");
    if !root.key("server").key("public_url").given() {
        scope.refuse(
            "needs `server.public_url`, which is missing: callers sign the address that they know",
            "write scheme and host as callers do: `public_url: https://weir.example`",
        );
    }
    scope.key("window").time_within(signatures.window, Period::s(1), WINDOW_MAX);
    scope.key("leeway").time_within(signatures.leeway, Period::s(0), LEEWAY_MAX);
    let keys = scope.key("keys");
    if keys.keys().is_empty() {
        keys.refuse(
            "names no key: no signature would be let in",
            "write `keyid: { secret: { env: NAME }, subject: … }`",
        );
    }
    for (id, settings) in &signatures.keys {
        key(id, settings, known_roles, &keys.key(id));
    }
}

fn key(id: &str, key: &SigningKey, known_roles: &[&str], scope: &Scope<'_>) {
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        scope.refuse(
            format!("is no `keyid` that a signature can have: 1 to {ID_BYTES_MAX} visible ASCII characters"),
            "choose a short name without blanks, such as `billing-2026`",
        );
    }
    if key.subject.is_empty() {
        scope.key("subject").refuse("must not be empty", "say who signs with the key");
    }
    if key.tenant.as_ref().is_some_and(String::is_empty) {
        scope.key("tenant").refuse("must not be empty", "leave it out where there are no tenants");
    }
    for (scope, role) in scope.key("roles").items(&key.roles) {
        known_role(role, known_roles, &scope);
    }
}

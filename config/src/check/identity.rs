//! `identity`.

mod jwt;
mod mtls;
mod signatures;

use crate::Config;

use super::{Scope, known_role};

pub(super) fn identity(config: &Config, root: &Scope<'_>) {
    let (identity, scope) = (&config.identity, root.key("identity"));
    let known = root.key("policy").key("roles").keys();
    let local = scope.key("local");
    for (scope, role) in local.key("roles").items(&identity.local.roles) {
        known_role(role, &known, &scope);
    }
    for (scope, issuer) in scope.key("jwt").items(&identity.jwt) {
        jwt::issuer(issuer, &known, &scope);
    }
    jwt::together(config, root);
    mtls::mtls(config, &known, root);
    signatures::signatures(config, &known, root);
    let only_local = !["api_keys", "jwt", "mtls", "signatures"].iter().any(|kind| scope.key(kind).given());
    if only_local && !local.key("roles").given() && root.key("downstreams").given() {
        root.warn(
            "nobody can use this config: there are no API keys, and the local caller has no role",
            "give `identity.local.roles`, or `identity.api_keys`",
        );
    }
}

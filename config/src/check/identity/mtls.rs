//! `identity.mtls`: client certificates.

use crate::{Config, identity::mtls::CertificateRule};

use super::super::{Scope, known_role};

pub(super) fn mtls(config: &Config, known_roles: &[&str], root: &Scope<'_>) {
    let Some(mtls) = &config.identity.mtls else { return };
    let scope = root.key("identity").key("mtls");
    if !root.key("server").key("tls").given() {
        scope.refuse(
            "needs `server.tls`, which is missing: certificates are shown in the handshakes of this listener",
            "what a proxy in front says of certificates is never believed: let it pass TLS through, or use another credential",
        );
    }
    let callers = scope.key("callers");
    if mtls.callers.is_empty() && callers.keys().is_empty() && callers.indices().is_empty() {
        callers.refuse(
            "names nobody: no certificate would be let in",
            "write who is meant: `{ uri: 'spiffe://corp.example/agents/*', roles: [agent] }`",
        );
    }
    for (scope, rule) in callers.items(&mtls.callers) {
        caller(rule, known_roles, &scope);
    }
}

fn caller(rule: &CertificateRule, known_roles: &[&str], scope: &Scope<'_>) {
    let patterns = [("uri", &rule.uri), ("dns", &rule.dns), ("email", &rule.email)];
    let mut given = patterns.iter().filter_map(|(kind, pattern)| pattern.as_ref().map(|pattern| (*kind, pattern)));
    match (given.next(), given.next()) {
        (Some((kind, pattern)), None) => {
            if pattern.as_str().is_empty() {
                scope.key(kind).refuse(
                    "is empty, and so fits no name",
                    "write a name, in which `*` stands for any run of characters",
                );
            }
            if pattern.as_str().bytes().all(|byte| byte == b'*') && rule.subject.is_some() {
                scope.key(kind).warn(
                    "fits every certificate of the authorities, and all of them are one subject",
                    "name the part that callers have in common, or leave `subject` out",
                );
            }
        }
        _ => scope.refuse("must have exactly one of `uri`, `dns` and `email`", "write one rule for each name"),
    }
    if rule.subject.as_ref().is_some_and(String::is_empty) {
        scope
            .key("subject")
            .refuse("must not be empty", "leave it out, and the name of the certificate is the subject");
    }
    if rule.tenant.as_ref().is_some_and(String::is_empty) {
        scope.key("tenant").refuse("must not be empty", "leave it out where there are no tenants");
    }
    for (scope, role) in scope.key("roles").items(&rule.roles) {
        known_role(role, known_roles, &scope);
    }
}

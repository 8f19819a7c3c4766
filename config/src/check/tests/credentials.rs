//! `identity.mtls` and `identity.signatures`.

use insta::assert_snapshot;

use super::said;

/// With roles, and TLS and a public address unless a case has a `server` of its own.
fn identity(cases: &[&str]) -> String {
    const REST: &str = "\npolicy: { roles: { r: { allow: ['*'] } } }";
    const SERVER: &str = "server: { public_url: 'https://weir.example', tls: { certificate: c, key: k } }\n";
    let one = |case: &&str| {
        if case.starts_with("server") { format!("{case}{REST}") } else { format!("{SERVER}{case}{REST}") }
    };
    let configs: Vec<String> = cases.iter().map(one).collect();
    said(&configs.iter().map(String::as_str).collect::<Vec<_>>()).replace(REST, "").replace(SERVER, "")
}

#[test]
fn client_certificates_are_shown_to_this_listener_and_mean_somebody() {
    assert_snapshot!(identity(&[
        "identity: { mtls: { ca: ca.pem, callers: [ { uri: 'spiffe://a/*', roles: [r] } ] } }",
        "server: { behind_tls_proxy: true }\nidentity: { mtls: { ca: ca.pem, callers: [ { uri: 'spiffe://a/*', roles: [r] } ] } }",
        "identity: { mtls: { ca: ca.pem, callers: [] } }",
        "identity: { mtls: { ca: ca.pem, callers: [ { roles: [r] } ] } }",
        "identity: { mtls: { ca: ca.pem, callers: [ { uri: 'spiffe://a/*', dns: a.example } ] } }",
        "identity: { mtls: { ca: ca.pem, callers: [ { uri: '', subject: '', tenant: '', roles: [q] } ] } }",
        "identity: { mtls: { ca: ca.pem, callers: [ { dns: '*', subject: all, roles: [r] } ] } }",
    ]), @"
    identity: { mtls: { ca: ca.pem, callers: [ { uri: 'spiffe://a/*', roles: [r] } ] } }
      warning 0:0 there are no `downstreams`: callers will find no tools
        help: add one: a database with `postgres`, another MCP server with `mcp`
    server: { behind_tls_proxy: true }
    identity: { mtls: { ca: ca.pem, callers: [ { uri: 'spiffe://a/*', roles: [r] } ] } }
      problem 2:13 `identity.mtls` needs `server.tls`, which is missing: certificates are shown in the handshakes of this listener
        help: what a proxy in front says of certificates is never believed: let it pass TLS through, or use another credential
    identity: { mtls: { ca: ca.pem, callers: [] } }
      problem 2:33 `identity.mtls.callers` names nobody: no certificate would be let in
        help: write who is meant: `{ uri: 'spiffe://corp.example/agents/*', roles: [agent] }`
    identity: { mtls: { ca: ca.pem, callers: [ { roles: [r] } ] } }
      problem 2:44 `identity.mtls.callers[0]` must have exactly one of `uri`, `dns` and `email`
        help: write one rule for each name
    identity: { mtls: { ca: ca.pem, callers: [ { uri: 'spiffe://a/*', dns: a.example } ] } }
      problem 2:44 `identity.mtls.callers[0]` must have exactly one of `uri`, `dns` and `email`
        help: write one rule for each name
    identity: { mtls: { ca: ca.pem, callers: [ { uri: '', subject: '', tenant: '', roles: [q] } ] } }
      problem 2:51 `identity.mtls.callers[0].uri` is empty, and so fits no name
        help: write a name, in which `*` stands for any run of characters
      problem 2:64 `identity.mtls.callers[0].subject` must not be empty
        help: leave it out, and the name of the certificate is the subject
      problem 2:76 `identity.mtls.callers[0].tenant` must not be empty
        help: leave it out where there are no tenants
      problem 2:88 `identity.mtls.callers[0].roles[0]` names the role `q`, which `policy.roles` does not have
        help: did you mean `r`?
    identity: { mtls: { ca: ca.pem, callers: [ { dns: '*', subject: all, roles: [r] } ] } }
      warning 0:0 there are no `downstreams`: callers will find no tools
        help: add one: a database with `postgres`, another MCP server with `mcp`
      warning 2:51 `identity.mtls.callers[0].dns` fits every certificate of the authorities, and all of them are one subject
        help: name the part that callers have in common, or leave `subject` out
    ");
}

#[test]
fn signed_requests_name_an_address_keys_and_a_time() {
    assert_snapshot!(identity(&[
        "identity: { signatures: { keys: { one: { secret: { env: A }, subject: s, roles: [r] } } } }",
        "server: {}\nidentity: { signatures: { keys: { one: { secret: { env: A }, subject: s } } } }",
        "identity: { signatures: { keys: {} } }",
        "identity: { signatures: { keys: { 'a b': { secret: { env: A }, subject: '', tenant: '', roles: [q] } } } }",
        "identity: { signatures: { window: 2h, leeway: 90s, keys: { one: { secret: { env: A }, subject: s } } } }",
    ]), @"
    identity: { signatures: { keys: { one: { secret: { env: A }, subject: s, roles: [r] } } } }
      warning 0:0 there are no `downstreams`: callers will find no tools
        help: add one: a database with `postgres`, another MCP server with `mcp`
    server: {}
    identity: { signatures: { keys: { one: { secret: { env: A }, subject: s } } } }
      problem 2:13 `identity.signatures` needs `server.public_url`, which is missing: callers sign the address that they know
        help: write scheme and host as callers do: `public_url: https://weir.example`
    identity: { signatures: { keys: {} } }
      problem 2:27 `identity.signatures.keys` names no key: no signature would be let in
        help: write `keyid: { secret: { env: NAME }, subject: … }`
    identity: { signatures: { keys: { 'a b': { secret: { env: A }, subject: '', tenant: '', roles: [q] } } } }
      problem 2:35 `identity.signatures.keys.a b` is no `keyid` that a signature can have: 1 to 256 visible ASCII characters
        help: choose a short name without blanks, such as `billing-2026`
      problem 2:73 `identity.signatures.keys.a b.subject` must not be empty
        help: say who signs with the key
      problem 2:85 `identity.signatures.keys.a b.tenant` must not be empty
        help: leave it out where there are no tenants
      problem 2:97 `identity.signatures.keys.a b.roles[0]` names the role `q`, which `policy.roles` does not have
        help: did you mean `r`?
    identity: { signatures: { window: 2h, leeway: 90s, keys: { one: { secret: { env: A }, subject: s } } } }
      problem 2:35 `identity.signatures.window` must be from `1s` to `1h`, not `2h`
      problem 2:47 `identity.signatures.leeway` must be from `0ms` to `1m`, not `90s`
    ");
}

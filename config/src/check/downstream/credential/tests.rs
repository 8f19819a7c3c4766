//! What does not fit together in what a downstream is shown.

use std::path::Path;

use crate::parse;

/// Every problem of a config with this downstream, without its snippet; none where all is well.
fn said(downstream: &str) -> Vec<String> {
    let text = format!(
        "downstreams: {{ f: {downstream} }}\nidentity: {{ local: {{ roles: [r] }}, jwt: [ {{ issuer: 'https://idp.example' }} ] }}\n\
         server: {{ public_url: 'https://weir.example' }}\npolicy: {{ roles: {{ r: {{ allow: ['*'] }} }} }}"
    );
    let problems = match parse(&text, "weir.yaml", Path::new("")) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.iter().cloned().collect(),
    };
    let about = problems.into_iter().filter(|problem| problem.message.contains("`downstreams.f."));
    about.map(|problem| problem.message.replace("downstreams.f.", "")).collect()
}

/// A mainframe with this credential.
fn host(credential: &str) -> String {
    format!(
        "{{ mainframe: {{ base_url: 'https://h.example', credential: {credential} }}, tools: {{ t: {{ effect: read, description: d, \
         request: {{ method: GET, path: /a }} }} }} }}"
    )
}

fn mcp(more: &str, credential: &str) -> String {
    format!("{{ mcp: {{ {more} http: {{ url: 'https://h.example/mcp', credential: {credential} }} }} }}")
}

const CLIENT: &str = "client: { token_url: 'https://idp.example/token', client_id: weir, client_secret: { env: S } }";

#[test]
fn a_client_has_an_encrypted_way_to_its_tokens_and_one_proof_of_itself() {
    let cases = [
        (format!("{{ client_credentials: {{ {CLIENT}, scopes: [a, 'b:c'], resource: 'https://crm' }} }}"), vec![]),
        (
            "{ refresh_token: { client: { token_url: 'http://127.0.0.1:1/t', client_id: w, client_key: { file: k } }, token: { env: R } } }"
                .to_owned(),
            vec![],
        ),
        (
            "{ client_credentials: { client: { token_url: 'http://idp.example/t', client_id: '' } } }".to_owned(),
            vec![
                "`mainframe.credential.client_credentials.client` does not say how Weir shows who it is",
                "`mainframe.credential.client_credentials.client.token_url` must begin with `https://`",
                "`mainframe.credential.client_credentials.client.client_id` is empty",
            ],
        ),
        (
            "{ client_credentials: { client: { token_url: 'https://u:p@idp.example/t', client_id: w, client_secret: { env: A }, client_key: { env: B } } } }"
                .to_owned(),
            vec![
                "`mainframe.credential.client_credentials.client` has both `client_secret` and `client_key`",
                "`mainframe.credential.client_credentials.client.token_url` must not hold credentials",
            ],
        ),
        (
            format!("{{ client_credentials: {{ {CLIENT}, scopes: ['a b'], resource: crm }} }}"),
            vec![
                "`mainframe.credential.client_credentials.scopes[0]` is `a b`, which is no scope",
                "`mainframe.credential.client_credentials.resource` must be a URI, not `crm`",
            ],
        ),
        (
            "{ assertion: { key: { file: k }, audience: '', header: Host, lifetime: 1h } }".to_owned(),
            vec![
                "`mainframe.credential.assertion.audience` is empty",
                "`mainframe.credential.assertion.header` is `Host`, which is no header for a credential",
                "`mainframe.credential.assertion.lifetime` must be from `10s` to `10m`, not `1h`",
            ],
        ),
    ];
    for (credential, expected) in cases {
        assert_eq!(said(&host(&credential)), expected, "{credential}");
    }
}

#[test]
fn what_is_one_callers_is_shared_with_nobody() {
    let exchange = format!("{{ token_exchange: {{ {CLIENT}, catalog: {{ bearer: {{ env: T }} }} }} }}");
    let alone = format!("{{ token_exchange: {{ {CLIENT} }} }}");
    let cases = [
        (mcp("", &exchange), vec![]),
        (mcp("sharing: per_caller,", &exchange), vec![]),
        (host(&alone), vec![]),
        (
            mcp("sharing: shared,", &exchange),
            vec!["`mcp.sharing` is `shared`, but its credential is another one for each caller (`token_exchange`)"],
        ),
        (
            mcp("", &alone),
            vec!["`mcp.http.credential.token_exchange` lacks `catalog`, and nobody calls when Weir asks for the tools"],
        ),
        (
            host(&exchange).replace("description: d,", "description: d, cache: { fresh_for: 1m, partition: shared },"),
            vec!["`tools.t.cache.partition` is `shared`, but the downstream is shown who calls (`token_exchange`)"],
        ),
    ];
    for (downstream, expected) in cases {
        assert_eq!(said(&downstream), expected, "{downstream}");
    }
}

#[test]
fn certificates_are_for_connections_that_are_encrypted() {
    let with = |url: &str| {
        format!(
            "{{ mcp: {{ http: {{ url: '{url}', ca: ca.pem, client_certificate: {{ certificate: c.pem, key: {{ file: k }} }} }} }} }}"
        )
    };
    assert_eq!(said(&with("https://h.example/mcp")), Vec::<String>::new());
    assert_eq!(
        said(&with("http://127.0.0.1:1/mcp")),
        [
            "`mcp.http.ca` means nothing where nothing is encrypted",
            "`mcp.http.client_certificate` means nothing where nothing is encrypted"
        ]
    );
}

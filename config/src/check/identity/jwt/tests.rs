use std::path::Path;

/// What is wrong with an issuer that has these settings; nothing where it is fine.
fn problems(jwt: &str, server: &str) -> String {
    let yaml = format!(
        "server: {server}\nidentity: {{ jwt: {jwt} }}\npolicy: {{ roles: {{ support: {{ allow: [\"*\"] }} }} }}\n"
    );
    match crate::parse(&yaml, "weir.yaml", Path::new("/")) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn an_issuer_is_refused_whose_tokens_would_be_anybodys_or_of_no_use() {
    let server = "{ public_url: 'https://weir.example' }";
    let scopes = "scopes: { crm.read: [support] }";
    let rows = [
        (format!("[{{ issuer: 'https://as.example', {scopes} }}]"), ""),
        (format!("[{{ issuer: 'http://127.0.0.1:9000/realms/a', {scopes} }}]"), ""),
        (format!("[{{ issuer: 'https://as.example', jwks_url: 'https://as.example/keys?p=a', {scopes} }}]"), ""),
        (format!("[{{ issuer: 'http://as.example', {scopes} }}]"), "must be an `https://` URL"),
        (format!("[{{ issuer: 'http://localhost.example', {scopes} }}]"), "must be an `https://` URL"),
        (format!("[{{ issuer: 'https://as.example?a=b', {scopes} }}]"), "must be an `https://` URL"),
        (format!("[{{ issuer: as.example, {scopes} }}]"), "must be an `https://` URL"),
        (format!("[{{ issuer: 'https://ann:secret@as.example', {scopes} }}]"), "must not hold credentials"),
        (format!("[{{ issuer: 'https://a.example', jwks_url: 'http://a.example/k', {scopes} }}]"), "jwks_url` must be"),
        (format!("[{{ issuer: 'https://a.example', algorithms: [], {scopes} }}]"), "must name an algorithm"),
        (format!("[{{ issuer: 'https://a.example', algorithms: [HS256], {scopes} }}]"), "HS256"),
        (format!("[{{ issuer: 'https://a.example', algorithms: [none], {scopes} }}]"), "none"),
        (format!("[{{ issuer: 'https://a.example', leeway: 6m, {scopes} }}]"), "to `5m`, not `6m`"),
        (format!("[{{ issuer: 'https://a.example', audience: [''], {scopes} }}]"), "must not be empty"),
        (format!("[{{ issuer: 'https://a.example', roles_claim: 'a..b', {scopes} }}]"), "must be the name of a claim"),
        (format!("[{{ issuer: 'https://a.example', required_scopes: ['a b'], {scopes} }}]"), "is no scope"),
        (format!("[{{ issuer: 'https://a.example', step_up: [crm.write], {scopes} }}]"), "which gives no role"),
        ("[{ issuer: 'https://a.example', scopes: { 'a\"b': [support] } }]".to_owned(), "is no scope"),
        ("[{ issuer: 'https://a.example', scopes: { a: [suport] } }]".to_owned(), "did you mean `support`?"),
        ("[{ issuer: 'https://a.example', roles: { a: [support] } }]".to_owned(), "needs `roles_claim`"),
        (
            format!("[{{ issuer: 'https://a.example', {scopes} }}, {{ issuer: 'https://a.example', {scopes} }}]"),
            "is there twice",
        ),
    ];
    for (jwt, expected) in rows {
        let said = problems(&jwt, server);
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{jwt}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    let unnamed = problems(&format!("[{{ issuer: 'https://as.example', {scopes} }}]"), "{}");
    assert!(unnamed.contains("needs `server.public_url`"), "{unnamed}");
}

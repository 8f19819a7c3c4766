//! Tokens that are almost right.

use anyhow::{Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use tests::{Ask, Issuer, SigningKey, issuer::part};

use super::{Scene, challenge};

#[tokio::test(flavor = "multi_thread")]
async fn no_token_that_is_almost_right_is_let_in() -> Result<()> {
    let scene = Scene::new(json!({ "leeway": "2s" })).await?;
    let rsa = scene.issuer.add("rsa", SigningKey::rsa());
    let ed = scene.issuer.add("ed", SigningKey::ed25519());
    // The keys that were added are fetched on account of the first token that names one.
    let by_rsa = rsa.signed(&part(&json!({ "alg": "RS256", "kid": "rsa" })), &part(&scene.issuer.claims(&json!({}))));
    ensure!(scene.read(&by_rsa).await?.status == 200, "the keys are fetched again");
    let before = scene.calls();

    let mut bad = forged(&scene.issuer, &rsa);
    bad.extend(wrongly_claimed(&scene.issuer));
    bad.extend(wrongly_written(&scene.issuer));
    ensure!(bad.len() >= 60, "{}", bad.len());
    for (what, token) in &bad {
        let answer = scene.read(token).await?;
        ensure!(answer.status == 401, "{what}: {answer:?}");
        let challenge = challenge(&answer)?;
        let metadata = "resource_metadata=\"http://weir.test/.well-known/oauth-protected-resource/mcp\"";
        ensure!(challenge.starts_with("Bearer realm=\"weir\", error=\"invalid_token\""), "{what}: {challenge}");
        ensure!(challenge.contains(metadata), "{what}: {challenge}");
        ensure!(!answer.text.contains("ann"), "{what}: {answer:?}");
    }
    ensure!(scene.calls() == before, "a bad token came through");

    let claims = scene.issuer.claims(&json!({}));
    let (name, key) = scene.issuer.key();
    let header = |over: Value| {
        let mut header = json!({ "alg": key.algorithm(), "kid": name });
        header.as_object_mut().expect("it is one").extend(over.as_object().expect("it is one").clone());
        part(&header)
    };
    let good = [
        ("no typ", key.signed(&header(json!({})), &part(&claims))),
        ("typ JWT", key.signed(&header(json!({ "typ": "jwt" })), &part(&claims))),
        ("typ with its tree", key.signed(&header(json!({ "typ": "application/AT+JWT" })), &part(&claims))),
        (
            "where keys are said to be is not looked at",
            key.signed(&header(json!({ "jku": "http://127.0.0.1:1/" })), &part(&claims)),
        ),
        ("several audiences", scene.issuer.token(json!({ "aud": ["https://other.example", "http://weir.test/mcp"] }))),
        ("a nonce in an access token", scene.issuer.token(json!({ "nonce": "n" }))),
        ("Ed25519", ed.signed(&part(&json!({ "alg": "EdDSA", "kid": "ed" })), &part(&claims))),
        ("no kid where one key fits", ed.signed(&part(&json!({ "alg": "EdDSA" })), &part(&claims))),
        ("expired within the leeway", scene.issuer.token(json!({ "exp": Timestamp::now().as_second() }))),
    ];
    for (what, token) in &good {
        let answer = scene.read(token).await?;
        ensure!(answer.status == 200, "{what}: {answer:?}");
    }
    let twice = Ask::call("raw__read", json!({})).header("authorization", &format!("Bearer {}", good[0].1));
    let both = scene.router.ask(&twice.header("authorization", &format!("Bearer {}", good[1].1))).await?;
    ensure!(both.status == 401, "two tokens are one too many");
    Ok(())
}

/// Whose signature is not by a key of the issuer, or not by the algorithm that it says.
fn forged(issuer: &Issuer, rsa: &SigningKey) -> Vec<(&'static str, String)> {
    let (name, key) = issuer.key();
    let claims = part(&issuer.claims(&json!({})));
    let other = SigningKey::p256();
    let good = issuer.token(json!({}));
    let (signed, signature) = good.rsplit_once('.').expect("a token has parts");
    let header = |value: Value| part(&value);
    let hs256 = |secret: &[u8], kid: &str| {
        let message = format!("{}.{claims}", header(json!({ "alg": "HS256", "kid": kid })));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
    };
    let unsigned = |alg: &str| format!("{}.{claims}.", header(json!({ "alg": alg, "kid": name })));
    let none = |alg: &str| format!("{}.{claims}.AAAA", header(json!({ "alg": alg, "kid": name })));
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    flipped[5] ^= 1;
    let zeros = URL_SAFE_NO_PAD.encode([0; 64]);
    let jwk = other.jwk("first");
    vec![
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("NONE with a signature", none("NONE")),
        ("nOnE with a signature", none("nOnE")),
        ("no algorithm", none("")),
        ("the signature is missing", format!("{signed}.")),
        ("the signature is another", format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&flipped))),
        ("the signature is nothing but zeros", format!("{signed}.{zeros}")),
        ("HS256 with the public key as JSON", hs256(rsa.jwk("rsa").to_string().as_bytes(), "rsa")),
        ("HS256 with the modulus", hs256(rsa.jwk("rsa")["n"].as_str().expect("n").as_bytes(), "rsa")),
        ("HS256 with nothing", hs256(b"", "rsa")),
        ("a key of somebody else", other.signed(&header(json!({ "alg": "ES256", "kid": name })), &claims)),
        (
            "its own key in the header",
            other.signed(&header(json!({ "alg": "ES256", "kid": name, "jwk": jwk })), &claims),
        ),
        ("its own key, and no name", other.signed(&header(json!({ "alg": "ES256", "jwk": jwk })), &claims)),
        (
            "keys elsewhere",
            other.signed(&header(json!({ "alg": "ES256", "kid": "x", "jku": "http://127.0.0.1:9/j" })), &claims),
        ),
        (
            "certificates elsewhere",
            other.signed(&header(json!({ "alg": "ES256", "x5u": "http://127.0.0.1:9/c" })), &claims),
        ),
        (
            "a kid that is a path",
            other.signed(&header(json!({ "alg": "ES256", "kid": "../../../../dev/null" })), &claims),
        ),
        (
            "a kid that is a URL",
            other.signed(&header(json!({ "alg": "ES256", "kid": "http://127.0.0.1:9/" })), &claims),
        ),
        ("a kid with a quote", other.signed(&header(json!({ "alg": "ES256", "kid": "' OR '1'='1" })), &claims)),
        ("a kid that is no text", key.signed(&header(json!({ "alg": "ES256", "kid": 1 })), &claims)),
        ("the name of another key", key.signed(&header(json!({ "alg": "ES256", "kid": "rsa" })), &claims)),
        ("the algorithm of another key", key.signed(&header(json!({ "alg": "RS256", "kid": name })), &claims)),
        ("an algorithm that is not accepted", key.signed(&header(json!({ "alg": "ES384", "kid": name })), &claims)),
        ("an RSA key by PSS", rsa.signed(&header(json!({ "alg": "PS256", "kid": "rsa" })), &claims)),
        (
            "an RSA key by SHA-512, which is not accepted",
            rsa.signed(&header(json!({ "alg": "RS512", "kid": "rsa" })), &claims),
        ),
        ("something critical", key.signed(&header(json!({ "alg": "ES256", "kid": name, "crit": ["exp"] })), &claims)),
        ("nothing critical", key.signed(&header(json!({ "alg": "ES256", "kid": name, "crit": [] })), &claims)),
        (
            "claims that are not in base64",
            key.signed(&header(json!({ "alg": "ES256", "kid": name, "b64": false })), &claims),
        ),
    ]
}

/// Which the issuer signed, and which are not for us, not now, or no access tokens.
fn wrongly_claimed(issuer: &Issuer) -> Vec<(&'static str, String)> {
    let now = Timestamp::now().as_second();
    let (name, key) = issuer.key();
    let of_type = |typ: &str, over: Value| {
        let header = json!({ "alg": "ES256", "kid": name, "typ": typ });
        key.signed(&part(&header), &part(&issuer.claims(&over)))
    };
    let token = |over: Value| issuer.token(over);
    vec![
        ("no issuer", token(json!({ "iss": null }))),
        ("an issuer that is no text", token(json!({ "iss": [issuer.url()] }))),
        ("another issuer", token(json!({ "iss": "https://as.example" }))),
        ("the issuer with a slash", token(json!({ "iss": format!("{}/", issuer.url()) }))),
        ("the issuer in capitals", token(json!({ "iss": issuer.url().to_uppercase() }))),
        ("no audience", token(json!({ "aud": null }))),
        ("nobody's audience", token(json!({ "aud": [] }))),
        ("another audience", token(json!({ "aud": "https://other.example/mcp" }))),
        ("the audience with a slash", token(json!({ "aud": "http://weir.test/mcp/" }))),
        ("the audience without its path", token(json!({ "aud": "http://weir.test" }))),
        ("the beginning of the audience", token(json!({ "aud": "http://weir.test/mc" }))),
        ("more than the audience", token(json!({ "aud": "http://weir.test/mcpx" }))),
        ("the audience in capitals", token(json!({ "aud": "http://WEIR.test/mcp" }))),
        ("an audience beside what is no text", token(json!({ "aud": ["http://weir.test/mcp", 1] }))),
        ("an audience in an object", token(json!({ "aud": { "http://weir.test/mcp": true } }))),
        ("no end", token(json!({ "exp": null }))),
        ("an end that is text", token(json!({ "exp": (now + 300).to_string() }))),
        ("an end beyond all time", token(json!({ "exp": 1e300 }))),
        ("the end of another age", token(json!({ "exp": i64::MAX }))),
        ("a negative end", token(json!({ "exp": -1 }))),
        ("expired beyond the leeway", token(json!({ "exp": now - 3 }))),
        ("not valid yet", token(json!({ "nbf": now + 30 }))),
        ("a beginning that is text", token(json!({ "nbf": "0" }))),
        ("issued in the future", token(json!({ "iat": now + 30 }))),
        ("no subject", token(json!({ "sub": null }))),
        ("an empty subject", token(json!({ "sub": "" }))),
        ("a subject that is a number", token(json!({ "sub": 7 }))),
        ("a subject with a line end", token(json!({ "sub": "ann\nadmin" }))),
        ("a subject without end", token(json!({ "sub": "a".repeat(600) }))),
        ("an id token", of_type("JWT", json!({ "nonce": "n", "at_hash": "h" }))),
        ("an id token of one server", of_type("JWT", json!({ "typ": "ID" }))),
        ("a refresh token of one server", of_type("JWT", json!({ "typ": "Refresh" }))),
        ("an id token of another server", of_type("JWT", json!({ "token_use": "id" }))),
        ("a logout token", of_type("logout+jwt", json!({}))),
        ("a proof", of_type("dpop+jwt", json!({}))),
        ("bound to a key", token(json!({ "cnf": { "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } }))),
        ("bound to a certificate", token(json!({ "cnf": { "x5t#S256": URL_SAFE_NO_PAD.encode([7; 32]) } }))),
        ("bound to nothing", token(json!({ "cnf": {} }))),
    ]
}

/// Which have another form than a token.
fn wrongly_written(issuer: &Issuer) -> Vec<(&'static str, String)> {
    let (name, key) = issuer.key();
    let header = part(&json!({ "alg": "ES256", "kid": name }));
    let claims = issuer.claims(&json!({}));
    let text = |text: String| URL_SAFE_NO_PAD.encode(text);
    let good = issuer.token(json!({}));
    let twice = claims.to_string().replacen('{', "{\"sub\":\"eve\",", 1);
    let algorithms = format!("{{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"{name}\"}}");
    vec![
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("one part", "abc".to_owned()),
        ("two parts", good.rsplit_once('.').expect("it has parts").0.to_owned()),
        ("four parts", format!("{good}.AAAA")),
        ("five parts, as an encrypted token has", format!("{good}.AAAA.AAAA")),
        ("padding", format!("{good}=")),
        ("a space", format!("{good} x")),
        ("another alphabet", good.replace('-', "+").replace('_', "/") + "/"),
        ("no JSON", key.signed(&text("alg".to_owned()), &part(&claims))),
        ("a header that is a list", key.signed(&part(&json!(["ES256"])), &part(&claims))),
        ("claims that are a list", key.signed(&header, &part(&json!([claims])))),
        ("a claim twice", key.signed(&header, &text(twice))),
        ("an algorithm twice", key.signed(&text(algorithms), &part(&claims))),
        ("claims that are deep", key.signed(&header, &text(format!("{}{}", "[".repeat(5000), "]".repeat(5000))))),
        ("17 KiB", issuer.token(json!({ "more": "x".repeat(13 << 10) }))),
        ("60 KiB", "e".repeat(60 << 10)),
    ]
}

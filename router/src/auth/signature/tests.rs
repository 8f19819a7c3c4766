use std::{collections::HashMap, time::Duration};

use aws_lc_rs::{
    digest::{SHA256, SHA512, digest},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cache::Nonces;
use http::{Request, request::Parts};
use jiff::Timestamp;
use proptest::prelude::*;
use secrecy::SecretString;

use super::{Refused, Signatures, Unproven, base, base::Origin, parameters::Parameters};

const SECRET: &str = "Zq3vN8xLr2Wk7TjUy5BdHfGm1PsCa9Ee";
const NOW_S: i64 = 1_800_000_000;
const BODY: &str = "{\"hello\": \"world\"}";

fn signatures() -> Signatures {
    let settings = "{ keys: { one: { secret: { env: A }, subject: billing, roles: [all] } } }";
    let settings = serde_saphyr::from_str(settings).expect("settings");
    let secrets = HashMap::from([("one".to_owned(), SecretString::from(SECRET))]);
    let nonces = Nonces::in_memory(&[7; 32]);
    Signatures::new(&settings, &secrets, Some("https://Weir.example:443"), &nonces).expect("a public URL")
}

/// A request, and the signature that is made of it; tests spoil one or the other.
#[derive(Clone)]
struct Signing {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    /// What it covers, as it is written.
    components: String,
    parameters: String,
    secret: &'static str,
    label: &'static str,
}

fn signing() -> Signing {
    let digest = STANDARD.encode(digest(&SHA256, BODY.as_bytes()));
    Signing {
        method: "POST",
        path: "/v1/tools/call?a=1&b=2".to_owned(),
        headers: vec![("content-digest", format!("sha-256=:{digest}:"))],
        components: "\"@method\" \"@target-uri\" \"content-digest\"".to_owned(),
        parameters: parameters(NOW_S, NOW_S + 300, "n"),
        secret: SECRET,
        label: "sig",
    }
}

fn parameters(created: i64, expires: i64, nonce: &str) -> String {
    format!("created={created};expires={expires};nonce=\"{nonce}\";keyid=\"one\";alg=\"hmac-sha256\"")
}

impl Signing {
    /// The lines of what is covered, made in another way than by what is tested.
    fn base(&self) -> String {
        let mut lines = Vec::new();
        for component in self.components.split(' ').filter(|component| !component.is_empty()) {
            let query = self.path.split_once('?').map_or("?", |(path, _)| &self.path[path.len()..]);
            let path = self.path.split('?').next().unwrap_or_default();
            let value = match component.trim_matches('"') {
                "@method" => self.method.to_owned(),
                "@target-uri" => format!("https://weir.example{}", self.path),
                "@authority" => "weir.example".to_owned(),
                "@scheme" => "https".to_owned(),
                "@request-target" => self.path.clone(),
                "@path" => path.to_owned(),
                "@query" => query.to_owned(),
                name => {
                    let values = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
                    values.map(|(_, value)| value.trim()).collect::<Vec<_>>().join(", ")
                }
            };
            lines.push(format!("{component}: {value}\n"));
        }
        format!("{}\"@signature-params\": {}", lines.concat(), self.input())
    }

    fn input(&self) -> String {
        format!("({});{}", self.components, self.parameters)
    }

    fn signature(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        STANDARD.encode(hmac::sign(&key, self.base().as_bytes()))
    }

    fn request(&self) -> Parts {
        self.request_with(&self.input(), &self.signature())
    }

    fn request_with(&self, input: &str, signature: &str) -> Parts {
        let request = Request::builder().method(self.method).uri(&self.path);
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let request = request.header("signature-input", format!("{}={input}", self.label));
        let request = request.header("signature", format!("{}=:{signature}:", self.label));
        request.body(()).expect("a request").into_parts().0
    }
}

fn judged(request: &Parts) -> Result<Unproven, Refused> {
    let now = Timestamp::from_second(NOW_S).expect("a time");
    signatures().of(None, request, now).map(|signed| signed.expect("it is signed").1)
}

#[test]
fn what_is_signed_says_who_signs() {
    let now = Timestamp::from_second(NOW_S).expect("a time");
    let (caller, _) = signatures().of(None, &signing().request(), now).expect("it is right").expect("it is signed");
    assert_eq!((&*caller.principal.issuer, &*caller.principal.subject), ("weir", "billing"));
    assert_eq!(caller.credential_id.as_deref(), Some("one"));
    let unsigned = Request::builder().uri("/mcp").body(()).expect("a request").into_parts().0;
    assert!(signatures().of(None, &unsigned, now).expect("nothing is wrong").is_none());
}

#[test]
fn whatever_else_is_covered_is_verified_too() {
    let all = "\"@method\" \"@target-uri\" \"content-digest\" \"@authority\" \"@scheme\" \"@request-target\" \"@path\" \"@query\" \"x-many\"";
    let mut signing = Signing { components: all.to_owned(), ..signing() };
    signing.headers.extend([("x-many", " one ".to_owned()), ("x-many", "two,three".to_owned())]);
    judged(&signing.request()).expect("it is right");
    let (input, signature) = (signing.input(), signing.signature());
    for path in [
        "/v1/tools/call?b=2&a=1",
        "/v1/tools/call?a=1&b=2&",
        "/v1/tools/call",
        "/v1/tools/Call?a=1&b=2",
        "/mcp?a=1&b=2",
    ] {
        let other = Signing { path: path.to_owned(), ..signing.clone() };
        assert_eq!(judged(&other.request_with(&input, &signature)).expect_err(path).reason, "bad_signature");
    }
    for (name, value) in [("x-many", "two, three"), ("x-many", "four"), ("content-digest", "sha-256=:AA==:")] {
        let mut other = signing.clone();
        other.headers.push((name, value.to_owned()));
        judged(&other.request_with(&input, &signature)).expect_err("another header");
    }
    judged(&Signing { method: "GET", ..signing.clone() }.request_with(&input, &signature)).expect_err("another method");
    let mut missing = signing.clone();
    missing.headers.retain(|(name, _)| *name != "x-many");
    judged(&missing.request_with(&input, &signature)).expect_err("a header is missing");
}

#[test]
fn a_signature_of_too_little_or_of_what_is_not_taken_here_is_refused() {
    let three = signing().components;
    for components in [
        String::new(),
        "\"@method\" \"@target-uri\"".to_owned(),
        "\"@method\" \"content-digest\"".to_owned(),
        "\"@target-uri\" \"content-digest\"".to_owned(),
        "\"@method\" \"@path\" \"content-digest\"".to_owned(),
        "\"@method\" \"@target-uri\" \"Content-Digest\"".to_owned(),
        "\"@METHOD\" \"@target-uri\" \"content-digest\"".to_owned(),
        "\"@method\" \"@target-uri\";req \"content-digest\"".to_owned(),
        format!("{three} \"@method\""),
        format!("{three} \"@status\""),
        format!("{three} \"@query-param\";name=\"a\""),
        format!("{three} \"@signature-params\""),
        format!("{three} \"signature\""),
        format!("{three} \"content-digest\";key=\"sha-256\""),
        format!("{three} \"content-digest\";sf"),
        format!("{three} \"content-digest\";bs"),
        format!("{three} \"content-digest\";tr"),
        format!("{three} \"x-missing\""),
        format!("{three} \"\""),
        format!("{three} \"x y\""),
        format!("{three} method"),
        format!("{three}{}", " \"x-missing\"".repeat(40)),
    ] {
        let signing = Signing { components: components.clone(), ..signing() };
        assert!(judged(&signing.request()).expect_err(&components).is_wrong, "{components}");
    }
}

#[test]
fn parameters_are_all_there_and_of_their_kinds() {
    let right = parameters(NOW_S, NOW_S + 300, "n");
    for parameters in [
        right.replace("created=", "crated="),
        right.replace(";expires=1800000300", ""),
        right.replace(";nonce=\"n\"", ""),
        right.replace(";nonce=\"n\"", ";nonce=\"\""),
        right.replace(";nonce=\"n\"", ";nonce=1"),
        right.replace(";keyid=\"one\"", ""),
        right.replace("hmac-sha256", "hmac-sha512"),
        right.replace("hmac-sha256", "rsa-v1_5-sha256"),
        right.replace("\"hmac-sha256\"", "hmac-sha256"),
        right.replace("\"one\"", "\"two\""),
        format!("{right};unknown=1"),
        format!("{right};nonce=\"{}\"", "n".repeat(257)),
    ] {
        judged(&Signing { parameters: parameters.clone(), ..signing() }.request()).expect_err(&parameters);
    }
    for parameters in [right.replace(";alg=\"hmac-sha256\"", ""), format!("{right};tag=\"any\"")] {
        judged(&Signing { parameters: parameters.clone(), ..signing() }.request()).expect(&parameters);
    }
}

#[test]
fn a_signature_counts_within_its_time_and_no_longer_than_the_window() {
    for (created, expires, counts) in [
        (0, 300, true),
        (0, 301, false),
        (0, 0, false),
        (10, 5, false),
        (5, 305, true),
        (6, 306, false),
        (301, 601, false),
        (-299, 1, true),
        (-300, 0, false),
        (-301, -1, false),
        (-301, 0, false),
        (i64::from(i32::MIN), i64::from(i32::MAX), false),
    ] {
        let parameters = parameters(NOW_S + created, NOW_S + expires, "n");
        let judged = judged(&Signing { parameters, ..signing() }.request());
        assert_eq!(judged.is_ok(), counts, "{created} to {expires}");
    }
}

#[test]
fn there_is_one_signature_under_one_label() {
    let signing = signing();
    let (input, signature) = (signing.input(), signing.signature());
    let request = |headers: &[(&str, String)]| {
        let request = Request::builder().method("POST").uri(&signing.path);
        let request = request.header("content-digest", &signing.headers[0].1);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        judged(&request.body(()).expect("a request").into_parts().0)
    };
    let right = [("signature-input", format!("sig={input}")), ("signature", format!("sig=:{signature}:"))];
    request(&right).expect("it is right");
    for wrong in [
        vec![right[0].clone()],
        vec![right[1].clone()],
        vec![right[0].clone(), right[0].clone(), right[1].clone()],
        vec![("signature-input", format!("sig={input}, b={input}")), right[1].clone()],
        vec![
            ("signature-input", format!("sig={input}, b={input}")),
            ("signature", format!("sig=:{signature}:, b=:{signature}:")),
        ],
        vec![("signature-input", format!("other={input}")), right[1].clone()],
        vec![("signature-input", "sig=()".to_owned()), right[1].clone()],
        vec![("signature-input", "sig=1".to_owned()), right[1].clone()],
        vec![("signature-input", "((".to_owned()), right[1].clone()],
        vec![right[0].clone(), ("signature", format!("sig=\"{signature}\""))],
        vec![right[0].clone(), ("signature", format!("sig=(:{signature}:)"))],
        vec![right[0].clone(), ("signature", format!("sig=:{signature}:;a"))],
        vec![right[0].clone(), ("signature", "sig=::".to_owned())],
        vec![right[0].clone(), ("signature", format!("sig=:{}:", &signature[..20]))],
        vec![("signature-input", format!("sig={input};x=\"{}\"", "x".repeat(4096))), right[1].clone()],
    ] {
        request(&wrong).expect_err(&format!("{wrong:?}"));
    }
}

#[tokio::test]
async fn the_body_has_all_the_digests_that_are_known() {
    let (short, long) =
        (STANDARD.encode(digest(&SHA256, BODY.as_bytes())), STANDARD.encode(digest(&SHA512, BODY.as_bytes())));
    let broken = STANDARD.encode(digest(&SHA512, b"another body"));
    for (digests, fit) in [
        (format!("sha-256=:{short}:"), Some(true)),
        (format!("sha-512=:{long}:"), Some(true)),
        (format!("sha-512=:{long}:, sha-256=:{short}:, md5=:AAAA:"), Some(true)),
        (format!("sha-512=:{broken}:, sha-256=:{short}:"), Some(false)),
        (format!("sha-256=:{long}:"), Some(false)),
        ("sha-256=::".to_owned(), Some(false)),
        ("md5=:AAAA:".to_owned(), None),
        (String::new(), None),
        (format!("sha-256={short}"), None),
        (format!("SHA-256=:{short}:"), None),
        (format!("sha-256=:{short}:, {}", "x".repeat(2_000)), None),
    ] {
        let mut signing = signing();
        signing.headers[0].1.clone_from(&digests);
        let judged = judged(&signing.request());
        assert_eq!(judged.is_ok(), fit.is_some(), "{digests}");
        let Ok(unproven) = judged else { continue };
        // The signature is from a time that the nonces know nothing of; the body is judged before.
        let refused = unproven.prove(BODY.as_bytes()).await.expect_err("never by these nonces");
        assert_eq!(
            refused.reason == "bad_signature" && refused.text.contains("Content-Digest"),
            fit == Some(false),
            "{digests}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_body_of_which_one_bit_is_another_uses_no_nonce_up() {
    let signatures = Signatures { leeway: Duration::from_secs(3_600), ..signatures() };
    let now_s = Timestamp::now().as_second();
    // Made in the future as far as the leeway lets it be, so that it is younger than the process.
    let signing = Signing { parameters: parameters(now_s + 3_599, now_s + 3_800, "n"), ..signing() };
    let unproven = || {
        let signed = signatures.of(None, &signing.request(), Timestamp::now()).expect("it is right");
        let mut unproven = signed.expect("it is signed").1;
        unproven.leeway = Duration::ZERO;
        unproven.created_s = now_s;
        unproven
    };
    let mut body = BODY.as_bytes().to_vec();
    for bit in 0..8 * body.len() {
        body[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(unproven().prove(&body).await.expect_err("another body").reason, "bad_signature");
        body[bit / 8] ^= 1 << (bit % 8);
    }
    assert_ne!(unproven().prove(&body).await.err().map(|refused| refused.reason), Some("replayed_signature"));
}

/// RFC 9421, appendix B.2.5.
#[test]
fn the_example_of_the_rfc_is_signed_as_there() {
    let request = Request::builder().method("POST").uri("/foo?param=Value&Pet=dog");
    let request = request.header("date", "Tue, 20 Apr 2021 02:07:55 GMT").header("content-type", "application/json");
    let request = request.body(()).expect("a request").into_parts().0;
    let parameters = Parameters {
        components: ["date", "@authority", "content-type"].map(str::to_owned).to_vec(),
        written: "(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\""
            .to_owned(),
        created_s: 0,
        expires_s: 0,
        nonce: String::new(),
        key_id: String::new(),
        signature: Vec::new(),
    };
    let base =
        base::of(&request, &Origin::parse("https://example.com").expect("an origin"), &parameters).expect("a base");
    let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(secret).expect("base64"));
    assert_eq!(STANDARD.encode(hmac::sign(&key, base.as_bytes())), "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
}

#[test]
fn the_address_is_the_one_that_callers_know() {
    for (url, scheme, authority) in [
        ("https://weir.example", "https", "weir.example"),
        ("https://WEIR.example:443", "https", "weir.example"),
        ("https://weir.example:8443", "https", "weir.example:8443"),
        ("http://127.0.0.1:80", "http", "127.0.0.1"),
        ("http://weir.example:443", "http", "weir.example:443"),
    ] {
        let origin = Origin::parse(url).expect(url);
        assert_eq!((origin.scheme.as_str(), origin.authority.as_str()), (scheme, authority));
    }
}

proptest! {
    /// Whatever a stranger writes into the headers: it is refused, and nothing breaks.
    #[test]
    fn nothing_that_a_stranger_writes_is_taken(input in "[ -~]{0,200}", signature in "[ -~]{0,100}", digest in "[ -~]{0,60}") {
        let request = Request::builder().method("POST").uri("/mcp");
        let request = request.header("signature-input", input).header("signature", signature).header("content-digest", digest);
        prop_assert!(judged(&request.body(()).expect("a request").into_parts().0).is_err());
    }

    /// One character of what is signed is another: it is another signature.
    #[test]
    fn one_other_character_in_the_parameters_is_noticed(at in 0..150_usize, by in b' '..=b'~') {
        let signing = signing();
        let (mut input, signature) = (signing.input().into_bytes(), signing.signature());
        let at = at % input.len();
        prop_assume!(input[at] != by);
        input[at] = by;
        let input = String::from_utf8(input).expect("ASCII");
        let before = Parameters::of(&signing.request().headers).expect("right").expect("signed").written;
        let request = signing.request_with(&input, &signature);
        let is_written_otherwise = Parameters::of(&request.headers).ok().flatten().is_some_and(|parameters| parameters.written == before);
        prop_assert!(is_written_otherwise || judged(&request).is_err(), "{input}");
    }
}

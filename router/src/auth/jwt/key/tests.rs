use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use config::identity::jwt::Algorithm;
use serde_json::{Value, json};

use super::{Key, choose, read_set};

fn keys(set: &[Value]) -> Vec<Key> {
    read_set(json!({ "keys": set }).to_string().as_bytes()).unwrap_or_default()
}

fn text(byte: u8, length: usize) -> String {
    URL_SAFE_NO_PAD.encode(vec![byte; length])
}

fn over(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

#[test]
fn only_public_keys_for_signatures_of_a_known_kind_are_taken() {
    let rsa = || json!({ "kty": "RSA", "n": text(0xc1, 256), "e": "AQAB", "kid": "k" });
    let p256 = || json!({ "kty": "EC", "crv": "P-256", "x": text(1, 32), "y": text(2, 32) });
    let ed = || json!({ "kty": "OKP", "crv": "Ed25519", "x": text(1, 32) });
    let rows = [
        (rsa(), true),
        (over(rsa(), "alg", json!("PS256")), true),
        (over(rsa(), "use", json!("sig")), true),
        (over(rsa(), "key_ops", json!(["verify"])), true),
        (over(rsa(), "n", json!(format!("AAAA{}", text(0xc1, 512)))), true),
        (p256(), true),
        (over(p256(), "alg", json!("ES256")), true),
        (ed(), true),
        (over(ed(), "alg", json!("Ed25519")), true),
        (json!({ "kty": "oct", "k": text(1, 32) }), false),
        (json!({ "kty": "RSA" }), false),
        (over(rsa(), "use", json!("enc")), false),
        (over(rsa(), "key_ops", json!(["encrypt"])), false),
        (over(rsa(), "key_ops", json!([])), false),
        (over(rsa(), "alg", json!("RSA-OAEP")), false),
        (over(rsa(), "alg", json!("ES256")), false),
        (over(rsa(), "alg", json!("HS256")), false),
        (over(rsa(), "alg", json!("none")), false),
        (over(rsa(), "n", json!(text(0xc1, 128))), false),
        (over(rsa(), "n", json!(text(0, 256))), false),
        (over(rsa(), "n", json!(text(0xc1, 2048))), false),
        (over(rsa(), "e", json!("AQ")), false),
        (over(rsa(), "e", json!("AAAAAQ")), false),
        (over(rsa(), "e", json!("Ag")), false),
        (over(rsa(), "e", json!("")), false),
        (over(rsa(), "e", json!(text(1, 5))), false),
        (over(rsa(), "kid", json!("k".repeat(300))), false),
        (over(p256(), "crv", json!("P-521")), false),
        (over(p256(), "crv", json!("secp256k1")), false),
        (over(p256(), "x", json!(text(1, 31))), false),
        (over(p256(), "y", json!(null)), false),
        (over(p256(), "alg", json!("ES384")), false),
        (over(ed(), "crv", json!("X25519")), false),
        (over(ed(), "x", json!(text(1, 33))), false),
        (json!("RSA"), false),
    ];
    for (key, taken) in rows {
        assert_eq!(keys(std::slice::from_ref(&key)).len(), usize::from(taken), "{key}");
    }
}

#[test]
fn a_key_is_for_its_algorithm_and_a_name_leads_to_one_key() {
    let rsa = |name: &str, byte: u8| json!({ "kty": "RSA", "n": text(byte, 256), "e": "AQAB", "kid": name });
    let ps = over(rsa("ps", 0xc5), "alg", json!("PS256"));
    let ec = json!({ "kty": "EC", "crv": "P-256", "x": text(1, 32), "y": text(2, 32), "kid": "one" });
    let set = keys(&[rsa("one", 0xc1), rsa("two", 0xc3), ps, ec]);
    let chosen = |name: Option<&str>, algorithm: Algorithm| {
        choose(&set, name, algorithm)
            .map(|key| set.iter().position(|known| std::ptr::eq(known, key)).expect("of the set"))
    };
    assert_eq!(chosen(Some("one"), Algorithm::RS256), Some(0));
    assert_eq!(chosen(Some("two"), Algorithm::PS512), Some(1));
    assert_eq!(chosen(Some("one"), Algorithm::ES256), Some(3), "the same name, another kind");
    assert_eq!(chosen(Some("ps"), Algorithm::PS256), Some(2));
    assert_eq!(chosen(Some("ps"), Algorithm::RS256), None, "it is for PS256 alone");
    assert_eq!(chosen(Some("two"), Algorithm::ES256), None);
    assert_eq!(chosen(Some("three"), Algorithm::RS256), None);
    assert_eq!(chosen(None, Algorithm::ES256), Some(3));
    assert_eq!(chosen(None, Algorithm::RS256), None, "two would fit");
    assert_eq!(chosen(None, Algorithm::EdDSA), None);
}

#[test]
fn a_set_that_is_none_or_too_large_is_refused() {
    let key = json!({ "kty": "RSA", "n": text(0xc1, 256), "e": "AQAB" });
    assert!(read_set(json!({ "keys": vec![key.clone(); 64] }).to_string().as_bytes()).is_ok());
    assert!(read_set(json!({ "keys": vec![key.clone(); 65] }).to_string().as_bytes()).is_err());
    for set in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, "<html>"] {
        assert!(read_set(set.as_bytes()).is_err(), "{set}");
    }
    // What is not understood does not take the rest along.
    assert_eq!(keys(&[json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "x" }), json!(7), key]).len(), 1);
}

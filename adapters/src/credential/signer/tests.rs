use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Signer;

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).expect("Base64")).expect("JSON")
}

#[test]
fn what_is_signed_is_verified_by_the_public_key_alone() {
    let rows: [(_, &'static dyn VerificationAlgorithm, &str); 3] = [
        (&PKCS_RSA_SHA256, &RSA_PKCS1_2048_8192_SHA256, "RS256"),
        (&PKCS_ECDSA_P256_SHA256, &ECDSA_P256_SHA256_FIXED, "ES256"),
        (&PKCS_ED25519, &ED25519, "EdDSA"),
    ];
    for (kind, algorithm, named) in rows {
        let pair = KeyPair::generate_for(kind).expect("a key");
        let signer = Signer::new(&pair.serialize_pem().into(), Some("k1")).expect(named);
        let claims = json!({ "sub": "alice" });
        let jwt = signer.sign(claims.as_object().cloned().unwrap_or_default()).expect("signed");
        let [head, body, signature] = jwt.expose_secret().split('.').collect::<Vec<_>>()[..] else { panic!("three") };
        assert_eq!(decoded(head), json!({ "alg": named, "typ": "JWT", "kid": "k1" }));
        assert_eq!(decoded(body), claims);
        let public = UnparsedPublicKey::new(algorithm, pair.der_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("Base64");
        public.verify(format!("{head}.{body}").as_bytes(), &signature).expect(named);
        public.verify(format!("{head}.{body}x").as_bytes(), &signature).expect_err("of something else");
    }
}

#[test]
fn what_is_no_key_is_refused_without_a_word_of_it() {
    for text in ["", "s3cret", "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n"] {
        let error = Signer::new(&text.into(), None).expect_err(text);
        assert!(error.contains("PKCS #8") && !error.contains("s3cret"), "{error}");
    }
    let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let pem = pair.serialize_pem();
    let shown = format!("{:?}", Signer::new(&pem.clone().into(), None).expect("a key"));
    assert!(pem.lines().all(|line| !shown.contains(line)), "{shown}");
}

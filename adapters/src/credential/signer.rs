//! Signing JWTs (RFC 7515, RFC 7519) with a private key of Weir's own.

use std::fmt;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

/// A private key and what its JWTs say of it.
pub(super) struct Signer {
    key: Key,
    /// The first part of each JWT, encoded.
    head: String,
}

enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// Reads a key in PKCS #8, PEM. What it is decides how it signs: RSA by RS256, P-256 by ES256, Ed25519 by EdDSA.
    ///
    /// # Errors
    /// What the text must be, and nothing of what it is.
    pub(super) fn new(pem: &SecretString, key_id: Option<&str>) -> Result<Self, String> {
        let form = || {
            "holds no private key that Weir can sign with: make one of RSA (2048 bits or more), P-256 or Ed25519 in PKCS #8, PEM, \
             by `openssl genpkey -algorithm ed25519`"
                .to_owned()
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose_secret().as_bytes()).map_err(|_| form())?;
        let der = der.secret_pkcs8_der();
        let rsa = || RsaKeyPair::from_pkcs8(der).ok().map(Key::Rsa);
        let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok().map(Key::P256);
        let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Key::Ed25519);
        let key = ed25519().or_else(p256).or_else(rsa).ok_or_else(form)?;
        let algorithm = match key {
            Key::Rsa(_) => "RS256",
            Key::P256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        };
        let mut head = json!({ "alg": algorithm, "typ": "JWT" });
        if let Some(key_id) = key_id {
            head["kid"] = json!(key_id);
        }
        Ok(Self { key, head: BASE64_URL_SAFE_NO_PAD.encode(head.to_string()) })
    }

    /// The JWT of these claims, in its compact form.
    ///
    /// # Errors
    /// When the key does not sign.
    pub(super) fn sign(&self, claims: Map<String, Value>) -> Result<SecretString, Unsigned> {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string());
        let signed = format!("{}.{claims}", self.head);
        let message = signed.as_bytes();
        let signature = match &self.key {
            Key::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Key::P256(key) => key.sign(&SystemRandom::new(), message).map_err(|_| Unsigned)?.as_ref().to_vec(),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| Unsigned)?;
                signature
            }
        };
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

/// The key did not sign.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the private key does not sign")]
pub(super) struct Unsigned;

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests;

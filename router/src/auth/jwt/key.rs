//! The keys of an issuer: JWK Sets (RFC 7517), and signatures by them (RFC 7518, RFC 8037).

use aws_lc_rs::{
    digest,
    rsa::PublicKeyComponents,
    signature::{self, RsaParameters, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use config::identity::jwt::Algorithm;
use serde::Deserialize;
use serde_json::Value;

/// More keys than this no issuer needs at once.
const KEYS_MAX: usize = 64;
/// The longest name of a key.
const KEY_NAME_BYTES_MAX: usize = 256;
/// The longest exponent of an RSA key. Everybody uses 65537; a long one only makes verifying slow.
const EXPONENT_BYTES_MAX: usize = 4;
/// An RSA modulus of 2048 to 8192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// What tells one public key from any other.
pub(super) type Thumbprint = [u8; 32];

/// One public key.
#[derive(Debug)]
pub(super) struct Key {
    name: Option<Box<str>>,
    material: Material,
    /// The one algorithm that it is for, where its set says so.
    only: Option<Algorithm>,
    pub(super) thumbprint: Thumbprint,
}

#[derive(Debug)]
enum Material {
    Rsa(PublicKeyComponents<Vec<u8>>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key as its set has it. Members that are not named here do not count; the algorithm's name may be one that is not known here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys in a JWK Set that verify signatures by an algorithm that is known here. Others are left out: a set may hold keys for other
/// things (RFC 7517, section 5).
///
/// # Errors
/// When it is no JWK Set, or holds too many keys.
pub(super) fn read_set(json: &[u8]) -> Result<Vec<Key>, &'static str> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(json).map_err(|_| "the answer is no JWK Set")?;
    if set.keys.len() > KEYS_MAX {
        return Err("the JWK Set holds more than 64 keys");
    }
    let keys: Vec<Key> = set.keys.into_iter().filter_map(|key| Key::of(serde_json::from_value(key).ok()?)).collect();
    if keys.is_empty() { Err("the JWK Set holds no key that verifies signatures") } else { Ok(keys) }
}

/// The key for a token that names its key, or that names none where only one key fits.
pub(super) fn choose<'k>(keys: &'k [Key], name: Option<&str>, algorithm: Algorithm) -> Option<&'k Key> {
    let mut fitting =
        keys.iter().filter(|key| key.fits(algorithm) && name.is_none_or(|name| key.name.as_deref() == Some(name)));
    let first = fitting.next()?;
    (name.is_some() || fitting.next().is_none()).then_some(first)
}

/// An algorithm by its name in a token or a key; `none` and those with shared secrets have no value here.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        // The second name is that of RFC 9864.
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        let signs = jwk.purpose.is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        let named = jwk.kid.as_ref().is_none_or(|name| name.len() <= KEY_NAME_BYTES_MAX);
        if !signs || !named {
            return None;
        }
        let only = match &jwk.alg {
            Some(name) => Some(algorithm(name)?),
            None => None,
        };
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let point = |size: usize| {
            let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
            (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), &y].concat())
        };
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let unpadded = |bytes: Vec<u8>| bytes.into_iter().skip_while(|&byte| byte == 0).collect::<Vec<_>>();
                let (n, e) = (unpadded(bytes(&jwk.n)?), unpadded(bytes(&jwk.e)?));
                let is_odd = e.last().is_some_and(|last| last % 2 == 1);
                let is_sound = MODULUS_BYTES.contains(&n.len()) && is_odd && e != [1] && e.len() <= EXPONENT_BYTES_MAX;
                is_sound.then_some(Material::Rsa(PublicKeyComponents { n, e }))?
            }
            ("EC", Some("P-256")) => Material::P256(point(32)?),
            ("EC", Some("P-384")) => Material::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&jwk.x).filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let key = Self { thumbprint: material.thumbprint(), name: jwk.kid.map(Into::into), material, only };
        only.is_none_or(|only| key.fits(only)).then_some(key)
    }

    /// Whether signatures by this algorithm can be by this key.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let by_kind = match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => matches!(self.material, Material::Rsa(_)),
            Algorithm::ES256 => matches!(self.material, Material::P256(_)),
            Algorithm::ES384 => matches!(self.material, Material::P384(_)),
            Algorithm::EdDSA => matches!(self.material, Material::Ed25519(_)),
        };
        by_kind && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether `signature` is one of `message` by this key and this algorithm.
    pub(super) fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::Rsa(key) => {
                rsa(algorithm).is_some_and(|parameters| key.verify(parameters, message, signature).is_ok())
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Material::P384(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature).is_ok()
            }
        }
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => return None,
    })
}

impl Material {
    fn thumbprint(&self) -> Thumbprint {
        let mut hash = digest::Context::new(&digest::SHA256);
        let parts: [&[u8]; 3] = match self {
            Self::Rsa(key) => [b"RSA", &key.n, &key.e],
            Self::P256(point) => [b"P-256", point, b""],
            Self::P384(point) => [b"P-384", point, b""],
            Self::Ed25519(point) => [b"Ed25519", point, b""],
        };
        for part in parts {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

#[cfg(test)]
mod tests;

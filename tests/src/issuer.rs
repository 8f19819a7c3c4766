//! An authorization server on loopback, as far as a resource server sees one: its metadata (RFC 8414), its keys (RFC 7517) and its tokens
//! (RFC 9068). It counts who asks for what, changes its keys, and goes wrong.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The running server. It ends with this value.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    shared: Arc<Mutex<Shared>>,
    serving: JoinHandle<()>,
}

/// A key with which tokens are signed.
#[derive(Debug)]
pub enum SigningKey {
    /// For ES256.
    P256(EcdsaKeyPair),
    /// For RS256.
    Rsa(RsaKeyPair),
    /// For EdDSA.
    Ed25519(Ed25519KeyPair),
}

struct Shared {
    keys: Vec<(String, Arc<SigningKey>)>,
    /// What is asked for, in order: paths.
    asked: Vec<String>,
    /// What is answered instead.
    trouble: Option<StatusCode>,
    metadata: Value,
    cache_control: Option<&'static str>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("asked", &self.asked).finish_non_exhaustive()
    }
}

/// Says no token, only what one is made of.
#[must_use]
pub fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl SigningKey {
    /// A new one for ES256.
    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key can be made"))
    }

    /// A new one for RS256.
    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made"))
    }

    /// A new one for EdDSA.
    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().expect("a key can be made"))
    }

    /// The name of its algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// The public part, under this name.
    pub fn jwk(&self, name: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self {
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Self::Rsa(key) => {
                let der = key.public_key().as_ref();
                json!({ "kty": "RSA", "n": text(modulus(der)), "e": "AQAB" })
            }
            Self::Ed25519(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) }),
        };
        jwk["kid"] = json!(name);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token of a header and claims, each in the form of [`part`].
    pub fn signed(&self, header: &str, claims: &str) -> String {
        let message = format!("{header}.{claims}");
        let random = SystemRandom::new();
        let signature = match self {
            Self::P256(key) => key.sign(&random, message.as_bytes()).expect("a P-256 key signs").as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("an RSA key signs");
                signature
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The modulus in the DER of an RSA key of 2048 bits with the exponent 65537 (RFC 8017, appendix A.1.1).
fn modulus(der: &[u8]) -> &[u8] {
    &der[der.len() - 5 - 256..der.len() - 5]
}

impl Issuer {
    /// One with a key for ES256, called `first`.
    pub async fn start() -> Result<Self> {
        Self::start_at(TcpListener::bind("127.0.0.1:0").await?).await
    }

    /// The same on a socket that is there already.
    pub async fn start_at(listener: TcpListener) -> Result<Self> {
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Mutex::new(Shared {
            keys: vec![("first".to_owned(), Arc::new(SigningKey::p256()))],
            asked: Vec::new(),
            trouble: None,
            metadata: json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") }),
            cache_control: None,
        }));
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self { url, shared, serving })
    }

    /// Its issuer identifier.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How often its keys were asked for.
    pub fn key_fetches(&self) -> usize {
        self.shared().asked.iter().filter(|path| *path == "/jwks").count()
    }

    /// Every path that was asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.shared().asked.clone()
    }

    /// From now on it answers nothing but this status; `None` for what is right.
    pub fn trouble(&self, status: Option<StatusCode>) {
        self.shared().trouble = status;
    }

    /// What it says of itself from now on.
    pub fn metadata(&self, metadata: Value) {
        self.shared().metadata = metadata;
    }

    /// How long its keys may be kept, by its own word.
    pub fn cache_control(&self, value: &'static str) {
        self.shared().cache_control = Some(value);
    }

    /// Adds a key, which is not the one that it signs with.
    pub fn add(&self, name: &str, key: SigningKey) -> Arc<SigningKey> {
        let key = Arc::new(key);
        self.shared().keys.push((name.to_owned(), key.clone()));
        key
    }

    /// Takes all its keys away and signs with a new one.
    pub fn rotate(&self, name: &str) {
        self.shared().keys = vec![(name.to_owned(), Arc::new(SigningKey::p256()))];
    }

    /// The key that it signs with, and its name.
    pub fn key(&self) -> (String, Arc<SigningKey>) {
        self.shared().keys[0].clone()
    }

    /// Its keys, as everybody may have them.
    pub fn jwks(&self) -> Value {
        self.shared().jwks()
    }

    /// The claims of a usual token for `http://weir.test/mcp`, and those that are given over them; one that is `null` is left out.
    pub fn claims(&self, over: &Value) -> Value {
        let now = Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.url, "aud": "http://weir.test/mcp", "sub": "ann", "client_id": "test",
            "iat": now, "exp": now + 300, "jti": uuid(), "scope": "crm.read",
        });
        for (name, value) in over.as_object().into_iter().flatten() {
            if value.is_null() {
                claims.as_object_mut().expect("claims are an object").remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        claims
    }

    /// A token with these claims over the usual ones.
    #[allow(clippy::needless_pass_by_value, reason = "a test writes the claims in their place")]
    pub fn token(&self, over: Value) -> String {
        let (name, key) = self.key();
        let header = json!({ "alg": key.algorithm(), "typ": "at+jwt", "kid": name });
        key.signed(&part(&header), &part(&self.claims(&over)))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn jwks(&self) -> Value {
        json!({ "keys": self.keys.iter().map(|(name, key)| key.jwk(name)).collect::<Vec<_>>() })
    }

    fn answer(&mut self, path: &str) -> Response<Full<Bytes>> {
        self.asked.push(path.to_owned());
        let status = |status: StatusCode| {
            Response::builder().status(status).body(Full::default()).expect("a status alone is an answer")
        };
        if let Some(trouble) = self.trouble {
            return status(trouble);
        }
        let body = match path {
            "/.well-known/oauth-authorization-server" => self.metadata.clone(),
            "/jwks" => self.jwks(),
            _ => return status(StatusCode::NOT_FOUND),
        };
        let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
        let response =
            self.cache_control.iter().fold(response, |response, value| response.header(header::CACHE_CONTROL, *value));
        response.body(Full::new(body.to_string().into())).expect("these headers are plain text")
    }
}

async fn serve(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = shared.lock().unwrap_or_else(PoisonError::into_inner).answer(request.uri().path());
            async move { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn uuid() -> String {
    format!("{:032x}", rand::random::<u128>())
}

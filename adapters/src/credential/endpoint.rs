//! A token endpoint (RFC 6749, section 3.2): how Weir shows who it is there, what it asks for, and what it makes of the answer.
//!
//! Nothing that the endpoint answers is repeated, but for the code of its error in the operator's log.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{
    NoCredential, Shown, TokenMeter,
    signer::Signer,
    tokens::{Issue, Issued},
};
use crate::Outgoing;

/// How long an endpoint has for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long an assertion of Weir's own identity is good for.
const ASSERTION_LIFETIME_S: i64 = 60;
/// How long a token is shown whose server does not say how long it is good.
const LIFETIME_UNSTATED: Duration = Duration::from_secs(60);
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A token endpoint, and one thing that is asked for there.
pub(super) struct TokenEndpoint {
    pub(super) outgoing: Outgoing,
    /// The URL as the operator wrote it: the audience of assertions.
    pub(super) url: String,
    pub(super) path: Uri,
    pub(super) client: Client,
    pub(super) grant: Grant,
    /// What else is asked for: `scope`, `resource`, `audience`.
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) downstream: Box<str>,
    pub(super) meter: TokenMeter,
}

/// Who Weir is there.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) proof: Proof,
}

/// How it shows that.
pub(super) enum Proof {
    /// `client_secret_basic`.
    Secret(SecretString),
    /// `private_key_jwt` (RFC 7523, section 2.2).
    Key(Signer),
}

/// By which right a token is asked for.
pub(super) enum Grant {
    ClientCredentials,
    Refresh(Refresh),
    Exchange,
}

impl Grant {
    fn kind(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Refresh(_) => "refresh_token",
            Self::Exchange => "token_exchange",
        }
    }
}

impl Issue for TokenEndpoint {
    fn issue(&self, subject: Option<Arc<SecretString>>) -> BoxFuture<'_, Result<Issued, NoCredential>> {
        async move {
            let issued = self.ask(subject.as_deref()).await;
            let outcome = match &issued {
                Ok(_) => "ok",
                Err(failure) if failure.refused => "refused",
                Err(_) => "failed",
            };
            (self.meter)(&self.downstream, self.grant.kind(), outcome);
            if let Err(failure) = &issued {
                let reason = failure.detail.as_deref().unwrap_or_default();
                tracing::warn!(downstream = %self.downstream, kind = self.grant.kind(), reason, "no access token");
            }
            issued
        }
        .boxed()
    }
}

impl TokenEndpoint {
    async fn ask(&self, subject: Option<&SecretString>) -> Result<Issued, NoCredential> {
        let request = self.request(subject)?;
        let answer = self.outgoing.send(request, ANSWER_TIMEOUT, ANSWER_BYTES_MAX).await.map_err(|error| {
            NoCredential::unanswered("the authorization server does not answer")
                .because(format!("the token endpoint gave no answer: {error}"))
        })?;
        if !answer.status().is_success() {
            return Err(self.refusal(&answer));
        }
        self.read(answer.body())
    }

    fn request(&self, subject: Option<&SecretString>) -> Result<Request<Bytes>, NoCredential> {
        let mut form = Form::default();
        match &self.grant {
            Grant::ClientCredentials => form.add("grant_type", "client_credentials"),
            Grant::Refresh(refresh) => {
                form.add("grant_type", "refresh_token");
                form.add("refresh_token", refresh.token().expose_secret());
            }
            Grant::Exchange => {
                let Some(subject) = subject else {
                    return Err(NoCredential::refused("there is no access token to exchange"));
                };
                form.add("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
                form.add("subject_token", subject.expose_secret());
                form.add("subject_token_type", ACCESS_TOKEN);
                form.add("requested_token_type", ACCESS_TOKEN);
            }
        }
        self.fields.iter().for_each(|(name, value)| form.add(name, value));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        self.client.show(&self.url, &mut headers, &mut form)?;
        let mut request = Request::new(Bytes::from(form.0));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn read(&self, body: &[u8]) -> Result<Issued, NoCredential> {
        let strange = |what: &str| {
            NoCredential::unanswered("the authorization server gave nothing that can be shown")
                .because(format!("the token endpoint answered with {what}"))
        };
        // What the library says of a mistake may hold a part of the token.
        let answer: TokenAnswer = serde_json::from_slice(body)
            .map_err(|_| strange("something other than a token (RFC 6749, section 5.1)"))?;
        if let (Grant::Refresh(refresh), Some(next)) = (&self.grant, answer.refresh_token) {
            refresh.replace(next.into());
        }
        // A token of another kind says nothing to whoever expects a bearer token.
        if !answer.token_type.eq_ignore_ascii_case("bearer") {
            return Err(strange("a token of a type other than `Bearer`"));
        }
        let lifetime = answer.expires_in.map_or(LIFETIME_UNSTATED, Duration::from_secs);
        let shown = Some(answer.access_token).filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
        let shown = shown.filter(|token| !token.is_empty()).and_then(|token| Shown::bearer(token.into()));
        Ok(Issued { shown: shown.ok_or_else(|| strange("a token that no header can hold"))?, lifetime })
    }

    fn refusal(&self, answer: &Response<Bytes>) -> NoCredential {
        let status = answer.status();
        let code = serde_json::from_slice::<ErrorAnswer>(answer.body()).ok().map(|answer| answer.error);
        let code = code.filter(|code| code.len() <= 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        let code = code.map(|code| format!(" and `{code}`")).unwrap_or_default();
        let elsewhere = if status.is_redirection() { ": Weir follows no redirect, look at `token_url`" } else { "" };
        let detail = format!("the token endpoint answered with HTTP {}{code}{elsewhere}", status.as_u16());
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
        if status.is_client_error() && !is_busy {
            let told = match self.grant {
                Grant::Exchange => "the authorization server gives you no access to it",
                Grant::ClientCredentials | Grant::Refresh(_) => {
                    "the authorization server gives Weir no access to it; its operator must look at `credential`"
                }
            };
            return NoCredential::refused(told).because(detail);
        }
        let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        NoCredential::unanswered("the authorization server gives no access tokens now")
            .because(detail)
            .after(wait.map(Duration::from_secs))
    }
}

/// An answer with a token in it. What it has besides is nobody's business here.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// An answer that says no (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

impl Client {
    /// Puts what shows who it is where the endpoint looks for it.
    fn show(&self, endpoint: &str, headers: &mut HeaderMap, form: &mut Form) -> Result<(), NoCredential> {
        match &self.proof {
            Proof::Secret(secret) => {
                // RFC 6749, section 2.3.1: both are encoded as in a form first.
                let pair = format!("{}:{}", encoded(&self.id), encoded(secret.expose_secret()));
                let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
                let mut value = HeaderValue::from_str(&value).expect("Base64 is a valid header value");
                value.set_sensitive(true);
                headers.insert(header::AUTHORIZATION, value);
            }
            Proof::Key(signer) => {
                let now = Timestamp::now().as_second();
                let claims = json!({
                    "iss": self.id, "sub": self.id, "aud": endpoint, "jti": uuid::Uuid::new_v4().to_string(),
                    "iat": now, "exp": now + ASSERTION_LIFETIME_S,
                });
                let claims = claims.as_object().cloned().unwrap_or_default();
                let assertion = signer.sign(claims).map_err(|error| {
                    NoCredential::unanswered("Weir cannot show who it is").because(error.to_string())
                })?;
                form.add("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                form.add("client_assertion", assertion.expose_secret());
            }
        }
        Ok(())
    }
}

/// A refresh token: the one of the config, until the authorization server gives another one in its place.
pub(super) struct Refresh {
    first: SecretString,
    /// Names it among those that this process was given others for.
    mark: [u8; 32],
}

/// Those that were given in the place of one of a config. They outlive a change of the config: the first one may be worth nothing any more, and
/// showing it again may end them all.
static REPLACED: OnceLock<Mutex<HashMap<[u8; 32], SecretString>>> = OnceLock::new();

impl Refresh {
    pub(super) fn new(first: SecretString, url: &str, client: &str) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [url, client, first.expose_secret()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mark = context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        Self { first, mark }
    }

    fn token(&self) -> SecretString {
        let replaced = REPLACED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        replaced.get(&self.mark).unwrap_or(&self.first).clone()
    }

    fn replace(&self, next: SecretString) {
        let mut replaced = REPLACED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        replaced.insert(self.mark, next);
    }
}

/// A form as it is sent (`application/x-www-form-urlencoded`).
#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(&encoded(name));
        self.0.push('=');
        self.0.push_str(&encoded(value));
    }
}

fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests;

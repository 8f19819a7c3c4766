//! HashiCorp Vault: the KV secrets engine, version 2, and two ways to log in (HTTP API of Vault, `auth/token`, `auth/approle`, `kv/v2`).

use std::time::Duration;

use bytes::Bytes;
use config::{
    SecretRef, Sources,
    secret::{Vault, VaultLogin},
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::outgoing::Outgoing;

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What tells a token of itself.
const LOOKUP: &str = "auth/token/lookup-self";
/// A lease is renewed when this much of it has passed, in thirds.
const RENEWED_AFTER_THIRDS: u32 = 2;

/// Being logged in.
#[derive(Debug)]
pub(super) struct Session {
    settings: Vault,
    vault: Outgoing,
    /// What the token was got with: another one means another login.
    shown: SecretString,
    token: SecretString,
    since: Instant,
    /// For how long, where it ends.
    lease: Option<Duration>,
    renewable: bool,
    /// Whether Vault has taken the token since this fetch began.
    taken: bool,
}

/// One secret: values by key.
#[derive(Debug)]
pub(super) struct Secret(Value);

/// What is wrong, for the operator, and whether the token may be the reason.
struct Wrong {
    text: String,
    forbidden: bool,
}

impl Session {
    /// The session of before where it still holds, renewed when it is time to; otherwise a new one.
    pub(super) async fn opened(before: Option<Self>, settings: &Vault, sources: &Sources) -> Result<Self, String> {
        let reference = settings.login.secret();
        if matches!(reference, SecretRef::Vault(_)) {
            return Err("`secrets.vault.login` refers to Vault itself: use a variable, a file or a command".to_owned());
        }
        let shown = reference.resolve(sources).map_err(|error| format!("`secrets.vault.login`: {error}"))?;
        if let Some(mut session) = before.filter(|session| session.is_for(settings, &shown)) {
            let is_due = session.renews_in().is_some_and(|left| left.is_zero());
            let renewed = is_due && session.renew().await.is_ok();
            if renewed || !is_due {
                session.taken = renewed;
                return Ok(session);
            }
        }
        Self::logged_in(settings, shown, sources).await.map_err(|wrong| wrong.text)
    }

    fn is_for(&self, settings: &Vault, shown: &SecretString) -> bool {
        let (own, other) = (json!(self.settings), json!(settings));
        own == other && self.shown.expose_secret() == shown.expose_secret()
    }

    /// How long until it is to be renewed, or made anew.
    pub(super) fn renews_in(&self) -> Option<Duration> {
        let lease = self.lease?;
        Some((lease * RENEWED_AFTER_THIRDS / 3).saturating_sub(self.since.elapsed()))
    }

    async fn logged_in(settings: &Vault, shown: SecretString, sources: &Sources) -> Result<Self, Wrong> {
        let vault = Outgoing::new(&settings.address, settings.ca.as_deref(), sources)
            .map_err(|error| Wrong::new(format!("`secrets.vault.address`: {error}")))?;
        let mut session = Self {
            settings: settings.clone(),
            vault,
            token: shown.clone(),
            shown,
            since: Instant::now(),
            lease: None,
            renewable: false,
            taken: false,
        };
        session.log_in().await?;
        Ok(session)
    }

    async fn log_in(&mut self) -> Result<(), Wrong> {
        match &self.settings.login {
            VaultLogin::Token(_) => {
                self.token = self.shown.clone();
                let found = self.ask(Method::GET, LOOKUP, None, true).await?;
                self.holds_for(&found["data"]["ttl"], &found["data"]["renewable"]);
                if self.renewable {
                    // From now on: the lookup does not say when the token was made.
                    self.renew().await?;
                }
            }
            VaultLogin::AppRole(role) => {
                let body = json!({ "role_id": role.role_id, "secret_id": self.shown.expose_secret() });
                let path = format!("auth/{}/login", role.mount);
                let given = self.ask(Method::POST, &path, Some(&body), false).await?;
                self.given(&given)?;
            }
        }
        self.taken = true;
        Ok(())
    }

    /// Logs in anew where Vault does not know the token any more, once in a fetch. Whether it did.
    async fn logged_in_anew(&mut self) -> bool {
        if std::mem::replace(&mut self.taken, true) {
            return false;
        }
        let found = self.ask(Method::GET, LOOKUP, None, true).await;
        found.is_err_and(|wrong| wrong.forbidden) && self.log_in().await.is_ok()
    }

    async fn renew(&mut self) -> Result<(), Wrong> {
        if !self.renewable {
            return Err(Wrong::new("the token cannot be renewed".to_owned()));
        }
        let given = self.ask(Method::POST, "auth/token/renew-self", Some(&json!({})), true).await?;
        self.given(&given)
    }

    fn given(&mut self, answer: &Value) -> Result<(), Wrong> {
        let token = answer["auth"]["client_token"].as_str().filter(|token| !token.is_empty());
        let token =
            token.ok_or_else(|| Wrong::new("Vault gave no token: is the address that of a Vault?".to_owned()))?;
        self.token = SecretString::from(token);
        self.holds_for(&answer["auth"]["lease_duration"], &answer["auth"]["renewable"]);
        Ok(())
    }

    fn holds_for(&mut self, seconds: &Value, renewable: &Value) {
        self.since = Instant::now();
        self.lease = seconds.as_u64().filter(|&seconds| seconds > 0).map(Duration::from_secs);
        self.renewable = renewable.as_bool().unwrap_or(false) && self.lease.is_some();
    }

    /// Reads the newest version of the secret at `mount/path`.
    pub(super) async fn read(&mut self, path: &str) -> Result<Secret, String> {
        let (mount, rest) = path.split_once('/').unwrap_or((path, ""));
        let place = format!("{mount}/data/{rest}");
        let mut answer = self.ask(Method::GET, &place, None, true).await;
        // A token may be revoked long before its lease ends.
        if answer.as_ref().is_err_and(|wrong| wrong.forbidden) && self.logged_in_anew().await {
            answer = self.ask(Method::GET, &place, None, true).await;
        }
        let mut answer = match answer {
            Err(wrong) if wrong.forbidden => {
                return Err(format!("{path}: {}. Does the policy allow `read` on {place}?", wrong.text));
            }
            answer => answer.map_err(|wrong| format!("{path}: {}", wrong.text))?,
        };
        let values = answer["data"]["data"].take();
        if values.is_object() {
            return Ok(Secret(values));
        }
        Err(format!("{path} is deleted, or `{mount}` is no KV engine of version 2"))
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>, with_token: bool) -> Result<Value, Wrong> {
        let unusable = |_| Wrong::new("the token or the namespace has a character that no header may have".to_owned());
        let mut request = Request::new(body.map_or_else(Bytes::new, |body| body.to_string().into()));
        *request.method_mut() = method;
        *request.uri_mut() = format!("/v1/{path}").parse().map_err(|_| Wrong::new("this is no path".to_owned()))?;
        let headers = request.headers_mut();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if with_token {
            let mut token = HeaderValue::from_str(self.token.expose_secret()).map_err(unusable)?;
            token.set_sensitive(true);
            headers.insert("x-vault-token", token);
        }
        if let Some(namespace) = &self.settings.namespace {
            headers.insert("x-vault-namespace", HeaderValue::from_str(namespace).map_err(unusable)?);
        }
        if body.is_some() {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let answer = self.vault.send(request, TIMEOUT, ANSWER_BYTES_MAX).await;
        understood(&answer.map_err(|error| Wrong::new(format!("Vault does not answer: {error}")))?)
    }
}

impl Secret {
    /// The value of `key`.
    pub(super) fn value(&self, path: &str, key: &str) -> Result<SecretString, String> {
        match self.0.get(key) {
            Some(Value::String(value)) if !value.is_empty() => Ok(SecretString::from(value.as_str())),
            Some(Value::String(_)) => Err(format!("`{key}` of {path} is empty")),
            Some(_) => Err(format!("`{key}` of {path} is no text")),
            None => Err(format!("{path} has no key `{key}`")),
        }
    }
}

impl Wrong {
    fn new(text: String) -> Self {
        Self { text, forbidden: false }
    }
}

fn understood(answer: &Response<Bytes>) -> Result<Value, Wrong> {
    let text = match answer.status() {
        status if status.is_success() => {
            let answer = serde_json::from_slice(answer.body());
            return answer.map_err(|_| Wrong::new("the answer is no JSON: is the address that of a Vault?".to_owned()));
        }
        StatusCode::FORBIDDEN => {
            return Err(Wrong {
                text: "Vault does not permit it: the token is wrong, ended or may not do this".to_owned(),
                forbidden: true,
            });
        }
        StatusCode::NOT_FOUND => "Vault has nothing there, or its newest version was deleted".to_owned(),
        StatusCode::BAD_REQUEST => {
            "Vault does not accept the login: look at `role_id`, the secret id and `mount`".to_owned()
        }
        StatusCode::TOO_MANY_REQUESTS => {
            "Vault refuses for now, because it is asked too often, or is a standby".to_owned()
        }
        StatusCode::SERVICE_UNAVAILABLE => "Vault is sealed or in maintenance: unseal it".to_owned(),
        status if status.is_redirection() => {
            format!("Vault sends elsewhere ({status}), which is not followed: give the address of the active node")
        }
        status => format!("Vault answers {status}"),
    };
    // What Vault says besides may repeat what it was sent.
    Err(Wrong::new(text))
}

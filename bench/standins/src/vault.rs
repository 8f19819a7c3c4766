//! A HashiCorp Vault, as far as its HTTP API for tokens, AppRole and the KV engine of version 2 goes: `/v1/auth/token/lookup-self`,
//! `/v1/auth/token/renew-self`, `/v1/auth/approle/login`, `/v1/secret/data/…`. Envelopes and error texts are those of a real one.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use http::StatusCode;
use serde_json::{Value, json};

use crate::faults::Troubles;
use crate::listener::Running;
use crate::random::Random;
use crate::web::{Answer, Recorded, Site, serve};

/// Where the secret of [`Vault::put`] lies.
const MOUNT: &str = "secret";

/// A Vault that listens.
#[derive(Debug)]
pub struct Vault {
    running: Running,
    site: Arc<VaultSite>,
}

struct VaultSite {
    troubles: Troubles,
    state: Mutex<State>,
}

struct State {
    random: Random,
    sealed: bool,
    /// For how long a token is given or renewed.
    lease: Duration,
    tokens: HashMap<String, Token>,
    role: Option<(String, String)>,
    secrets: BTreeMap<String, Vec<Option<Value>>>,
    requests: Vec<Recorded>,
    renewals: usize,
    logins: usize,
}

struct Token {
    until: Option<Instant>,
}

impl Vault {
    /// Starts one with this root token, which never ends.
    pub async fn start(root_token: &str) -> Result<Self> {
        let state = State {
            random: Random::new(7, "vault"),
            sealed: false,
            lease: Duration::from_secs(3600),
            tokens: HashMap::from([(root_token.to_owned(), Token { until: None })]),
            role: None,
            secrets: BTreeMap::new(),
            requests: Vec::new(),
            renewals: 0,
            logins: 0,
        };
        let site = Arc::new(VaultSite { troubles: Troubles::default(), state: Mutex::new(state) });
        Ok(Self { running: serve(site.clone(), "127.0.0.1:0").await?, site })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.running.addr
    }

    /// Makes a version of the secret at `path` of the engine at `secret/`.
    pub fn put(&self, path: &str, values: Value) {
        self.site.state().secrets.entry(path.to_owned()).or_default().push(Some(values));
    }

    /// Deletes the newest version.
    pub fn delete(&self, path: &str) {
        if let Some(versions) = self.site.state().secrets.get_mut(path) {
            versions.push(None);
        }
    }

    /// From now on tokens that are given or renewed hold for so long.
    pub fn lease(&self, lease: Duration) {
        self.site.state().lease = lease;
    }

    /// Lets in who shows this role and its secret id.
    pub fn role(&self, role_id: &str, secret_id: &str) {
        self.site.state().role = Some((role_id.to_owned(), secret_id.to_owned()));
    }

    /// Gives a token that holds for the lease and can be renewed.
    pub fn token(&self) -> String {
        self.site.state().new_token()
    }

    /// Ends every token that can end.
    pub fn revoke_all(&self) {
        self.site.state().tokens.retain(|_, token| token.until.is_none());
    }

    /// Seals it, or unseals it.
    pub fn seal(&self, sealed: bool) {
        self.site.state().sealed = sealed;
    }

    /// How often a token was renewed, and how often somebody logged in.
    pub fn renewals_and_logins(&self) -> (usize, usize) {
        let state = self.site.state();
        (state.renewals, state.logins)
    }

    /// What came.
    pub fn requests(&self) -> Vec<Recorded> {
        self.site.state().requests.clone()
    }
}

impl VaultSite {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for VaultSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultSite")
    }
}

impl Site for VaultSite {
    fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    const SHOWN_AT: &'static str = "/__seen";

    fn shown(&self) -> Value {
        json!({ "requests": self.state().requests.len() })
    }

    fn arrived(&self, request: &Recorded, kept: bool) {
        if kept {
            self.state().requests.push(request.clone());
        }
    }

    async fn answer(&self, request: &Recorded) -> Answer {
        let mut state = self.state();
        if state.sealed {
            return errors(StatusCode::SERVICE_UNAVAILABLE, &["Vault is sealed"]);
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if (request.method.as_str(), request.path()) == ("POST", "/v1/auth/approle/login") {
            return state.log_in(&body);
        }
        let token = request.header("x-vault-token").unwrap_or_default();
        let known = state.tokens.get(token).filter(|token| token.until.is_none_or(|until| until > Instant::now()));
        let Some(until) = known.map(|token| token.until) else {
            return errors(StatusCode::FORBIDDEN, &["permission denied"]);
        };
        match (request.method.as_str(), request.path()) {
            ("GET", "/v1/auth/token/lookup-self") => {
                let ttl = until.map_or(0, |until| until.saturating_duration_since(Instant::now()).as_secs());
                let data = json!({ "id": token, "ttl": ttl, "renewable": until.is_some(), "policies": ["weir"], "type": "service" });
                envelope(&data, &Value::Null)
            }
            ("POST", "/v1/auth/token/renew-self") if until.is_none() => {
                errors(StatusCode::BAD_REQUEST, &["lease is not renewable"])
            }
            ("POST", "/v1/auth/token/renew-self") => state.renew(token),
            ("GET", path) => state.read(path),
            _ => errors(StatusCode::METHOD_NOT_ALLOWED, &[]),
        }
    }

    fn left(&self, _answered: bool) {}
}

impl State {
    fn new_token(&mut self) -> String {
        let token = format!("hvs.{:016x}{:016x}", self.random.next(), self.random.next());
        self.tokens.insert(token.clone(), Token { until: Some(Instant::now() + self.lease) });
        token
    }

    fn log_in(&mut self, body: &Value) -> Answer {
        let shown = (body["role_id"].as_str().unwrap_or_default(), body["secret_id"].as_str().unwrap_or_default());
        if self.role.as_ref().is_none_or(|(role, secret)| (role.as_str(), secret.as_str()) != shown) {
            return errors(StatusCode::BAD_REQUEST, &["invalid role or secret ID"]);
        }
        self.logins += 1;
        let token = self.new_token();
        envelope(&Value::Null, &self.auth(&token))
    }

    fn renew(&mut self, token: &str) -> Answer {
        self.renewals += 1;
        let until = Some(Instant::now() + self.lease);
        self.tokens.insert(token.to_owned(), Token { until });
        envelope(&Value::Null, &self.auth(token))
    }

    fn auth(&self, token: &str) -> Value {
        json!({
            "client_token": token, "accessor": "a", "policies": ["default", "weir"], "token_policies": ["default", "weir"],
            "metadata": null, "lease_duration": self.lease.as_secs(), "renewable": true, "entity_id": "", "token_type": "service",
            "orphan": true,
        })
    }

    fn read(&self, path: &str) -> Answer {
        let place = path.strip_prefix(&format!("/v1/{MOUNT}/data/"));
        let Some(versions) = place.and_then(|place| self.secrets.get(place)) else {
            return errors(StatusCode::NOT_FOUND, &[]);
        };
        let newest = versions.last().cloned().flatten();
        let deleted = if newest.is_some() { "" } else { "2026-01-01T00:00:00Z" };
        let metadata = json!({
            "created_time": "2026-01-01T00:00:00Z", "custom_metadata": null, "deletion_time": deleted, "destroyed": false,
            "version": versions.len(),
        });
        let data = json!({ "data": newest, "metadata": metadata });
        let body = enveloped(&data, &Value::Null);
        Answer::json(if newest.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND }, &body)
    }
}

fn envelope(data: &Value, auth: &Value) -> Answer {
    Answer::json(StatusCode::OK, &enveloped(data, auth))
}

fn enveloped(data: &Value, auth: &Value) -> Value {
    json!({
        "request_id": "0f6c2a9e-0000-4000-8000-000000000000", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data,
        "wrap_info": null, "warnings": null, "auth": auth, "mount_type": "kv",
    })
}

fn errors(status: StatusCode, errors: &[&str]) -> Answer {
    Answer::json(status, &json!({ "errors": errors }))
}

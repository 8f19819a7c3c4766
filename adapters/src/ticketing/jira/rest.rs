//! One request to Jira and its answer: the only place here that knows HTTP.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use config::{Sources, downstream::Ticketing};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    super::Trouble,
    refusal::{Refusal, is_of_jira},
};
use crate::{
    AdapterError, BuildError, CallContext, Deadline, ErrorClass, Sent,
    credential::Whose,
    health::Health,
    http::{Care, HttpClient, HttpError, HttpSettings, Limits, tell_time_left},
    registry::Shown,
};

/// The longest that Weir stays away because of one answer.
const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// How much of an answer that says no is read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// The way to one Jira site.
pub(super) struct Rest {
    pub(super) downstream: Arc<str>,
    client: HttpClient,
    attempt_timeout: Duration,
    answer_bytes_max: usize,
    health: Arc<Health>,
    /// Until when Jira wants to hear nothing from this account.
    paused_until: Mutex<Option<Instant>>,
}

/// On whose behalf a request is made.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Turn<'a> {
    pub(in super::super) ctx: &'a CallContext,
    pub(in super::super) tool: &'a str,
}

/// Why there is no answer.
#[derive(Debug)]
pub(in super::super) enum Failure {
    /// There is no such thing, or it is not to be seen.
    NotFound,
    Failed(AdapterError),
}

impl From<AdapterError> for Failure {
    fn from(error: AdapterError) -> Self {
        Self::Failed(error)
    }
}

impl Failure {
    /// Adds what is to be done, where it is not known whether the write was carried out.
    pub(super) fn advise(mut self, advice: impl FnOnce() -> String) -> Self {
        if let Self::Failed(error) = &mut self
            && error.sent == Sent::Unknown
        {
            error.message = format!("{} {}", error.message, advice());
        }
        self
    }
}

impl Rest {
    pub(super) fn new(
        downstream: Arc<str>,
        settings: &Ticketing,
        health: Arc<Health>,
        shown: Shown<'_>,
        sources: &Sources,
    ) -> Result<Self, BuildError> {
        let http = HttpSettings {
            base_url: &settings.base_url,
            url_key: "base_url",
            credentials: shown.credentials,
            trust: &shown.trust,
            limits: Limits {
                connect_timeout: settings.connect_timeout.0,
                idle_timeout: settings.idle_timeout.0,
                connections_max: settings.connections_max,
            },
        };
        let client = HttpClient::new(http, sources, shown.section)?;
        let (attempt_timeout, answer_bytes_max) = (settings.attempt_timeout.0, settings.answer_bytes_max.bytes());
        Ok(Self { downstream, client, attempt_timeout, answer_bytes_max, health, paused_until: Mutex::default() })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, turn: Turn<'_>, path: &str) -> Result<T, Failure> {
        self.read(&self.exchange(turn, request(Method::GET, path, None), false).await?)
    }

    /// A question that is asked with a body.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        turn: Turn<'_>,
        path: &str,
        body: &Value,
    ) -> Result<T, Failure> {
        self.read(&self.exchange(turn, request(Method::POST, path, Some(body)), false).await?)
    }

    /// Changes something; never sent twice.
    pub(super) async fn write(&self, turn: Turn<'_>, path: &str, body: &Value) -> Result<Bytes, Failure> {
        let written = self.exchange(turn, request(Method::POST, path, Some(body)), true).await?;
        self.health.up();
        Ok(written)
    }

    /// Reads an answer.
    pub(super) fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        let read = serde_json::from_slice(body).map_err(|error| {
            self.health.suspect();
            let message = format!(
                "What {} answered is not what Jira Cloud answers. If it stays so, tell the operator.",
                self.downstream
            );
            AdapterError::new(ErrorClass::Protocol, Sent::Yes, message).caused_by(error)
        })?;
        self.health.up();
        Ok(read)
    }

    async fn exchange(&self, turn: Turn<'_>, mut request: Request<Bytes>, writes: bool) -> Result<Bytes, Failure> {
        self.not_paused()?;
        self.not_refused()?;
        let limit = turn.ctx.deadline.within(self.attempt_timeout);
        tell_time_left(request.headers_mut(), limit);
        let lost = |error: HttpError| {
            self.heard(&error);
            error.for_call(&self.downstream, turn.tool)
        };
        let mut answer = self
            .client
            .send(request, Whose::Caller(&turn.ctx.caller), Care::of(turn.ctx, writes), limit)
            .await
            .map_err(lost)?;
        let (status, headers, shown) = (answer.head.status, answer.head.headers.clone(), answer.shown.take());
        // What was written is written, whatever the account was taken for.
        if status.is_success() && (writes || !login_failed(&headers)) {
            return Ok(answer.body(self.answer_bytes_max, limit).await.map_err(lost)?);
        }
        // A refusal whose words do not come is a refusal all the same.
        let body = answer.body(self.answer_bytes_max.min(REFUSAL_BYTES_MAX), limit).await.unwrap_or_default();
        let refusal = Refusal {
            downstream: &self.downstream,
            tool: turn.tool,
            status,
            headers: &headers,
            body: &body,
            writes,
            credential: shown.as_deref(),
        };
        Err(self.refused(&refusal))
    }

    fn refused(&self, refusal: &Refusal<'_>) -> Failure {
        if refusal.status == StatusCode::UNAUTHORIZED || login_failed(refusal.headers) {
            // What one caller may not says nothing of the others.
            if !is_about_scopes(refusal.body) && !self.client.is_per_caller() {
                self.health.down(CREDENTIAL_REFUSED);
            }
            let unauthorized = Refusal { status: StatusCode::UNAUTHORIZED, ..*refusal };
            return unauthorized.error().into();
        }
        let is_of_jira = refusal.is_of_jira();
        if refusal.status.is_server_error() || !is_of_jira {
            self.health.suspect();
        } else {
            self.health.up();
        }
        if let Some(pause) = refusal.pause() {
            let until = Instant::now() + pause.min(PAUSE_MAX);
            tracing::warn!(downstream = %self.downstream, pause_ms = pause.as_millis(), "asked to stay away");
            let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
            *paused = (*paused).max(Some(until));
        }
        if refusal.status == StatusCode::NOT_FOUND && is_of_jira { Failure::NotFound } else { refusal.error().into() }
    }

    fn not_paused(&self) -> Result<(), AdapterError> {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = until.map(|until| until.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero());
        let Some(wait) = wait else { return Ok(()) };
        let seconds = wait.as_secs_f64().ceil();
        let message = format!(
            "{} asked Weir to stay away for another {seconds} s: its limit is used up. Nothing was sent; try again after that.",
            self.downstream
        );
        let mut error = AdapterError::not_sent(ErrorClass::Busy, message);
        error.retry_after = Some(wait);
        Err(error)
    }

    /// A credential that was refused is not shown again before a probe finds that it is taken: that would lock the account.
    fn not_refused(&self) -> Result<(), AdapterError> {
        if !self.health.is_down_because(CREDENTIAL_REFUSED) {
            return Ok(());
        }
        let message = format!(
            "{} does not accept Weir's credential. Nothing was sent; Weir looks every minute whether it does again. Its operator must look at it.",
            self.downstream
        );
        Err(AdapterError::not_sent(ErrorClass::Unauthorized, message).known())
    }

    /// What a failed exchange says about the site.
    fn heard(&self, error: &HttpError) {
        match error.class {
            ErrorClass::Unreachable if error.uncredited => {}
            ErrorClass::Unreachable => self.health.down(&error.reason()),
            ErrorClass::ConnectionLost | ErrorClass::Timeout | ErrorClass::Protocol => self.health.suspect(),
            ErrorClass::Busy
            | ErrorClass::Cancelled
            | ErrorClass::Rejected
            | ErrorClass::InvalidArguments
            | ErrorClass::TooLarge
            | ErrorClass::Unauthorized => {}
        }
    }

    /// One cheap question: whose account is this?
    pub(super) async fn probe(&self) -> Result<(), Trouble> {
        let trouble = |reason: String| Trouble { reason, refused: false };
        let limit = Deadline::after(self.attempt_timeout);
        let request = request(Method::GET, "/rest/api/3/myself", None);
        let answer =
            self.client.send(request, Whose::Weir, Care::Read, limit).await.map_err(|error| trouble(error.reason()))?;
        let (status, headers) = (answer.head.status, answer.head.headers.clone());
        let body = answer.body(REFUSAL_BYTES_MAX, limit).await.map_err(|error| trouble(error.reason()))?;
        if status.is_server_error() {
            return Err(trouble(format!("it answers with HTTP {}", status.as_u16())));
        }
        if (status == StatusCode::UNAUTHORIZED && !is_about_scopes(&body)) || login_failed(&headers) {
            return Err(Trouble { reason: CREDENTIAL_REFUSED.to_owned(), refused: true });
        }
        let is_no_jira = || {
            trouble(format!("it answers with HTTP {}, but not as Jira Cloud does: look at `base_url`", status.as_u16()))
        };
        let is_jira = if status.is_success() { shows_account(&body) } else { is_of_jira(status, &body) };
        if is_jira { Ok(()) } else { Err(is_no_jira()) }
    }
}

const CREDENTIAL_REFUSED: &str =
    "it does not accept Weir's credential: look at `credential`, and whether the token has expired";

/// Jira goes on without a name where it does not know the account, so that tickets seem not to be there.
fn login_failed(headers: &HeaderMap) -> bool {
    headers.get("x-seraph-loginreason").is_some_and(|reason| reason.as_bytes().starts_with(b"AUTHENTICATED_FAILED"))
}

/// What Jira answers to the question whose account it is.
fn shows_account(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, Value>>(body).is_ok()
}

/// A token may be good for some questions and not for others; Jira says so then.
fn is_about_scopes(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"scope").is_some()
}

/// `path` is made of fixed parts, and of keys that were read into a type.
fn request(method: Method, path: &str, body: Option<&Value>) -> Request<Bytes> {
    let json = HeaderValue::from_static("application/json");
    let mut request = Request::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("fixed parts and checked keys make a path");
    request.headers_mut().insert(header::ACCEPT, json.clone());
    request
        .headers_mut()
        .insert(header::USER_AGENT, HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION"))));
    if body.is_some() {
        request.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    request
}

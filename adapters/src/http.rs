//! Outgoing HTTP/1.1: one pool of connections to one origin.
//!
//! It follows no redirect, heeds no proxy variable, and opens a socket through [`address::connect`] alone, so that the address
//! which is judged is the one that is connected to. What a failure says about bytes that left is exact: a write that may have
//! been carried out is never repeated.

mod answer;
mod connection;
mod error;
mod origin;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use config::Sources;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header, uri::PathAndQuery};
use http_body_util::Full;
use tokio::sync::Semaphore;

use crate::{
    BuildError, CallContext, Deadline, ErrorClass, Sent,
    address::Reach,
    credential::{Credentials, Given, Whose},
    tls::Trust,
};
use answer::Held;
use connection::{Connection, Idle};

pub(crate) use answer::Answer;
pub(crate) use error::HttpError;
pub(crate) use http::response::Parts as Head;
pub(crate) use origin::{NoStream, Origin};

/// How long an answer is waited for, in milliseconds: the header by which proxies tell the servers behind them the same.
const TIME_LEFT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// Tells the server when nobody will wait for its answer any more, so that it need not work on what nobody reads.
pub(crate) fn tell_time_left(headers: &mut HeaderMap, limit: Deadline) {
    let left_ms = u64::try_from(limit.remaining().as_millis()).unwrap_or(u64::MAX);
    headers.insert(TIME_LEFT, HeaderValue::from(left_ms));
}

/// What a pool needs to know.
pub(crate) struct HttpSettings<'a> {
    /// `https://host/path`; the path comes before that of every request.
    pub(crate) base_url: &'a str,
    /// What the config calls it.
    pub(crate) url_key: &'a str,
    pub(crate) credentials: Credentials,
    pub(crate) trust: &'a Trust,
    pub(crate) limits: Limits,
}

/// How much of everything there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long connecting may take, with TLS.
    pub(crate) connect_timeout: Duration,
    /// The longest silence within an answer that has begun.
    pub(crate) idle_timeout: Duration,
    /// The most connections that are open at once.
    pub(crate) connections_max: usize,
}

/// What is known of a request: whether it may be sent twice.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Care<'a> {
    /// It reads: it is sent once more where a connection turns out to have been closed.
    Read,
    /// It must not arrive twice.
    Once,
    /// It writes for this call, whose gate is awaited right before the first byte. Never sent twice.
    Write(&'a CallContext),
}

impl<'a> Care<'a> {
    /// For a request of a call that writes, or reads.
    pub(crate) fn of(ctx: &'a CallContext, writes: bool) -> Self {
        if writes { Self::Write(ctx) } else { Self::Read }
    }
}

/// Connections to one origin.
pub(crate) struct HttpClient {
    origin: Origin,
    /// Without the slash at its end.
    base_path: String,
    credentials: Credentials,
    limits: Limits,
    /// One permit for each request under way. An idle connection is taken before a new one is made, so there are never more
    /// connections than permits.
    slots: Arc<Semaphore>,
    idle: Arc<Idle>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Connects to nothing yet. `setting` names the section in errors; relative files are looked for in `sources`.
    ///
    /// # Errors
    /// When the URL or the certificates are not usable.
    pub(crate) fn new(settings: HttpSettings<'_>, sources: &Sources, setting: &str) -> Result<Self, BuildError> {
        let wrong = |message| BuildError::Setting { setting: format!("{setting}.{}", settings.url_key), message };
        let reach = Reach::written(sources);
        let (origin, path) =
            Origin::parse(settings.base_url, ["http", "https"], settings.trust, reach).map_err(wrong)?;
        if path.query().is_some() {
            let message = "remove `?` and what follows: it would stand before the path of the requests";
            return Err(wrong(message.to_owned()));
        }
        let base_path = path.path().trim_end_matches('/').to_owned();
        Ok(Self { credentials: settings.credentials, ..Self::plain(origin, base_path, settings.limits) })
    }

    /// Without a credential. `base_path` has no slash at its end.
    pub(crate) fn plain(origin: Origin, base_path: String, limits: Limits) -> Self {
        let slots = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
        Self { origin, base_path, credentials: Credentials::default(), limits, slots, idle: Arc::default() }
    }

    /// Another pool to the same origin, with the same credentials.
    pub(crate) fn beside(&self, limits: Limits) -> Self {
        let credentials = self.credentials.clone();
        Self { credentials, ..Self::plain(self.origin.clone(), self.base_path.clone(), limits) }
    }

    /// Sends `request` on behalf of `whose` and waits for the head of its answer. Its URI is a path and query, which the path of the
    /// base URL comes before; `Host`, `Content-Length` and the credential are added here. Dropping the future closes the connection.
    ///
    /// A connection that was closed while it was idle is replaced. For a request that must not arrive twice this is done only
    /// where hyper hands the request back untouched; one that reads is sent once more. It is also sent once more with another
    /// access token where the one it had is not accepted.
    ///
    /// # Errors
    /// `Busy` without a free connection, `Unreachable`, `ConnectionLost`, `Timeout` at `limit`, `Protocol`; `Cancelled` when the
    /// gate was closed; with [`HttpError::uncredited`] where there is nothing to show.
    pub(crate) async fn send(
        &self,
        mut request: Request<Bytes>,
        whose: Whose<'_>,
        care: Care<'_>,
        limit: Deadline,
    ) -> Result<Answer, HttpError> {
        self.address(&mut request)?;
        let given = self.show(&mut request, whose, limit).await?;
        let token = given.as_ref().filter(|given| given.is_token());
        let again = token.filter(|_| matches!(care, Care::Read)).map(|_| request.clone());
        let mut answer = self.send_in_time(request, care, limit).await?;
        if answer.head.status == StatusCode::UNAUTHORIZED
            && let Some(token) = token
            && self.credentials.refused(whose, token)
            && let Some(mut request) = again
        {
            drop(answer);
            let given = self.show(&mut request, whose, limit).await?;
            answer = self.send_in_time(request, care, limit).await?;
            answer.shown = given.map(|given| given.shown);
            return Ok(answer);
        }
        answer.shown = given.map(|given| given.shown);
        Ok(answer)
    }

    /// Puts the credential among the headers.
    async fn show(
        &self,
        request: &mut Request<Bytes>,
        whose: Whose<'_>,
        limit: Deadline,
    ) -> Result<Option<Given>, HttpError> {
        let given = self.credentials.show(whose, limit).await?;
        if let Some(given) = &given {
            given.shown.add_to(request.headers_mut());
        }
        Ok(given)
    }

    async fn send_in_time(
        &self,
        request: Request<Bytes>,
        care: Care<'_>,
        limit: Deadline,
    ) -> Result<Answer, HttpError> {
        let mut sent = Sent::No;
        let sending = self.send_at_leisure(request, care, &mut sent, limit);
        match tokio::time::timeout_at(limit.at(), sending).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::late(sent)),
        }
    }

    async fn send_at_leisure(
        &self,
        request: Request<Bytes>,
        care: Care<'_>,
        sent: &mut Sent,
        limit: Deadline,
    ) -> Result<Answer, HttpError> {
        let slot = tokio::time::timeout_at(limit.at(), Arc::clone(&self.slots).acquire_owned()).await;
        let slot = slot.ok().and_then(Result::ok).ok_or_else(|| self.full())?;
        let mut request = request.map(Full::new);
        let mut repeated = false;
        loop {
            if repeated {
                // What else waits has been idle for even longer.
                while self.idle.take().is_some() {}
            }
            let mut connection = self.connection().await?;
            let again = (connection.reused && matches!(care, Care::Read)).then(|| request.clone());
            // What is sent now would be cut off at once, and nobody would know whether it arrived.
            if limit.remaining().is_zero() {
                return Err(HttpError::late(Sent::No));
            }
            if let Care::Write(ctx) = care {
                ctx.about_to_send().await?;
            }
            let answer = connection.sender.try_send_request(request);
            *sent = Sent::Unknown;
            match answer.await {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    connection.heed(&head.headers);
                    let held = Held { connection, idle: Arc::clone(&self.idle), _slot: slot };
                    return Ok(Answer::new(head, body, self.limits.idle_timeout, held));
                }
                Err(mut failure) => {
                    let untouched = failure.take_message();
                    let error = HttpError::broken(failure.error());
                    request = match (untouched, again) {
                        // The server closed it while nobody looked. A new connection that behaves so is given up.
                        (Some(request), _) if connection.reused => request,
                        (Some(_), _) => return Err(HttpError { sent: Sent::No, ..error }),
                        (None, Some(request)) if error.class == ErrorClass::ConnectionLost => {
                            repeated = true;
                            request
                        }
                        (None, _) => return Err(error),
                    };
                    *sent = Sent::No;
                }
            }
        }
    }

    /// Whether each caller is shown to the server to be itself.
    pub(crate) fn is_per_caller(&self) -> bool {
        self.credentials.is_per_caller()
    }

    /// Makes the request one to this origin.
    fn address(&self, request: &mut Request<Bytes>) -> Result<(), HttpError> {
        let wrong = || HttpError::new(ErrorClass::InvalidArguments, Sent::No, "the path of the request is none");
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        *request.uri_mut() = format!("{}{path}", self.base_path).parse().map_err(|_| wrong())?;
        request.headers_mut().insert(header::HOST, self.origin.authority.clone());
        Ok(())
    }

    /// One that waits and still works, else a new one.
    async fn connection(&self) -> Result<Connection, HttpError> {
        while let Some(mut idle) = self.idle.take() {
            if idle.is_ready().await {
                return Ok(idle);
            }
        }
        self.connect_in_time().await
    }

    /// Connects, TLS included, and asks for nothing: a look at an origin where no traffic tells whether it can be reached.
    ///
    /// # Errors
    /// `Unreachable`.
    pub(crate) async fn probe(&self) -> Result<(), HttpError> {
        self.connect_in_time().await.map(drop)
    }

    async fn connect_in_time(&self) -> Result<Connection, HttpError> {
        let late =
            || HttpError::unreachable(format!("no connection within {} ms", self.limits.connect_timeout.as_millis()));
        tokio::time::timeout(self.limits.connect_timeout, self.connect()).await.unwrap_or_else(|_| Err(late()))
    }

    async fn connect(&self) -> Result<Connection, HttpError> {
        let unreachable = |error: NoStream| HttpError::unreachable(error.told()).because(error.detail());
        let stream = self.origin.connect().await.map_err(unreachable)?;
        Connection::over(stream).await.map_err(|error| HttpError::unreachable("no connection").because(error))
    }

    fn full(&self) -> HttpError {
        let told = format!(
            "all {} connections that requests may have are in use (`connections_max`)",
            self.limits.connections_max
        );
        HttpError::new(ErrorClass::Busy, Sent::No, told)
    }
}

#[cfg(test)]
mod tests;

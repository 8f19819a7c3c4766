//! Outgoing HTTP/1.1: one pool of connections to one origin.
//!
//! It follows no redirect, heeds no proxy variable, and opens a socket through [`address::connect`] alone, so that the address
//! which is judged is the one that is connected to. What a failure says about bytes that left is exact: a write that may have
//! been carried out is never repeated.

mod answer;
mod connection;
mod error;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use config::{Sources, downstream::Credential};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::{BuildError, CallContext, Deadline, ErrorClass, Sent, address, credential::Shown, tls::Tls};
use answer::Held;
use connection::{Connection, Idle};

pub(crate) use answer::Answer;
pub(crate) use error::HttpError;
pub(crate) use http::response::Parts as Head;

/// How long an answer is waited for, in milliseconds: the header by which proxies tell the servers behind them the same.
const TIME_LEFT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// Tells the server when nobody will wait for its answer any more, so that it need not work on what nobody reads.
pub(crate) fn tell_time_left(headers: &mut HeaderMap, limit: Deadline) {
    let left_ms = u64::try_from(limit.remaining().as_millis()).unwrap_or(u64::MAX);
    headers.insert(TIME_LEFT, HeaderValue::from(left_ms));
}

/// What a pool needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpSettings<'a> {
    /// `https://host/path`; the path comes before that of every request.
    pub(crate) base_url: &'a str,
    /// What the config calls it.
    pub(crate) url_key: &'a str,
    pub(crate) credential: Option<&'a Credential>,
    /// How long connecting may take, with TLS.
    pub(crate) connect_timeout: Duration,
    /// The longest silence within an answer that has begun.
    pub(crate) idle_timeout: Duration,
    /// The most connections that are open at once.
    pub(crate) connections_max: usize,
}

/// Connections to one origin.
pub(crate) struct HttpClient {
    host: String,
    port: u16,
    authority: HeaderValue,
    /// Without the slash at its end.
    base_path: String,
    tls: Option<Tls>,
    credential: Option<Shown>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    connections_max: usize,
    /// One permit for each request under way. An idle connection is taken before a new one is made, so there are never more
    /// connections than permits.
    slots: Arc<Semaphore>,
    idle: Arc<Idle>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Connects to nothing yet. `setting` names the section in errors; relative files are looked for in `sources`.
    ///
    /// # Errors
    /// When the URL or the credential is not usable.
    pub(crate) fn new(settings: HttpSettings<'_>, sources: &Sources, setting: &str) -> Result<Self, BuildError> {
        let url_setting = format!("{setting}.{}", settings.url_key);
        let wrong = |message: &str| BuildError::Setting { setting: url_setting.clone(), message: message.to_owned() };
        let form = "this is not the URL of an HTTP server: write `https://host/path`";
        let uri: Uri = settings.base_url.parse().map_err(|_| wrong(form))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong(form)),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| wrong("leave user and password out of the URL: use `credential`"))?;
        let host = authority.host().to_owned();
        let tls = if secure { Some(Tls::new(&host, &url_setting)?.ok_or_else(|| wrong(form))?) } else { None };
        if uri.query().is_some() {
            return Err(wrong("remove `?` and what follows: it would stand before the path of the requests"));
        }
        Ok(Self {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().parse().map_err(|_| wrong(form))?,
            base_path: uri.path().trim_end_matches('/').to_owned(),
            credential: settings.credential.map(|shown| Shown::new(shown, sources, setting)).transpose()?,
            connect_timeout: settings.connect_timeout,
            idle_timeout: settings.idle_timeout,
            connections_max: settings.connections_max,
            slots: Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS))),
            idle: Arc::default(),
            host,
            tls,
        })
    }

    /// Sends `request` and waits for the head of its answer. Its URI is a path and query, which the path of the base URL comes
    /// before; `Host`, `Content-Length` and the credential are added here. A request that writes comes with its call in `write`,
    /// whose gate is awaited right before the first byte. Dropping the future closes the connection.
    ///
    /// A connection that was closed while it was idle is replaced. For a request that writes this is done only where hyper hands
    /// the request back untouched; one that reads is sent once more.
    ///
    /// # Errors
    /// `Busy` without a free connection, `Unreachable`, `ConnectionLost`, `Timeout` at `limit`, `Protocol`; `Cancelled` when the
    /// gate was closed.
    pub(crate) async fn send(
        &self,
        mut request: Request<Bytes>,
        write: Option<&CallContext>,
        limit: Deadline,
    ) -> Result<Answer, HttpError> {
        self.address(&mut request)?;
        let mut sent = Sent::No;
        let sending = self.send_at_leisure(request, write, &mut sent, limit);
        match tokio::time::timeout_at(limit.at(), sending).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::late(sent)),
        }
    }

    async fn send_at_leisure(
        &self,
        request: Request<Bytes>,
        write: Option<&CallContext>,
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
            let again = (connection.reused && write.is_none()).then(|| request.clone());
            // What is sent now would be cut off at once, and nobody would know whether it arrived.
            if limit.remaining().is_zero() {
                return Err(HttpError::late(Sent::No));
            }
            if let Some(ctx) = write {
                ctx.about_to_send().await?;
            }
            let answer = connection.sender.try_send_request(request);
            *sent = Sent::Unknown;
            match answer.await {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    connection.heed(&head.headers);
                    let held = Held { connection, idle: Arc::clone(&self.idle), _slot: slot };
                    return Ok(Answer::new(head, body, self.idle_timeout, held));
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

    /// What it shows the server, for whoever repeats the server's words.
    pub(crate) fn credential(&self) -> Option<&Shown> {
        self.credential.as_ref()
    }

    /// Makes the request one to this origin.
    fn address(&self, request: &mut Request<Bytes>) -> Result<(), HttpError> {
        let wrong = || HttpError::new(ErrorClass::InvalidArguments, Sent::No, "the path of the request is none");
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        *request.uri_mut() = format!("{}{path}", self.base_path).parse().map_err(|_| wrong())?;
        request.headers_mut().insert(header::HOST, self.authority.clone());
        if let Some(credential) = &self.credential {
            credential.add_to(request.headers_mut());
        }
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
        let late = || HttpError::unreachable(format!("no connection within {} ms", self.connect_timeout.as_millis()));
        tokio::time::timeout(self.connect_timeout, self.connect()).await.unwrap_or_else(|_| Err(late()))
    }

    async fn connect(&self) -> Result<Connection, HttpError> {
        let stream = address::connect(&self.host, self.port).await.map_err(|error| HttpError::from(&error))?;
        let connection = match &self.tls {
            None => Connection::over(stream).await,
            Some(tls) => {
                let connecting = TlsConnector::from(Arc::clone(&tls.config)).connect(tls.name.clone(), stream);
                let untrusted =
                    |error: std::io::Error| HttpError::unreachable("the TLS handshake failed").because(error);
                Connection::over(connecting.await.map_err(untrusted)?).await
            }
        };
        connection.map_err(|error| HttpError::unreachable("no connection").because(error))
    }

    fn full(&self) -> HttpError {
        let told =
            format!("all {} connections that requests may have are in use (`connections_max`)", self.connections_max);
        HttpError::new(ErrorClass::Busy, Sent::No, told)
    }
}

#[cfg(test)]
mod tests;

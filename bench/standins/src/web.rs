//! The HTTP server under the stand-ins that are not MCP servers. It keeps requests as they came, and can be told to go
//! wrong.

#[cfg(test)]
pub(crate) mod ask;
mod body;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::faults::{Trouble, TroubleKind, Troubles};
use crate::listener::{Running, listen};
use crate::witness;
use body::Body;

/// How long a connection may be idle; long, since keeping connections is what a pool is tested for.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// What a test that never reads the requests can make their list grow to.
const REQUESTS_MAX: usize = 100_000;
const REQUESTS_BYTES_MAX: usize = 256 << 20;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    /// The path and the query, verbatim: nothing is decoded.
    pub target: String,
    /// In order; the names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Recorded {
    /// The first header of this name, which is written in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The target before its question mark, verbatim.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The first parameter of this name, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        first_pair(self.target.split_once('?')?.1, name)
    }

    /// The first field of this name in a body that is a form, decoded.
    pub fn form(&self, name: &str) -> Option<String> {
        first_pair(std::str::from_utf8(&self.body).ok()?, name)
    }

    /// The segments of the path, each one decoded.
    pub(crate) fn segments(&self) -> Vec<String> {
        self.path().split('/').skip(1).map(percent_decoded).collect()
    }
}

fn first_pair(pairs: &str, name: &str) -> Option<String> {
    pairs
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| percent_decoded(&key.replace('+', " ")) == name)
        .map(|(_, value)| percent_decoded(&value.replace('+', " ")))
}

/// What is no escape stays; what is no UTF-8 becomes replacement characters.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |index: usize| after.get(index).and_then(|&digit| char::from(digit).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What answers a request, before trouble befalls it.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![(CONTENT_TYPE, HeaderValue::from_static(content_type))], body: body.into() }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, "application/json;charset=UTF-8", body.to_string())
    }

    pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain;charset=UTF-8", body)
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        let value = HeaderValue::from_str(value.as_ref()).expect("our own headers are plain text");
        self.headers.push((HeaderName::from_static(name), value));
        self
    }
}

/// What a stand-in puts behind the server.
pub(crate) trait Site: Send + Sync + 'static {
    fn troubles(&self) -> &Troubles;

    /// Where whoever plays with the system sees what became of it.
    const SHOWN_AT: &'static str;

    /// What is seen there, for people.
    fn shown(&self) -> Value;

    /// A request came. It is kept if `kept`.
    fn arrived(&self, request: &Recorded, kept: bool);

    /// Carries a request out.
    fn answer(&self, request: &Recorded) -> impl Future<Output = Answer> + Send;

    /// A request is answered, or else its caller was gone first.
    fn left(&self, answered: bool);
}

/// Serves a site over HTTP/1.1.
pub(crate) async fn serve(site: Arc<impl Site>, bind: &str) -> Result<Running> {
    let kept = Arc::new(Kept::default());
    listen(bind, "http", move |stream, hang_up| connection(site.clone(), kept.clone(), stream, hang_up)).await
}

/// How much of what came is kept.
#[derive(Default)]
struct Kept {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl Kept {
    fn has_room_for(&self, request: &Recorded) -> bool {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(request.body.len() + request.target.len(), Ordering::Relaxed);
        requests < REQUESTS_MAX && bytes < REQUESTS_BYTES_MAX
    }
}

async fn connection(site: Arc<impl Site>, kept: Arc<Kept>, stream: TcpStream, hang_up: CancellationToken) {
    let reset = CancellationToken::new();
    let service = {
        let reset = reset.clone();
        service_fn(move |request| {
            let visit = respond(site.clone(), kept.clone(), request, reset.clone());
            Box::pin(async move { Ok::<_, Infallible>(visit.await) })
        })
    };
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = &mut connection => if let Err(error) = served {
            tracing::debug!(%error, "a connection broke");
        },
        () = hang_up.cancelled() => {}
        () = reset.cancelled() => {
            // Fails only where the connection has ended already.
            let _ = connection.into_parts().io.into_inner().set_zero_linger();
        }
    }
}

/// A request under way. Its end is told even when its connection goes first.
struct Visit<S: Site> {
    site: Arc<S>,
    answered: bool,
}

impl<S: Site> Visit<S> {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl<S: Site> Drop for Visit<S> {
    fn drop(&mut self) {
        self.site.left(self.answered);
    }
}

/// The answer to a request that is not for the system but for whoever plays with it.
fn control<S: Site>(site: &S, request: &Recorded) -> Option<Answer> {
    match (request.method.as_str(), request.path()) {
        ("GET", path) if path == S::SHOWN_AT => Some(Answer::json(StatusCode::OK, &site.shown())),
        ("POST", "/__trouble") => Some(match Trouble::parse(&request.body) {
            Ok(trouble) => {
                site.troubles().set(trouble);
                Answer::text(StatusCode::OK, format!("{trouble:?}\n"))
            }
            Err(error) => Answer::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        }),
        _ => None,
    }
}

async fn respond<S: Site>(
    site: Arc<S>,
    kept: Arc<Kept>,
    request: Request<Incoming>,
    reset: CancellationToken,
) -> Response<Body> {
    let request = match read(request).await {
        Ok(request) => request,
        Err(refused) => return response(refused),
    };
    if let Some(answer) = control(&*site, &request) {
        return response(answer);
    }
    let Trouble { delay, kind, next: _ } = site.troubles().take();
    site.arrived(&request, kept.has_room_for(&request));
    let visit = Visit { site: site.clone(), answered: false };
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    if let Some(TroubleKind::Status(status)) = kind {
        visit.answered();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return response(Answer::text(status, format!("{status}\n")));
    }
    let answer = site.answer(&request).await;
    let Some(kind) = kind else {
        visit.answered();
        return response(answer);
    };
    spoilt(kind, answer, visit, reset).await
}

async fn read(request: Request<Incoming>) -> Result<Recorded, Answer> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_BYTES_MAX)
        .collect()
        .await
        .map_err(|_| Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n"))?
        .to_bytes();
    let value = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let request = Recorded {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head.headers.iter().map(|(name, text)| (name.to_string(), value(text))).collect(),
        body,
    };
    witness::came("an HTTP server", format!("{} {:?}", request.target, request.headers).as_bytes());
    witness::came("an HTTP server", &request.body);
    Ok(request)
}

fn response(Answer { status, headers, body }: Answer) -> Response<Body> {
    with_head(status, headers, body::whole(body))
}

fn with_head(status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response
}

async fn spoilt<S: Site>(
    kind: TroubleKind,
    answer: Answer,
    visit: Visit<S>,
    reset: CancellationToken,
) -> Response<Body> {
    let Answer { status, mut headers, body } = answer;
    let (status, body) = match kind {
        TroubleKind::ResetBeforeAnswer => {
            visit.answered();
            reset.cancel();
            return std::future::pending().await;
        }
        TroubleKind::Garbage => {
            visit.answered();
            (StatusCode::OK, body::garbage())
        }
        TroubleKind::Endless => (StatusCode::OK, body::endless(visit)),
        TroubleKind::ResetAfterHead | TroubleKind::StopAfterHead | TroubleKind::Trickle => {
            headers.push((CONTENT_LENGTH, HeaderValue::from(body.len())));
            let body = match kind {
                TroubleKind::Trickle => body::trickle(body, visit),
                TroubleKind::ResetAfterHead => body::reset(reset, visit),
                _ => body::silent(visit),
            };
            (status, body)
        }
        TroubleKind::Status(_) => unreachable!("answered before the request was carried out"),
    };
    with_head(status, headers, body)
}

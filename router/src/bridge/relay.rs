//! One message of the client: to the router, and what comes back.

use std::sync::{Arc, atomic::AtomicBool};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Bridge,
    failure::{Failure, Refusal, attributed},
    flight::Flight,
    headers,
    message::{Heard, HeardKind, Id, Kind, Message},
    session::session_id,
    stream::{Limits, Stream, collect, is_event_stream, media_type},
    subscription::Subscription,
};

/// More than any error answer needs.
const REFUSAL_BYTES_MAX: usize = 1024 * 1024;
/// Times in a row that a broken stream is taken up again without a message coming.
const RESUMPTIONS_MAX: u32 = 5;
/// The error of a server that misses a header or reads another value in it (MCP 2026-07-28, "Server Validation").
const HEADER_MISMATCH: i64 = -32_020;

/// What came of one attempt.
enum Outcome {
    /// The client has its answer. The stream may have an end that is worth reading.
    Answered(Option<Stream>),
    /// The connection broke, or a gateway found no router, and asking again does no harm.
    Broken(Failure),
    /// The server misses headers that a current list of tools would name. The line is its answer.
    HeadersMissing(Bytes),
}

/// What is expected of the stream of one request.
struct Expected<'a> {
    message: &'a Message,
    flight: &'a Flight,
    /// Those who have no answer yet.
    ids: &'a mut Vec<Id>,
    session_id: Option<HeaderValue>,
}

impl Bridge {
    /// Relays a request, or a batch, and writes the answer. `turn` comes when the handshake messages before it are done. Returns what
    /// is left of the answer's stream.
    pub(super) async fn relay_request(
        &self,
        message: Message,
        flight: Arc<Flight>,
        turn: CancellationToken,
    ) -> Option<Stream> {
        let _landing = self.flights.land(Arc::clone(&flight));
        let exchange = async {
            turn.cancelled().await;
            let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
            let mut waiting = flight.ids.clone();
            match self.exchange(&message, &flight, &mut waiting).await {
                Ok(rest) => rest,
                Err(failure) => {
                    self.answer_with(&flight, &waiting, &failure).await;
                    None
                }
            }
        };
        let signs_of_life = async {
            match &flight.patience {
                Some(patience) => {
                    match patience.keep_alive(self.settings.keepalive_every, |line| self.write(&flight, line)).await {}
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = flight.stopped() => None,
            rest = exchange => rest,
            () = signs_of_life => None,
        }
    }

    /// Relays a notification or a response. Nobody waits for an answer, so a failure is only logged. It takes no slot: requests that hold
    /// all of them may be waiting for just this message, an answer or a cancellation.
    pub(super) async fn relay_one_way(&self, message: &Message) -> Option<Stream> {
        let is_opening =
            matches!(&message.kind, Kind::Notification { method, .. } if method == "notifications/initialized");
        let mut renewed = false;
        loop {
            let (headers, generation) = self.headers(message);
            let posted = self.wire.post(headers, message.bytes.clone(), is_opening, &AtomicBool::new(false)).await;
            let response = match posted {
                Ok(response) => response,
                Err(failure) => return self.note_loss(&failure),
            };
            let status = response.status();
            if let (StatusCode::NOT_FOUND, Some(stale), false, false) =
                (status, generation, renewed, is_answer(message))
            {
                renewed = true;
                match self.renew(stale).await {
                    Ok(()) => continue,
                    Err(failure) => return self.note_loss(&failure),
                }
            }
            if !status.is_success() {
                tracing::warn!(%status, "the router did not accept a notification or response");
            } else if is_opening {
                self.session.open(message.bytes.clone());
            }
            return Some(Stream::new(response, self.wire.limits()));
        }
    }

    fn note_loss(&self, failure: &Failure) -> Option<Stream> {
        tracing::warn!("a notification is lost: {}", failure.text(&self.wire.names));
        None
    }

    /// Renews a session that the router has forgotten, and tells the client what may have changed with it.
    pub(super) async fn renew(&self, stale: u64) -> Result<(), Failure> {
        if self.session.renew(&self.wire, stale).await? {
            self.output.line(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).await;
        }
        Ok(())
    }

    /// The headers of a message, and the generation of the session that they name.
    fn headers(&self, message: &Message) -> (HeaderMap, Option<u64>) {
        match (&message.modern, &message.kind) {
            (Some(version), Kind::Request(request)) if request.method == "tools/call" => {
                let params = request.subject.as_ref().map(|tool| self.annotations.of(tool)).unwrap_or_default();
                (headers::modern(message, version, &params), None)
            }
            (Some(version), _) => (headers::modern(message, version, &[]), None),
            // A new handshake belongs to no session.
            (None, Kind::Request(request)) if request.method == "initialize" => (HeaderMap::new(), None),
            (None, _) => self.session.headers(),
        }
    }

    /// Sends a request, as often as it takes and does no harm, until the client has its answer.
    async fn exchange(
        &self,
        message: &Message,
        flight: &Flight,
        waiting: &mut Vec<Id>,
    ) -> Result<Option<Stream>, Failure> {
        let (mut renewed, mut relearned, mut broken_since) = (false, false, None);
        let mut delays = self.wire.delays();
        let mut subscription = flight.is_listen().then(Subscription::default);
        loop {
            let (headers, generation) = self.headers(message);
            let posted = self.wire.post(headers, message.bytes.clone(), is_harmless(message), &flight.sent).await;
            let response = match (posted, &subscription) {
                // Once a subscription was open, the client relies on it: it comes back whenever the router does.
                (Err(Failure::Unreachable { .. }), Some(subscription)) if subscription.is_lasting() => {
                    tokio::time::sleep(delays.next()).await;
                    continue;
                }
                (posted, _) => posted?,
            };
            if let (StatusCode::NOT_FOUND, Some(stale), false) = (response.status(), generation, renewed) {
                renewed = true;
                self.renew(stale).await?;
                continue;
            }
            let mut expected = Expected { message, flight, ids: waiting, session_id: session_id(&response) };
            let outcome = if response.status().is_success() {
                self.hear(response, &mut expected, subscription.as_mut()).await?
            } else {
                self.hear_refusal(response, &expected).await?
            };
            match outcome {
                Outcome::Answered(stream) => return Ok(stream),
                Outcome::Broken(failure) => {
                    let broken_for = broken_since.get_or_insert_with(Instant::now).elapsed();
                    let delay = delays.next();
                    let is_lasting = subscription.as_mut().is_some_and(Subscription::lose);
                    if !is_lasting && broken_for + delay > self.settings.retry_for {
                        return Err(failure);
                    }
                    tokio::time::sleep(delay).await;
                }
                Outcome::HeadersMissing(line) => {
                    if std::mem::replace(&mut relearned, true) || !self.relearn(message).await {
                        self.write(flight, line).await;
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Reads the messages of an answer with a status of success.
    async fn hear(
        &self,
        response: Response<Incoming>,
        expected: &mut Expected<'_>,
        mut subscription: Option<&mut Subscription>,
    ) -> Result<Outcome, Failure> {
        let (status, media) = (response.status(), media_type(&response).to_ascii_lowercase());
        if !matches!(media.as_str(), "" | "application/json" | "text/event-stream") {
            return Err(Failure::Unusable { reason: format!("the content type {media}") });
        }
        let limits = if subscription.is_some() { self.wire.stream_limits() } else { self.wire.limits() };
        let is_stream = is_event_stream(&response);
        let mut stream = Stream::new(response, limits);
        let mut resume_from: Option<String> = None;
        let (mut fruitless, mut heard_any) = (0, false);
        loop {
            let broken = match stream.next().await {
                Ok(Some(bytes)) => {
                    (fruitless, heard_any) = (0, true);
                    if self.pass_on(bytes, expected, subscription.as_deref_mut()).await? {
                        return Ok(Outcome::Answered(Some(stream)));
                    }
                    continue;
                }
                Ok(None) if !is_stream && expected.ids.is_empty() => return Ok(Outcome::Answered(None)),
                Ok(None) if !is_stream => {
                    return Err(Failure::Unusable { reason: format!("HTTP {status} without an answer") });
                }
                Ok(None) => Failure::Lost { reason: "the stream ended".into() },
                Err(failure @ Failure::Lost { .. }) => failure,
                Err(failure) => return Err(failure),
            };
            resume_from = stream.last_event_id().map(str::to_owned).or(resume_from);
            let resumed = match &resume_from {
                Some(id) if expected.message.modern.is_none() && fruitless < RESUMPTIONS_MAX => {
                    self.resume(id, &stream).await
                }
                _ => None,
            };
            match resumed {
                Some(response) => stream = Stream::new(response, limits),
                None if subscription.is_some() || (is_harmless(expected.message) && !heard_any) => {
                    return Ok(Outcome::Broken(broken));
                }
                None => return Err(broken),
            }
            fruitless += 1;
        }
    }

    /// Takes a broken stream up again where it was lost (MCP 2025-11-25, basic/transports, "Resumability and Redelivery").
    async fn resume(&self, last_event_id: &str, broken: &Stream) -> Option<Response<Incoming>> {
        let wait = broken.retry().unwrap_or(self.settings.retry_first).min(self.settings.retry_for);
        tokio::time::sleep(wait).await;
        let response = self.wire.get(self.session.headers().0, Some(last_event_id)).await.ok()?;
        (response.status().is_success() && is_event_stream(&response)).then_some(response)
    }

    /// Writes one message of an answer. True when everybody has been answered.
    async fn pass_on(
        &self,
        bytes: Bytes,
        expected: &mut Expected<'_>,
        subscription: Option<&mut Subscription>,
    ) -> Result<bool, Failure> {
        let heard = Heard::parse(bytes)
            .ok_or_else(|| Failure::Unusable { reason: "text that is no JSON-RPC message".into() })?;
        let flight = expected.flight;
        if let Some(patience) = &flight.patience {
            patience.heard(Instant::now());
        }
        match &heard.kind {
            HeardKind::Progress { token, progress, total } => {
                if self.flights.admit_progress(token, *progress, *total) {
                    self.write(flight, heard.line).await;
                }
            }
            HeardKind::Other { .. } => match subscription.and_then(|subscription| subscription.replaces(&heard)) {
                Some(lines) => {
                    for line in lines {
                        self.write(flight, line).await;
                    }
                }
                None => self.write(flight, heard.line).await,
            },
            HeardKind::Response { id: Some(id), .. } if expected.ids.contains(id) => {
                expected.ids.retain(|other| other != id);
                let line = self.learn_from(&heard, expected);
                self.write(flight, line.unwrap_or(heard.line)).await;
            }
            HeardKind::Response { id: None, .. } if expected.ids.len() == 1 => {
                let id = expected.ids.remove(0);
                self.write(flight, attributed(&id, heard.member("error").unwrap_or("{}"))).await;
            }
            HeardKind::Response { id, .. } => {
                tracing::warn!(?id, "the router answered a request that was not asked on this stream; left out");
            }
            HeardKind::Batch(ids) => {
                expected.ids.retain(|id| !ids.contains(id));
                self.write(flight, heard.line).await;
            }
        }
        Ok(expected.ids.is_empty())
    }

    /// Looks into the answers that the bridge itself needs. Returns a line when the answer must be changed.
    fn learn_from(&self, heard: &Heard, expected: &Expected<'_>) -> Option<Bytes> {
        if matches!(heard.kind, HeardKind::Response { code: Some(_), .. }) {
            return None;
        }
        match (&expected.message.modern, expected.flight.method.as_str()) {
            (None, "initialize") => {
                self.session.begin(expected.message.bytes.clone(), expected.session_id.clone(), heard);
                None
            }
            (Some(_), "tools/list") => self.annotations.learn(heard, expected.message.param("cursor").is_none()),
            _ => None,
        }
    }

    /// Reads an answer with a status of failure: the error in it when there is one, else what the status says.
    async fn hear_refusal(&self, response: Response<Incoming>, expected: &Expected<'_>) -> Result<Outcome, Failure> {
        let (parts, mut body) = response.into_parts();
        let limits = Limits { bytes_max: REFUSAL_BYTES_MAX, ..self.wire.limits() };
        // A body that breaks off has nothing to say; the status remains.
        let text = collect(&mut body, limits).await.unwrap_or_default();
        let refusal = Refusal::new(parts.status, &parts.headers, &text, expected.message.bytes.len());
        let by_status = Failure::Status(Box::new(refusal));
        if matches!(
            parts.status,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        ) && is_harmless(expected.message)
        {
            return Ok(Outcome::Broken(by_status));
        }
        let [own_id] = expected.ids.as_slice() else { return Err(by_status) };
        let Some(heard) = Heard::parse(text) else { return Err(by_status) };
        let (line, code) = match &heard.kind {
            HeardKind::Response { id: Some(id), code: Some(code) } if id == own_id => (heard.line, *code),
            HeardKind::Response { id: None, code: Some(code) } => {
                (attributed(own_id, heard.member("error").unwrap_or("{}")), *code)
            }
            _ => return Err(by_status),
        };
        if code == HEADER_MISMATCH && expected.message.modern.is_some() && expected.flight.method == "tools/call" {
            return Ok(Outcome::HeadersMissing(line));
        }
        self.write(expected.flight, line).await;
        Ok(Outcome::Answered(None))
    }

    /// Answers all who wait with what went wrong.
    async fn answer_with(&self, flight: &Flight, waiting: &[Id], failure: &Failure) {
        tracing::warn!("{}", failure.text(&self.wire.names));
        for id in waiting {
            self.write(flight, failure.answer(id, &self.wire.names)).await;
        }
    }

    /// Writes a message for a request, unless the client no longer wants one.
    async fn write(&self, flight: &Flight, line: impl Into<Bytes>) {
        if !flight.is_silent() {
            self.output.line(line).await;
        }
    }
}

fn is_answer(message: &Message) -> bool {
    matches!(message.kind, Kind::Response)
}

/// Whether a message may reach the router twice: by the protocol it changes nothing. Of tools the bridge knows no effects.
fn is_harmless(message: &Message) -> bool {
    let Kind::Request(request) = &message.kind else { return false };
    matches!(
        request.method.as_str(),
        "initialize"
            | "ping"
            | "server/discover"
            | "tools/list"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "prompts/list"
            | "prompts/get"
            | "completion/complete"
            | "logging/setLevel"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "subscriptions/listen"
            | "tasks/get"
    )
}

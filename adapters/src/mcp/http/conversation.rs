//! What a server says in answer to one request: a JSON text, or events that end with the answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::{
        answer::{self, Belonging, Incoming, Outcome},
        peer, request,
    },
    trouble::Trouble,
    wire::{Ask, Spoken, Wire, is_json, is_stream},
};
use crate::{
    CallContext, Deadline, ErrorClass, Notice, Sent,
    http::{Answer, HttpError},
    json,
    reconnect::Delays,
    sse::Parser,
};

/// How many messages without meaning a server may send before the answer is given up.
const GARBAGE_MAX: u32 = 32;
/// The longest id of a server's question that is answered.
const QUESTION_ID_BYTES_MAX: usize = 256;
/// How often one stream is taken up again without anything new on it.
const RESUMED_MAX: u32 = 8;
/// The shortest wait before that.
const RESUME_AFTER: Duration = Duration::from_millis(50);
/// How long, and how much, is read after the answer so that the connection can be used again.
const REST: Duration = Duration::from_millis(250);
const REST_BYTES_MAX: usize = 64 << 10;

/// One request and what is said in answer to it.
pub(super) struct Conversation<'a> {
    wire: &'a Arc<Wire>,
    spoken: &'a Spoken,
    id: u64,
    call: Option<&'a CallContext>,
    /// The last progress that was handed up: it only rises.
    progress: Option<f64>,
    garbage: u32,
}

/// How a stream ended without the answer.
struct Broken {
    error: Option<HttpError>,
    /// Where it can be taken up again.
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(wire: &'a Arc<Wire>, spoken: &'a Spoken, ask: &Ask<'a>) -> Self {
        Self { wire, spoken, id: ask.id, call: ask.call, progress: None, garbage: 0 }
    }

    /// Reads until the answer is there.
    pub(super) async fn read(mut self, answer: Answer, limit: Deadline) -> Result<peer::Answer, Trouble> {
        let (status, headers) = (answer.head.status, &answer.head.headers);
        let plain = Trouble::status(status, headers);
        if status == http::StatusCode::NOT_FOUND && self.spoken.session.is_some() {
            return Err(Trouble::SessionLost);
        }
        if matches!(status.as_u16(), 202 | 204 | 401 | 403) || status.is_redirection() {
            return Err(plain);
        }
        if is_json(headers) {
            let body = answer.body(self.wire.message_bytes_max, limit).await.map_err(|error| self.cut(error))?;
            if status == http::StatusCode::BAD_REQUEST && self.spoken.session.is_some() && self.is_about_session(&body)
            {
                return Err(Trouble::SessionLost);
            }
            return self.whole(&body, status.is_success()).ok_or(plain);
        }
        if status.is_success() && is_stream(headers) {
            return self.events(answer, limit).await;
        }
        Err(if status.is_success() { Trouble::Protocol("its answer is neither JSON nor events".into()) } else { plain })
    }

    /// Whether a refusal is about the session and not about the request. Many servers that were started anew say so, with HTTP 400
    /// and an error of no request where 2025-11-25 ("Session Management") has 404.
    fn is_about_session(&self, body: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(body) else { return false };
        let ours = matches!(answer::read(text), Incoming::Answer { id, .. } if id.parse() == Ok(self.id));
        let error = json::Object::parse(text).and_then(|message| json::Object::parse(message.get("error")?));
        let told = error.and_then(|error| json::unquote(error.get("message")?)).unwrap_or_default().to_lowercase();
        !ours && (told.contains("session") || told.contains("not initialized"))
    }

    /// The answer in a body of JSON. `None` when it is the business of the status alone.
    fn whole(&mut self, body: &Bytes, success: bool) -> Option<peer::Answer> {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let heard = match answer::read(text) {
            // What comes in answer to one request is about that request, also where the server could not make out its id.
            Incoming::Complaint => {
                let error = json::Object::parse(text)?.get("error")?;
                return Some(peer::Answer::Error(body.slice_ref(error.as_bytes())));
            }
            _ => self.heard(body).ok().flatten(),
        };
        heard.or(success.then_some(peer::Answer::Malformed))
    }

    /// The answer at the end of a stream, which is taken up again where it breaks and the server lets us.
    async fn events(&mut self, mut answer: Answer, limit: Deadline) -> Result<peer::Answer, Trouble> {
        let mut last_id = None;
        let mut delays = Delays::default();
        let mut resumed = 0;
        loop {
            let broken = match self.stream(&mut answer, limit).await? {
                Ok(found) => {
                    finish(answer);
                    return Ok(found);
                }
                Err(broken) => broken,
            };
            drop(answer);
            resumed = if broken.last_id.is_some() { 1 } else { resumed + 1 };
            last_id = broken.last_id.or(last_id);
            let lost = || {
                let told = "its stream of events ended without the answer";
                broken.error.clone().unwrap_or_else(|| HttpError::lost(told))
            };
            // MCP 2026-07-28, "Receiving Messages": streams of the modern era are not taken up again.
            let Some(after) = last_id.as_deref().filter(|_| !self.spoken.modern && resumed <= RESUMED_MAX) else {
                return Err(lost().into());
            };
            let wait = broken.retry.map_or_else(|| delays.next(), |asked| asked.max(RESUME_AFTER));
            tokio::time::sleep_until(limit.at().min(Instant::now() + wait)).await;
            if limit.remaining().is_zero() {
                return Err(HttpError::late(Sent::Unknown).into());
            }
            answer = match self.wire.resume(self.spoken, after, limit).await {
                Ok(answer) => answer,
                Err(trouble) => {
                    tracing::debug!(downstream = %self.wire.downstream, ?trouble, "a stream could not be taken up again");
                    return Err(lost().into());
                }
            };
        }
    }

    async fn stream(&mut self, answer: &mut Answer, limit: Deadline) -> Result<Result<peer::Answer, Broken>, Trouble> {
        let mut parser = Parser::new(self.wire.message_bytes_max);
        loop {
            while let Some(event) = parser.next() {
                if let Some(found) = self.heard(&event)? {
                    return Ok(Ok(found));
                }
            }
            let error = match answer.chunk(limit).await {
                Ok(Some(piece)) => {
                    parser.push(&piece).map_err(|_| Trouble::TooLarge(self.wire.message_bytes_max))?;
                    continue;
                }
                Ok(None) => None,
                Err(error) if error.class == ErrorClass::ConnectionLost => Some(error),
                Err(error) => return Err(error.into()),
            };
            let last_id = parser.last_id().map(str::to_owned);
            return Ok(Err(Broken { error, last_id, retry: parser.retry() }));
        }
    }

    /// One message; `Some` when it is the answer.
    fn heard(&mut self, frame: &Bytes) -> Result<Option<peer::Answer>, Trouble> {
        let Ok(text) = std::str::from_utf8(frame) else { return self.put_up_with_garbage() };
        match answer::read(text) {
            Incoming::Batch(messages) if !self.spoken.modern => {
                let mut found = None;
                for message in messages {
                    found = self.message(frame, answer::read(message))?.or(found);
                }
                Ok(found)
            }
            message => self.message(frame, message),
        }
    }

    fn message(&mut self, frame: &Bytes, message: Incoming<'_>) -> Result<Option<peer::Answer>, Trouble> {
        match message {
            Incoming::Answer { id, outcome } if id.parse() == Ok(self.id) => {
                return Ok(Some(match outcome {
                    Outcome::Result(text) => peer::Answer::Result(frame.slice_ref(text.as_bytes())),
                    Outcome::Error(text) => peer::Answer::Error(frame.slice_ref(text.as_bytes())),
                    Outcome::Malformed => peer::Answer::Malformed,
                }));
            }
            Incoming::Answer { .. } | Incoming::Complaint => {
                tracing::debug!(downstream = %self.wire.downstream, "an answer to another request was dropped");
                return self.put_up_with_garbage();
            }
            Incoming::Question { id, method } => answer_question(self.wire, self.spoken, id, &method),
            Incoming::Notification { method, params } => self.notified(frame, &method, params),
            Incoming::Batch(_) | Incoming::Garbage => return self.put_up_with_garbage(),
        }
        Ok(None)
    }

    fn notified(&mut self, frame: &Bytes, method: &str, params: Option<&str>) {
        let slice = |params: &str| frame.slice_ref(params.as_bytes());
        match (method, params, self.call) {
            ("notifications/progress", Some(params), Some(call)) => {
                let belonging = Belonging::of(Some(params));
                let token = belonging.progress_token.and_then(|token| token.get().parse::<u64>().ok());
                let progress = belonging.progress.and_then(|progress| progress.as_f64());
                if token == Some(self.id)
                    && let Some(progress) = progress
                    && self.progress.is_none_or(|last| progress > last)
                {
                    self.progress = Some(progress);
                    call.notify(Notice::Progress(slice(params)));
                }
            }
            // Each request has a stream of its own, so this one is about the call.
            ("notifications/message", Some(params), Some(call)) => call.notify(Notice::Message(slice(params))),
            ("notifications/tools/list_changed", _, _) => self.wire.list_changed(),
            _ => tracing::trace!(downstream = %self.wire.downstream, "a notification without meaning to Weir"),
        }
    }

    fn put_up_with_garbage(&mut self) -> Result<Option<peer::Answer>, Trouble> {
        self.garbage += 1;
        if self.garbage < GARBAGE_MAX {
            return Ok(None);
        }
        Err(Trouble::Protocol("it keeps sending what is no message to this request".into()))
    }

    fn cut(&self, error: HttpError) -> Trouble {
        match error.class {
            ErrorClass::TooLarge => Trouble::TooLarge(self.wire.message_bytes_max),
            _ => error.into(),
        }
    }
}

/// Only the legacy era knows questions of the server, and Weir offers to answer none but `ping`.
pub(super) fn answer_question(wire: &Arc<Wire>, spoken: &Spoken, id: &str, method: &str) {
    if spoken.modern || id.len() > QUESTION_ID_BYTES_MAX {
        tracing::debug!(downstream = %wire.downstream, "a question of the server was left unanswered");
    } else if method == "ping" {
        wire.say(spoken, request::pong(id), ());
    } else {
        wire.say(spoken, request::not_offered(id), ());
    }
}

/// Reads what little comes after the answer, so that the connection serves the next call.
fn finish(mut answer: Answer) {
    tokio::spawn(async move {
        let limit = Deadline::after(REST);
        let mut bytes = 0;
        while let Ok(Some(piece)) = answer.chunk(limit).await {
            bytes += piece.len();
            if bytes > REST_BYTES_MAX {
                return;
            }
        }
    });
}

//! One `tools/call` on the wire: an answer as JSON, unless a notification has to travel first or the wait grows long; then as a stream.

use std::time::Duration;

use adapters::{
    Notice,
    json::{self, Change, Object},
};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

use super::{
    Post, Version,
    answer::{self, RpcError, Wire, envelope},
    empty_response, json_response,
    message::{Message, text_of},
    meta::{DEADLINE, IDEMPOTENCY_KEY, Meta},
    provenance::cleaned_text,
    session::Session,
};
use crate::{
    audit::{self, Origin},
    call::{Control, Ended, Patience, RunningCall, ToolCall},
    operations::IdempotencyKey,
    server::Body,
};

/// After this long without a sign of life a comment is sent, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many notices of one call wait for a caller that reads slowly; beyond it they are lost.
const NOTICES_MAX: usize = 64;
/// How many events wait for a caller that reads slowly.
const EVENTS_MAX: usize = 256;
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// The parts of an exchange that its era decides.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: Bytes,
    pub(super) version: Version,
    pub(super) session: Option<Session>,
}

/// Answers `tools/call`.
pub(super) async fn call_tool(post: &Post<'_>, message: &Message, exchange: Exchange) -> Response<Body> {
    let mut pending = match Pending::start(post, message, exchange, post.takes_events) {
        Ok(pending) => pending,
        Err((id, error)) => return json_response(StatusCode::OK, envelope(&id, &error.wire())),
    };
    if !post.takes_events {
        let wire = pending.answer().await;
        return whole(pending, &wire);
    }
    match pending.next().await {
        Step::Answer(wire) => pending.close(&wire),
        Step::Notice(event) => pending.stream(post, event),
        Step::Quiet => pending.stream(post, COMMENT),
    }
}

/// Answers one `tools/call` of a batch.
pub(super) async fn call_in_batch(post: &Post<'_>, message: &Message, exchange: Exchange) -> Vec<Bytes> {
    match Pending::start(post, message, exchange, false) {
        Ok(mut pending) => {
            let wire = pending.answer().await;
            envelope(&pending.id, &wire)
        }
        Err((id, error)) => envelope(&id, &error.wire()),
    }
}

/// A call that runs, and what its caller is to hear of it.
struct Pending {
    id: Bytes,
    version: Version,
    request_id: Uuid,
    running: RunningCall,
    notices: Option<mpsc::Receiver<Notice>>,
    /// The caller's own progress token, as it stands.
    token: Option<String>,
    /// The progress that the caller heard of last.
    progress: f64,
    /// What limits say in the head of the answer, once there is one.
    head: HeaderMap,
}

/// What happens next.
enum Step {
    Answer(Wire),
    Notice(Bytes),
    /// Nothing did for a while.
    Quiet,
}

impl Pending {
    fn start(
        post: &Post<'_>,
        message: &Message,
        exchange: Exchange,
        wants_notices: bool,
    ) -> Result<Self, (Bytes, RpcError)> {
        let Exchange { id, version, session } = exchange;
        let params = Object::parse(message.params_text());
        let name = params.as_ref().and_then(|params| params.get("name")).and_then(json::unquote);
        let (Some(params), Some(name), Some(bytes)) = (&params, name, &message.params) else {
            return Err((id, RpcError::invalid_params("`tools/call` needs the `name` of a tool")));
        };
        let arguments = match params.get("arguments") {
            None => None,
            Some(arguments) if arguments.starts_with('{') => Some(bytes.slice_ref(arguments.as_bytes())),
            Some(_) => return Err((id, RpcError::invalid_params("`arguments` must be an object"))),
        };
        let meta = Meta::of(params);
        let named = meta.get(IDEMPOTENCY_KEY).map(json::unquote);
        let named = named.as_ref().map(|named| ("`_meta[\"weir/idempotency_key\"]`", named.as_deref()));
        let key = match IdempotencyKey::of_request(&post.parts.headers, named) {
            Ok(key) => key,
            Err(wrong) => return Err((id, RpcError::invalid_params(&format!("{wrong}. Nothing was sent.")))),
        };
        let said = meta.get(DEADLINE);
        let patience = said.and_then(Patience::parse);
        if said.is_some() && patience.is_none() {
            return Err((id, RpcError::invalid_params(&format!("`_meta[\"{DEADLINE}\"]` is {}", Patience::FORM))));
        }
        let token = meta.progress_token().filter(|_| wants_notices).map(str::to_owned);
        let (sender, notices) = token.as_ref().map(|_| mpsc::channel(NOTICES_MAX)).unzip();
        let control = Control::default();
        let registration =
            session.as_ref().map(|session| post.router.sessions.register(session, text_of(Some(&id)), &control));
        let client =
            session.as_ref().and_then(|session| session.client.clone()).or_else(|| meta.client().map(Into::into));
        let named = session.as_ref().map(|session| Uuid::from_bytes(session.nonce));
        let request_id = Uuid::now_v7();
        let call = ToolCall {
            request_id,
            caller: post.caller.clone(),
            view: post.view.clone(),
            name: name.into_owned(),
            params: bytes.clone(),
            arguments,
            patience,
            key,
            trace: meta.trace(&post.parts.headers),
            notices: sender,
            control,
            registration,
            origin: Origin {
                surface: "mcp",
                protocol: Some(version.as_str()),
                client,
                session: named,
                counts: audit::counts(post.parts),
            },
        };
        // MCP 2025-11-25, basic/transports: "Disconnection SHOULD NOT be interpreted as the client cancelling its request".
        let running = RunningCall::start(post.router, call, !version.is_modern());
        Ok(Self {
            id,
            version,
            request_id,
            running,
            notices,
            token,
            progress: f64::NEG_INFINITY,
            head: HeaderMap::new(),
        })
    }

    async fn answer(&mut self) -> Wire {
        let ended = (&mut self.running).await;
        self.wire(ended)
    }

    fn wire(&mut self, ended: Ended) -> Wire {
        self.head = self.running.limits().head(&ended);
        answer::of_call(ended.answer, self.version, self.request_id)
    }

    async fn next(&mut self) -> Step {
        tokio::select! {
            biased;
            Some(notice) = receive(&mut self.notices) => {
                Step::Notice(self.notification(&notice).map_or(COMMENT, |notification| event(&notification)))
            }
            ended = &mut self.running => Step::Answer(self.wire(ended)),
            () = tokio::time::sleep_until(Instant::now() + KEEP_ALIVE) => Step::Quiet,
        }
    }

    /// The rest of the exchange as events, after `first`. From here on the call has a task of its own: a caller that does not read holds up
    /// neither its deadline nor its end.
    fn stream(self, post: &Post<'_>, first: Bytes) -> Response<Body> {
        let (sender, mut receiver) = mpsc::channel(EVENTS_MAX);
        let patience = post.router.config.server.write_timeout.0;
        post.router.spawn(self.tell(sender, first, patience));
        events(stream::poll_fn(move |cx| receiver.poll_recv(cx)))
    }

    async fn tell(mut self, events: mpsc::Sender<Bytes>, first: Bytes, patience: Duration) {
        let _ = events.try_send(first);
        loop {
            let step = tokio::select! {
                // The caller is gone. What becomes of its call is settled when the call is dropped here.
                () = events.closed() => return,
                step = self.next() => step,
            };
            // Notices and signs of life are hints: a caller that reads too slowly loses them, never its answer.
            match step {
                Step::Notice(event) => drop(events.try_send(event)),
                Step::Quiet => drop(events.try_send(COMMENT)),
                Step::Answer(wire) => {
                    if let Some(last) = self.last_events(&wire) {
                        let _ = tokio::time::timeout(patience, events.send(last)).await;
                    }
                    return;
                }
            }
        }
    }

    /// The whole answer, when nothing had to travel before it.
    fn close(mut self, wire: &Wire) -> Response<Body> {
        if !matches!(wire, Wire::Silent) && self.notices.as_ref().is_none_or(mpsc::Receiver::is_empty) {
            return whole(self, wire);
        }
        let mut response = events(stream::iter(self.last_events(wire)));
        response.headers_mut().extend(self.head);
        response
    }

    /// What the downstream told before it answered, then the answer; nothing when the caller wants none.
    fn last_events(&mut self, wire: &Wire) -> Option<Bytes> {
        if matches!(wire, Wire::Silent) {
            return None;
        }
        let mut last = BytesMut::new();
        while let Some(Ok(notice)) = self.notices.as_mut().map(mpsc::Receiver::try_recv) {
            if let Some(notification) = self.notification(&notice) {
                last.put(event(&notification));
            }
        }
        last.put(event(&envelope(&self.id, wire).concat()));
        Some(last.freeze())
    }

    /// A notice as a notification of our own, under the caller's token. Log messages are for callers that asked for a level, and Weir
    /// does not offer them to ask.
    fn notification(&mut self, notice: &Notice) -> Option<Vec<u8>> {
        let params = match notice {
            Notice::Progress(params) => text_of(Some(params)),
            Notice::Message(_) => return None,
        };
        // Progress must increase with each notification (MCP 2026-07-28, basic/utilities/progress). The wait in line comes before what the
        // downstream tells, and a second attempt begins at its start again.
        let progress =
            Object::parse(params)?.get("progress")?.parse().ok().filter(|progress| *progress > self.progress)?;
        self.progress = progress;
        let params = self.under_our_token(params);
        Some(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{params}}}").into_bytes())
    }

    fn under_our_token(&self, params: &str) -> String {
        let token = self.token.as_deref().unwrap_or("null");
        let cleaned = cleaned_text(params);
        let params = cleaned.as_deref().unwrap_or(params);
        let change =
            |key: &str, _: &str| if key == "progressToken" { Change::Replace(token.to_owned()) } else { Change::Keep };
        Object::parse(params).map_or_else(|| params.to_owned(), |params| params.rewrite(&[], change))
    }
}

/// The next notice; never ready where none can come.
async fn receive(notices: &mut Option<mpsc::Receiver<Notice>>) -> Option<Notice> {
    match notices {
        Some(notices) => notices.recv().await,
        None => None,
    }
}

fn whole(pending: Pending, wire: &Wire) -> Response<Body> {
    let status = match wire {
        Wire::Error(_, status) if pending.version.is_modern() || *status == StatusCode::FORBIDDEN => *status,
        // Cancelled, and the client takes no events: the exchange ends without a message.
        Wire::Silent => return empty_response(StatusCode::NO_CONTENT),
        _ => StatusCode::OK,
    };
    let mut response = json_response(status, envelope(&pending.id, wire));
    response.headers_mut().extend(pending.head);
    response
}

/// One message as an event. White space between tokens may hold line ends, which would end the line of data.
fn event(message: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(message.len() + 8);
    for line in message.split(|&byte| byte == b'\n' || byte == b'\r') {
        event.put_slice(b"data: ");
        event.put_slice(line);
        event.put_u8(b'\n');
    }
    event.put_u8(b'\n');
    event.freeze()
}

/// An answer as a stream of events.
pub(super) fn events(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let mut response = Response::new(Body::stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // MCP 2026-07-28, basic/transports/streamable-http, "Receiving Messages": proxies must not hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

//! Requests to one MCP endpoint over HTTP, and the answers to them (basic/transports, "Streamable HTTP", of both eras).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use config::{Sources, downstream::McpHttp};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header, uri::PathAndQuery};
use tokio::sync::{Semaphore, watch};

use super::{super::peer, conversation::Conversation, trouble::Trouble};
use crate::{
    BuildError, CallContext, Caller, Deadline,
    credential::Whose,
    http::{Answer, Care, HttpClient, HttpSettings, Limits, tell_time_left},
    registry::Shown,
};

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENTS: &str = "text/event-stream";
/// How long something that nobody waits for may take.
const ASIDE: Duration = Duration::from_secs(5);
/// How many of those may be under way at once. More are not sent.
const ASIDES_MAX: u32 = 64;
/// The longest silence on a stream of notices: it is there to be silent, and what is lost with it the next list brings.
const NOTICES_SILENCE: Duration = Duration::from_secs(300);
/// How much is read of an answer that should have no body.
const ACCEPTED_BYTES_MAX: usize = 64 << 10;

/// The way to one endpoint.
pub(super) struct Wire {
    pub(super) downstream: Arc<str>,
    pub(super) message_bytes_max: usize,
    /// Counts the server's notices that its tools changed.
    pub(super) list_changes: watch::Sender<u64>,
    /// Counts the times after which such a notice may have been missed.
    pub(super) list_gaps: watch::Sender<u64>,
    client: HttpClient,
    /// The one connection for notices, apart from those for calls; `None` where there may be but one in all.
    notices: Option<HttpClient>,
    path: PathAndQuery,
    next_id: AtomicU64,
    asides: Arc<Semaphore>,
}

/// What every request says of how, and in which session, it speaks.
#[derive(Debug, Clone, Default)]
pub(super) struct Spoken {
    pub(super) version: Option<&'static str>,
    pub(super) session: Option<HeaderValue>,
    pub(super) modern: bool,
    /// On whose behalf, where each caller is shown to the server to be itself; `None` for Weir.
    pub(super) caller: Option<Arc<Caller>>,
}

impl Spoken {
    fn whose(&self) -> Whose<'_> {
        self.caller.as_deref().map_or(Whose::Weir, Whose::Caller)
    }
}

/// One request.
pub(super) struct Ask<'a> {
    pub(super) id: u64,
    pub(super) method: &'static str,
    pub(super) text: String,
    /// Further headers.
    pub(super) headers: HeaderMap,
    /// The call, where it is one; its notices are handed up to it.
    pub(super) call: Option<&'a CallContext>,
    /// Whether it writes.
    pub(super) writes: bool,
}

impl Ask<'_> {
    /// One on Weir's own account.
    pub(super) fn own(id: u64, method: &'static str, text: String) -> Self {
        Self { id, method, text, headers: HeaderMap::new(), call: None, writes: false }
    }
}

/// An answer, and the session that came with it.
pub(super) struct Replied {
    pub(super) answer: peer::Answer,
    pub(super) session: Option<HeaderValue>,
}

impl Wire {
    /// Reads the settings.
    pub(super) fn new(
        downstream: Arc<str>,
        settings: &McpHttp,
        shown: Shown<'_>,
        sources: &Sources,
    ) -> Result<Self, BuildError> {
        // The path of the URL is that of every request, and may have a query.
        let uri: Option<Uri> = settings.url.parse().ok();
        let path = uri.as_ref().and_then(Uri::path_and_query).cloned();
        let origin = uri.as_ref().and_then(|uri| Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?)));
        let for_notices = usize::from(settings.connections_max > 1);
        let limits = Limits {
            connect_timeout: settings.connect_timeout.0,
            idle_timeout: settings.idle_timeout.0,
            connections_max: settings.connections_max - for_notices,
        };
        let http = HttpSettings {
            base_url: origin.as_deref().unwrap_or(&settings.url),
            url_key: "url",
            credentials: shown.credentials,
            trust: &shown.trust,
            limits,
        };
        let client = HttpClient::new(http, sources, shown.section)?;
        let for_one = Limits { idle_timeout: NOTICES_SILENCE, connections_max: 1, ..limits };
        Ok(Self {
            notices: (for_notices > 0).then(|| client.beside(for_one)),
            client,
            message_bytes_max: settings.message_bytes_max.bytes(),
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
            list_changes: watch::Sender::new(0),
            list_gaps: watch::Sender::new(0),
            next_id: AtomicU64::new(1),
            asides: Arc::new(Semaphore::new(ASIDES_MAX as usize)),
            downstream,
        })
    }

    /// The caller, where the server is told who calls.
    pub(super) fn told(&self, caller: &Arc<Caller>) -> Option<Arc<Caller>> {
        self.is_per_caller().then(|| Arc::clone(caller))
    }

    /// Whether each caller is shown to the server to be itself.
    pub(super) fn is_per_caller(&self) -> bool {
        self.client.is_per_caller()
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The list of tools is another one.
    pub(super) fn list_changed(&self) {
        self.list_changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        spoken: &Spoken,
        mut ask: Ask<'_>,
        limit: Deadline,
    ) -> Result<Replied, Trouble> {
        let mut headers = std::mem::take(&mut ask.headers);
        if spoken.modern {
            headers.insert(METHOD, HeaderValue::from_static(ask.method));
        }
        let mut request = self.post(spoken, headers, std::mem::take(&mut ask.text));
        if ask.call.is_some() {
            tell_time_left(request.headers_mut(), limit);
        }
        let care = ask.call.map_or(Care::Read, |ctx| Care::of(ctx, ask.writes));
        let answer = self.client.send(request, spoken.whose(), care, limit).await?;
        let session = answer.head.headers.get(SESSION_ID).cloned();
        let answer = Conversation::new(self, spoken, &ask).read(answer, limit).await?;
        Ok(Replied { answer, session })
    }

    /// Sends something that has no answer but "accepted".
    pub(super) async fn tell(&self, spoken: &Spoken, text: String, limit: Deadline) -> Result<(), Trouble> {
        let answer =
            self.client.send(self.post(spoken, HeaderMap::new(), text), spoken.whose(), Care::Read, limit).await?;
        let (status, headers) = (answer.head.status, answer.head.headers.clone());
        // Read for the sake of the connection alone.
        let _ = answer.body(ACCEPTED_BYTES_MAX, limit).await;
        if status == StatusCode::NOT_FOUND && spoken.session.is_some() {
            Err(Trouble::SessionLost)
        } else if status.is_success() {
            Ok(())
        } else {
            Err(Trouble::status(status, &headers))
        }
    }

    /// Sends something that nobody waits for, and keeps `meanwhile` until it is sent.
    pub(super) fn say(self: &Arc<Self>, spoken: &Spoken, text: String, meanwhile: impl Send + 'static) {
        let wire = Arc::clone(self);
        let spoken = spoken.clone();
        self.aside(async move {
            if let Err(trouble) = wire.tell(&spoken, text, Deadline::after(ASIDE)).await {
                tracing::debug!(downstream = %wire.downstream, ?trouble, "a notification was not taken");
            }
            drop(meanwhile);
        });
    }

    /// Ends a session that is no longer needed (2025-11-25, "Session Management"). A server may refuse that.
    pub(super) fn end_session(self: &Arc<Self>, spoken: Spoken) {
        let wire = Arc::clone(self);
        self.aside(async move {
            let request = wire.request(&spoken, Method::DELETE, HeaderMap::new(), Bytes::new());
            let limit = Deadline::after(ASIDE);
            if let Ok(answer) = wire.client.send(request, spoken.whose(), Care::Read, limit).await {
                let _ = answer.body(ACCEPTED_BYTES_MAX, limit).await;
            }
        });
    }

    fn aside(&self, doing: impl Future<Output = ()> + Send + 'static) {
        // Outside of a runtime the process is about to end.
        if let (Ok(place), Ok(runtime)) =
            (Arc::clone(&self.asides).try_acquire_owned(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move {
                doing.await;
                drop(place);
            });
        } else {
            tracing::debug!(downstream = %self.downstream, "a notification found no place and was dropped");
        }
    }

    /// Waits until everything is said that nobody waits for.
    pub(super) async fn said(&self) {
        let _ = self.asides.acquire_many(ASIDES_MAX).await;
    }

    /// Takes a stream of events up again after this event (2025-11-25, "Resumability and Redelivery").
    pub(super) async fn resume(&self, spoken: &Spoken, after: &str, limit: Deadline) -> Result<Answer, Trouble> {
        self.get(&self.client, spoken, Some(after), limit).await
    }

    /// Opens the stream of what a legacy server says unasked; `None` where Weir has no connection for it.
    pub(super) async fn listen(
        &self,
        spoken: &Spoken,
        after: Option<&str>,
        limit: Deadline,
    ) -> Option<Result<Answer, Trouble>> {
        Some(self.get(self.notices.as_ref()?, spoken, after, limit).await)
    }

    /// Opens the stream of the notices of a modern server with this request; `None` where Weir has no connection for it.
    pub(super) async fn subscribe(
        &self,
        spoken: &Spoken,
        text: String,
        limit: Deadline,
    ) -> Option<Result<Answer, Trouble>> {
        let headers = HeaderMap::from_iter([(METHOD, HeaderValue::from_static("subscriptions/listen"))]);
        let sent =
            self.notices.as_ref()?.send(self.post(spoken, headers, text), spoken.whose(), Care::Read, limit).await;
        Some(sent.map_err(Trouble::from))
    }

    async fn get(
        &self,
        client: &HttpClient,
        spoken: &Spoken,
        after: Option<&str>,
        limit: Deadline,
    ) -> Result<Answer, Trouble> {
        let after = after.and_then(|after| HeaderValue::from_str(after).ok());
        let headers: HeaderMap = after.into_iter().map(|after| (LAST_EVENT_ID, after)).collect();
        let mut request = self.request(spoken, Method::GET, headers, Bytes::new());
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(EVENTS));
        let answer = client.send(request, spoken.whose(), Care::Read, limit).await?;
        match answer.head.status {
            StatusCode::NOT_FOUND if spoken.session.is_some() => Err(Trouble::SessionLost),
            status if status.is_success() && is_stream(&answer.head.headers) => Ok(answer),
            status => Err(Trouble::status(status, &answer.head.headers)),
        }
    }

    fn post(&self, spoken: &Spoken, headers: HeaderMap, text: String) -> Request<Bytes> {
        let mut request = self.request(spoken, Method::POST, headers, text.into());
        let accepted = HeaderValue::from_static("application/json, text/event-stream");
        request.headers_mut().insert(header::ACCEPT, accepted);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    fn request(&self, spoken: &Spoken, method: Method, headers: HeaderMap, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = headers;
        if let Some(version) = spoken.version {
            request.headers_mut().insert(PROTOCOL_VERSION, HeaderValue::from_static(version));
        }
        if let Some(session) = &spoken.session {
            request.headers_mut().insert(SESSION_ID, session.clone());
        }
        request
    }
}

/// Whether the body is a stream of events.
pub(super) fn is_stream(headers: &HeaderMap) -> bool {
    is_of_type(headers, EVENTS)
}

/// Whether the body is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    is_of_type(headers, "application/json")
}

fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    stated.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

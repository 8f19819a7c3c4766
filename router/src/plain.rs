//! The plain JSON API: a caller's tools for programs that run their own tool loop. One request, one answer, no session.
//!
//! Nothing is decided here: the door, the credentials, the bounds of a body and the call itself are those of the MCP endpoint. What is
//! different is the form of a request and of its answer.

mod answer;
mod messages;
mod request;

use std::sync::Arc;

use adapters::Caller;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Router,
    audit::{self, Origin},
    call::{Control, RunningCall, ToolCall},
    front::{accepts, intake, problem, text_header, trace_of},
    policy::{Asker, NamedView},
    server::Body,
};

use request::CallRequest;

/// The longest name of a caller's program that is kept, in characters.
const CLIENT_CHARACTERS_MAX: usize = 100;

/// Answers `GET /v1/tools`: everything that the caller may see, in one list.
pub(crate) async fn tools(
    router: &Router,
    caller: &Arc<Caller>,
    named: Option<&NamedView>,
    query: Option<&str>,
) -> Response<Body> {
    let for_messages = match query {
        None | Some("" | "format=mcp") => false,
        Some("format=anthropic") => true,
        Some(_) => {
            let text = "/v1/tools takes `format` alone: `mcp` (or nothing) for MCP's definitions, `anthropic` for the `tools` \
                of the Messages API.";
            return problem(StatusCode::BAD_REQUEST, text);
        }
    };
    let view = router.catalog.settled_view().await;
    let rights = view.rights(&router.policy, caller, named);
    let list = view.list(&rights, &router.policy, Asker { caller, now: Timestamp::now() });
    let mut response = if for_messages {
        json(StatusCode::OK, [list.for_messages(messages::tool)])
    } else {
        json(StatusCode::OK, [Bytes::from_static(b"{\"tools\":["), list.definitions(), Bytes::from_static(b"]}")])
    };
    let holds_for = router.catalog.list_holds_for(&view, &rights, caller);
    let freshness = format!("private, max-age={}", holds_for.as_secs());
    let freshness = HeaderValue::from_str(&freshness).expect("a number is visible ASCII");
    response.headers_mut().insert(header::CACHE_CONTROL, freshness);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("authorization"));
    response
}

/// Answers `POST /v1/tools/call`.
pub(crate) async fn call(
    router: &Arc<Router>,
    caller: Arc<Caller>,
    view: Option<Arc<NamedView>>,
    parts: &Parts,
    body: intake::Unread,
) -> Response<Body> {
    if let Some(refused) = intake::refuse_by_headers(&parts.headers) {
        return refused;
    }
    if !accepts(&parts.headers, "application/json") {
        return problem(StatusCode::NOT_ACCEPTABLE, "Send `Accept: application/json`.");
    }
    let taken = match intake::read(router, body).await {
        Ok(taken) => taken,
        Err(refused) => return *refused,
    };
    let request = match CallRequest::read(&taken.body, parts) {
        Ok(request) => request,
        Err(refusal) => return refusal.respond(),
    };
    let request_id = Uuid::now_v7();
    let call = ToolCall {
        request_id,
        caller,
        view,
        name: request.name,
        params: request.params,
        arguments: request.arguments,
        patience: request.patience,
        key: request.key,
        trace: trace_of(&parts.headers),
        notices: None,
        control: Control::default(),
        registration: None,
        origin: Origin {
            surface: "plain",
            protocol: None,
            client: client(&parts.headers).map(Into::into),
            session: None,
            counts: audit::counts(parts),
        },
    };
    // A closed connection takes a read back, and a write of which nothing has left.
    let ended = RunningCall::start(router, call, false).await;
    let head = router.limits.head(&ended);
    let mut response = answer::of_call(ended.answer, request_id);
    response.headers_mut().extend(head);
    response
}

/// What the caller's program calls itself.
fn client(headers: &HeaderMap) -> Option<String> {
    let name = text_header(headers, "user-agent")?;
    Some(name.chars().filter(|c| !c.is_control()).take(CLIENT_CHARACTERS_MAX).collect())
}

/// An answer that is JSON as a whole.
fn json(status: StatusCode, pieces: impl IntoIterator<Item = Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::pieces(pieces));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

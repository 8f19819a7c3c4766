//! The protocol's edge: MCP over streamable HTTP, both eras on one endpoint. Bytes in, bytes out; no decisions about calls.
//!
//! A message is *modern* when its `_meta` names a protocol version, or its version header a modern one; everything else is *legacy*
//! (MCP 2026-07-28, basic/versioning).

pub mod answer;
mod batch;
mod exchange;
mod headers;
mod legacy;
mod list;
mod message;
mod meta;
mod modern;
pub(crate) mod provenance;
mod session;
mod streams;
mod version;

use std::sync::Arc;

use adapters::Caller;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};

use crate::{
    Live, Router,
    front::{accepts, intake, problem},
    policy::NamedView,
    scan,
    server::Body,
};

use answer::RpcError;
use message::Message;
pub(crate) use session::{Registration, Sessions};
pub use version::Version;

/// One POST: everything that a handler may need to know of it.
struct Post<'a> {
    router: &'a Arc<Router>,
    caller: Arc<Caller>,
    /// The view that is asked, if any.
    view: Option<Arc<NamedView>>,
    parts: &'a Parts,
    /// Whether the client takes an event stream for an answer.
    takes_events: bool,
}

/// Answers a POST to the MCP endpoint.
pub(crate) async fn post(
    router: &Arc<Router>,
    caller: Arc<Caller>,
    view: Option<Arc<NamedView>>,
    parts: &Parts,
    body: intake::Unread,
) -> Response<Body> {
    if let Some(refused) = intake::refuse_by_headers(&parts.headers) {
        return refused;
    }
    let takes_events = accepts(&parts.headers, "text/event-stream");
    if !takes_events && !accepts(&parts.headers, "application/json") {
        return problem(StatusCode::NOT_ACCEPTABLE, "Send `Accept: application/json, text/event-stream`.");
    }
    let taken = match intake::read(router, body).await {
        Ok(taken) => taken,
        Err(refused) => return *refused,
    };
    let body = &taken.body;
    let post = Post { router, caller, view, parts, takes_events };
    let text = match scan::check(body) {
        Ok(text) => text,
        Err(fault) => return RpcError::from(fault).respond(None, StatusCode::BAD_REQUEST),
    };
    if text.trim_ascii_start().starts_with('[') {
        return batch::handle(&post, body, text).await;
    }
    match Message::parse(body, text) {
        Ok(message) => handle(&post, message).await,
        Err(broken) => broken.error.respond(broken.id.as_ref(), StatusCode::BAD_REQUEST),
    }
}

async fn handle(post: &Post<'_>, message: Message) -> Response<Body> {
    if modern::is_modern(&message, &post.parts.headers) {
        modern::handle(post, message).await
    } else {
        legacy::handle(post, message).await
    }
}

/// Answers a GET: the stream on which a legacy session hears what nobody asked for.
pub(crate) fn get(
    live: &Arc<Live>,
    router: &Arc<Router>,
    caller: &Arc<Caller>,
    view: Option<&NamedView>,
    headers: &HeaderMap,
) -> Response<Body> {
    legacy::listen(live, router, caller, view, headers)
}

/// Answers a DELETE: the end of a legacy session.
pub(crate) fn delete(
    router: &Arc<Router>,
    caller: &Arc<Caller>,
    view: Option<&NamedView>,
    headers: &HeaderMap,
) -> Response<Body> {
    legacy::end_session(router, caller, view, headers)
}

/// An answer whose whole body is one JSON message.
fn json_response(status: StatusCode, pieces: impl IntoIterator<Item = Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::pieces(pieces));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The envelope of a message, for the fuzzer: what is taken out of it is a part of it.
#[cfg(fuzzing)]
pub(crate) fn fuzz_message(body: &Bytes, text: &str) {
    if let Ok(message) = Message::parse(body, text) {
        assert!(message.params.is_none_or(|params| params.starts_with(b"{") && params.len() <= body.len()));
    }
}

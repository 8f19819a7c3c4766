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
mod scan;
mod session;
mod streams;
mod version;

use std::sync::Arc;

use adapters::Caller;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use crate::{
    Router,
    front::{accepts, problem, text_header},
    server::{Body, body},
};

use answer::RpcError;
use message::Message;
pub(crate) use session::{Registration, Sessions};
pub use version::Version;

/// One POST: everything that a handler may need to know of it.
struct Post<'a> {
    router: &'a Arc<Router>,
    caller: Arc<Caller>,
    parts: &'a Parts,
    /// Whether the client takes an event stream for an answer.
    takes_events: bool,
}

/// Answers a POST to the MCP endpoint.
pub(crate) async fn post(router: &Arc<Router>, caller: Arc<Caller>, parts: &Parts, body: Incoming) -> Response<Body> {
    if let Some(refused) = refuse_by_headers(parts) {
        return refused;
    }
    let settings = &router.config.server;
    let bytes_max = settings.body_bytes_max.bytes();
    // Held until the answer begins: the body lives about as long.
    let Ok(_room) = router.body_room.take(&body, bytes_max) else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many large requests are under way. Try again in a second.",
        );
    };
    let body = match body::read(body, bytes_max, settings.body_timeout.0).await {
        Ok(body) => body,
        Err(error) => return unread(error, router),
    };
    let post = Post { router, caller, parts, takes_events: accepts(&parts.headers, "text/event-stream") };
    let text = match scan::check(&body) {
        Ok(text) => text,
        Err(fault) => return RpcError::from(fault).respond(None, StatusCode::BAD_REQUEST),
    };
    if text.trim_ascii_start().starts_with('[') {
        return batch::handle(&post, &body, text).await;
    }
    match Message::parse(&body, text) {
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
pub(crate) fn get(router: &Arc<Router>, caller: &Arc<Caller>, headers: &HeaderMap) -> Response<Body> {
    legacy::listen(router, caller, headers)
}

/// Answers a DELETE: the end of a legacy session.
pub(crate) fn delete(router: &Arc<Router>, caller: &Arc<Caller>, headers: &HeaderMap) -> Response<Body> {
    legacy::end_session(router, caller, headers)
}

/// What is refused before a byte of the body is read.
fn refuse_by_headers(parts: &Parts) -> Option<Response<Body>> {
    let content_type = text_header(&parts.headers, "content-type").unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        return Some(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send one JSON-RPC message as `Content-Type: application/json`.",
        ));
    }
    let codings = parts.headers.get_all(header::CONTENT_ENCODING);
    if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Some(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Compressed requests are not taken: send the body without Content-Encoding.",
        ));
    }
    if !accepts(&parts.headers, "application/json") && !accepts(&parts.headers, "text/event-stream") {
        return Some(problem(StatusCode::NOT_ACCEPTABLE, "Send `Accept: application/json, text/event-stream`."));
    }
    None
}

fn unread(error: body::ReadError, router: &Router) -> Response<Body> {
    let mut response = match error {
        body::ReadError::TooLarge => {
            let text =
                format!("The request is larger than {}: ask for less at once.", router.config.server.body_bytes_max);
            problem(StatusCode::PAYLOAD_TOO_LARGE, &text)
        }
        body::ReadError::TooSlow => {
            problem(StatusCode::REQUEST_TIMEOUT, "The body of the request did not arrive in time.")
        }
        body::ReadError::Broken => problem(StatusCode::BAD_REQUEST, "The body of the request is broken."),
    };
    // The rest of the body is not read, so the connection cannot be used again.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
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

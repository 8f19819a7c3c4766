//! The body of a request, on every surface that takes JSON: what is refused before it is read, and how much of it is read.

use bytes::Bytes;
use config::ByteSize;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::{problem, text_header};
use crate::{
    Router,
    server::{Body, body},
};

/// A body that was read, with the room it takes. To be held until the answer begins: the body lives about as long.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) body: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// What is refused before a byte of the body is read.
pub(crate) fn refuse_by_headers(headers: &HeaderMap) -> Option<Response<Body>> {
    // A proxy in between may go by another one of several.
    let is_one = headers.get_all(header::CONTENT_TYPE).iter().count() == 1;
    let content_type = text_header(headers, "content-type").unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !is_one || !media.eq_ignore_ascii_case("application/json") {
        return Some(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send one JSON message as `Content-Type: application/json`.",
        ));
    }
    let codings = headers.get_all(header::CONTENT_ENCODING);
    if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Some(problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Compressed requests are not taken: send the body without Content-Encoding.",
        ));
    }
    None
}

/// Reads the body within the listener's bounds of size and time.
///
/// # Errors
/// The answer to a request whose body is not taken.
pub(crate) async fn read(router: &Router, body: Incoming) -> Result<Taken, Box<Response<Body>>> {
    read_up_to(router, body, router.config.server.body_bytes_max.bytes()).await
}

/// The same for a body that is smaller than those of callers.
pub(crate) async fn read_up_to(
    router: &Router,
    body: Incoming,
    bytes_max: usize,
) -> Result<Taken, Box<Response<Body>>> {
    let settings = &router.config.server;
    let bytes_max = bytes_max.min(settings.body_bytes_max.bytes());
    match body::read(body, bytes_max, settings.body_timeout.0, &router.body_room).await {
        Ok((body, room)) => Ok(Taken { body, _room: room }),
        Err(error) => Err(Box::new(unread(error, bytes_max))),
    }
}

fn unread(error: body::ReadError, bytes_max: usize) -> Response<Body> {
    let mut response = match error {
        body::ReadError::TooLarge => {
            let text = format!("The request is larger than {}: send less at once.", ByteSize(bytes_max as u64));
            problem(StatusCode::PAYLOAD_TOO_LARGE, &text)
        }
        body::ReadError::TooManyPieces => {
            let text =
                "The request comes in too many small pieces: send it with a Content-Length, or in larger chunks.";
            problem(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        body::ReadError::TooSlow => {
            problem(StatusCode::REQUEST_TIMEOUT, "The body of the request did not arrive in time.")
        }
        body::ReadError::Broken => problem(StatusCode::BAD_REQUEST, "The body of the request is broken."),
        body::ReadError::NoRoom => {
            let text = "Too many large requests are under way. Nothing was done; try again in a second.";
            let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, text);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    };
    // The rest of the body is not read, so the connection cannot be used again.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

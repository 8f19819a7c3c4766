//! The body of a request, on every surface that takes JSON: what is refused before it is read, and how much of it is read.

use bytes::Bytes;
use config::ByteSize;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::{problem, refuse, text_header};
use crate::{
    Router,
    auth::signature::Unproven,
    server::{Body, body},
};

/// A body that was read, with the room it takes. To be held until the answer begins: the body lives about as long.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) body: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// A body of which nothing was read yet, and what it must prove of its request.
#[derive(Debug)]
pub(crate) struct Unread {
    body: Incoming,
    unproven: Option<Unproven>,
}

impl Unread {
    pub(super) fn new(body: Incoming, unproven: Option<Unproven>) -> Self {
        Self { body, unproven }
    }

    /// Only that of a POST is read by anybody. Any other request proves already now what it must.
    ///
    /// # Errors
    /// The answer to a request that is refused.
    pub(super) async fn awaited_of(self, method: &Method, router: &Router) -> Result<Self, Box<Response<Body>>> {
        if *method == Method::POST {
            return Ok(self);
        }
        if let Some(unproven) = self.unproven {
            if !self.body.is_end_stream() {
                return Err(Box::new(problem(StatusCode::BAD_REQUEST, "A signed request of this method has no body.")));
            }
            prove(router, unproven, &[]).await?;
        }
        Ok(Self { body: self.body, unproven: None })
    }
}

async fn prove(router: &Router, unproven: Unproven, body: &[u8]) -> Result<(), Box<Response<Body>>> {
    let address = unproven.address();
    match unproven.prove(body).await {
        Ok(()) => Ok(()),
        Err(refused) => Err(Box::new(refuse(router, address, "/mcp", &refused).await)),
    }
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

/// Reads the body of a caller within the listener's bounds of size and time, and has it prove what it must.
///
/// # Errors
/// The answer to a request whose body is not taken.
pub(crate) async fn read(router: &Router, body: Unread) -> Result<Taken, Box<Response<Body>>> {
    let taken = read_up_to(router, body.body, router.config.server.body_bytes_max.bytes()).await?;
    if let Some(unproven) = body.unproven {
        prove(router, unproven, &taken.body).await?;
    }
    Ok(taken)
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

//! The messages in the body of an answer: one JSON text, or a stream of events.

use std::{error::Error, time::Duration};

use adapters::sse::Parser;
use bytes::Bytes;
use http::{Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::failure::Failure;

/// How long, and how much, is read after the answer to let the connection be used again.
const DRAIN_TIME: Duration = Duration::from_secs(1);
const DRAIN_BYTES_MAX: usize = 64 * 1024;

/// Reads the messages of one answer.
pub(super) struct Stream {
    body: Incoming,
    form: Form,
    limits: Limits,
}

/// How much of an answer is held, and how long it may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) bytes_max: usize,
    /// `None` where silence is what one expects: streams of notifications.
    pub(super) silence_max: Option<Duration>,
}

enum Form {
    Json { ended: bool },
    Events(Parser),
}

impl Stream {
    /// The messages in `response`, by its content type.
    pub(super) fn new(response: Response<Incoming>, limits: Limits) -> Self {
        let form = if is_event_stream(&response) {
            Form::Events(Parser::new(limits.bytes_max))
        } else {
            Form::Json { ended: false }
        };
        Self { body: response.into_body(), form, limits }
    }

    /// The bytes of the next message; `None` when the answer ended in its regular way.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match &mut self.form {
            Form::Json { ended: true } => Ok(None),
            Form::Json { ended } => {
                *ended = true;
                let text = collect(&mut self.body, self.limits).await?;
                Ok((!text.trim_ascii().is_empty()).then_some(text))
            }
            Form::Events(parser) => loop {
                if let Some(data) = parser.next() {
                    return Ok(Some(data));
                }
                let Some(piece) = frame(&mut self.body, self.limits.silence_max).await? else { return Ok(None) };
                parser.push(&piece).map_err(|_| Failure::TooLarge { bytes_max: self.limits.bytes_max })?;
            },
        }
    }

    /// Where a stream that was lost can be taken up again, if the server said so.
    pub(super) fn last_event_id(&self) -> Option<&str> {
        match &self.form {
            Form::Events(parser) => parser.last_id(),
            Form::Json { .. } => None,
        }
    }

    /// How long the server wants a client to wait before it connects again.
    pub(super) fn retry(&self) -> Option<Duration> {
        match &self.form {
            Form::Events(parser) => parser.retry(),
            Form::Json { .. } => None,
        }
    }

    /// Reads on to the end, so that the connection can carry the next request. A body that does not end soon is dropped.
    pub(super) async fn drain(mut self) {
        let mut bytes = 0;
        let read = async {
            while let Ok(Some(piece)) = frame(&mut self.body, None).await {
                bytes += piece.len();
                if bytes > DRAIN_BYTES_MAX {
                    return;
                }
            }
        };
        _ = timeout(DRAIN_TIME, read).await;
    }
}

/// Whether an answer is a stream of events.
pub(super) fn is_event_stream(response: &Response<Incoming>) -> bool {
    media_type(response).eq_ignore_ascii_case("text/event-stream")
}

/// The media type of an answer, without its parameters; empty when there is none.
pub(super) fn media_type(response: &Response<Incoming>) -> &str {
    let value = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// The whole of a body, within the limits.
pub(super) async fn collect(body: &mut Incoming, limits: Limits) -> Result<Bytes, Failure> {
    let mut whole = Vec::new();
    while let Some(piece) = frame(body, limits.silence_max).await? {
        if whole.len() + piece.len() > limits.bytes_max {
            return Err(Failure::TooLarge { bytes_max: limits.bytes_max });
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
}

/// The next piece of data.
async fn frame(body: &mut Incoming, silence_max: Option<Duration>) -> Result<Option<Bytes>, Failure> {
    loop {
        let next = match silence_max {
            Some(waited) => timeout(waited, body.frame()).await.map_err(|_| Failure::Silent { waited })?,
            None => body.frame().await,
        };
        match next {
            None => return Ok(None),
            // Trailers carry nothing here.
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
            Some(Err(error)) => return Err(Failure::Lost { reason: cause(&error) }),
        }
    }
}

/// The innermost cause of an error: the outer ones name only the layer.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

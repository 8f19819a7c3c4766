//! An answer, read as far as its reader wants and no further than the limits.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    HttpError,
    connection::{Connection, Idle},
};
use crate::{Deadline, ErrorClass, Sent, credential::Shown, room};

/// The head of an answer, and its body to be read. Dropping it before the body's end closes the connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Parts,
    /// What the server was shown, for whoever repeats its words.
    pub(crate) shown: Option<Arc<Shown>>,
    body: Incoming,
    idle_timeout: Duration,
    held: Option<Held>,
}

/// The connection that the answer comes over. The connection goes before its place among the permitted ones does.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) connection: Connection,
    pub(super) idle: Arc<Idle>,
    pub(super) _slot: OwnedSemaphorePermit,
}

impl Held {
    fn give_back(self) {
        self.idle.put(self.connection);
    }
}

impl Answer {
    pub(super) fn new(head: Parts, body: Incoming, idle_timeout: Duration, held: Held) -> Self {
        Self { head, shown: None, body, idle_timeout, held: Some(held) }
    }

    /// The whole body. One larger than `bytes_max` is not read on, and not read at all where the head says so.
    ///
    /// # Errors
    /// `TooLarge`; `Timeout` when `limit` comes first or the downstream falls silent; `ConnectionLost`, `Protocol`.
    pub(crate) async fn body(mut self, bytes_max: usize, limit: Deadline) -> Result<Bytes, HttpError> {
        let too_large = || {
            let told = format!("it is larger than {bytes_max} bytes");
            HttpError::new(ErrorClass::TooLarge, Sent::Unknown, told)
        };
        if self.body.size_hint().lower() > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        let mut first = Bytes::new();
        while let Some(piece) = self.chunk(limit).await? {
            if first.len() + whole.len() + piece.len() > bytes_max {
                return Err(too_large());
            }
            // A body that came in one piece is handed on as it is.
            if first.is_empty() && whole.is_empty() {
                first = piece;
                continue;
            }
            room::make(&mut whole, first.len() + piece.len(), bytes_max);
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&piece);
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }

    /// The next piece of the body, never an empty one; `None` at its end, by which the connection serves the next request.
    ///
    /// # Errors
    /// `Timeout` when `limit` comes first or the downstream falls silent; `ConnectionLost`, `Protocol`.
    pub(crate) async fn chunk(&mut self, limit: Deadline) -> Result<Option<Bytes>, HttpError> {
        let silent_at = Instant::now() + self.idle_timeout;
        loop {
            let frame = match tokio::time::timeout_at(limit.at().min(silent_at), self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    self.held = None;
                    return Err(HttpError::broken(&error));
                }
                Ok(None) => {
                    if let Some(held) = self.held.take() {
                        held.give_back();
                    }
                    return Ok(None);
                }
                Err(_) => {
                    self.held = None;
                    return Err(self.silent(limit));
                }
            };
            match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers mean nothing to anybody here.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn silent(&self, limit: Deadline) -> HttpError {
        if limit.remaining().is_zero() {
            return HttpError::new(ErrorClass::Timeout, Sent::Unknown, "no whole answer in time");
        }
        let told = format!("no whole answer: it fell silent for {} ms", self.idle_timeout.as_millis());
        HttpError::new(ErrorClass::Timeout, Sent::Unknown, told)
    }
}

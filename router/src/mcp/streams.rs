//! Streams on which legacy sessions hear that the list of tools changed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{exchange::events, session::Session};
use crate::{Router, front::problem, server::Body};

/// How often a silent stream gives a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many streams are open at once.
const STREAMS_MAX: usize = 5_000;
const LIST_CHANGED: Bytes =
    Bytes::from_static(b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n");
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// The open streams, by session: a session has one.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<HashMap<[u8; 16], CancellationToken>>);

/// A stream that is open; gone when dropped.
struct Open {
    nonce: [u8; 16],
    ended: CancellationToken,
    streams: Arc<Streams>,
}

impl Streams {
    /// Opens the stream of a session; one that it had before ends. `None` when there are too many.
    fn open(self: &Arc<Self>, nonce: [u8; 16]) -> Option<Open> {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.len() >= STREAMS_MAX && !streams.contains_key(&nonce) {
            return None;
        }
        let ended = CancellationToken::new();
        if let Some(before) = streams.insert(nonce, ended.clone()) {
            before.cancel();
        }
        Some(Open { nonce, ended, streams: self.clone() })
    }

    /// Ends the stream of a session.
    pub(super) fn close(&self, nonce: &[u8; 16]) {
        if let Some(stream) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(nonce) {
            stream.cancel();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut streams = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A newer stream of the same session has taken the place of this one when this one was ended.
        if !self.ended.is_cancelled() {
            streams.remove(&self.nonce);
        }
    }
}

/// The stream of `session`.
pub(super) fn list_changes(router: &Arc<Router>, session: &Session) -> Response<Body> {
    let Some(open) = router.sessions.streams.open(session.nonce) else {
        return problem(StatusCode::TOO_MANY_REQUESTS, "Too many streams are open. Calls work without one.");
    };
    let changes = router.catalog.changes();
    let closing = router.closing.clone();
    let session = session.clone();
    events(stream::unfold((open, changes, true), move |(open, mut changes, first)| {
        let (closing, session) = (closing.clone(), session.clone());
        async move {
            if first {
                return Some((COMMENT, (open, changes, false)));
            }
            let piece = tokio::select! {
                () = open.ended.cancelled() => return None,
                () = closing.cancelled() => return None,
                changed = changes.changed() => { changed.ok()?; LIST_CHANGED }
                () = tokio::time::sleep(KEEP_ALIVE) => COMMENT,
            };
            (!session.has_expired(Timestamp::now())).then_some((piece, (open, changes, false)))
        }
    }))
}

//! Streams on which legacy sessions hear that the list of tools changed.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use adapters::Caller;
use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{exchange::events, session::Session};
use crate::{Live, Router, auth::Standing, front::problem, server::Body};

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

/// The stream of `session`, on which `caller` hears that its list is another one.
pub(super) fn list_changes(
    live: &Arc<Live>,
    router: &Arc<Router>,
    caller: &Arc<Caller>,
    session: &Session,
) -> Response<Body> {
    let Some(open) = router.sessions.streams.open(session.nonce) else {
        return problem(StatusCode::TOO_MANY_REQUESTS, "Too many streams are open. Calls work without one.");
    };
    let listener = Listener {
        open,
        changes: router.catalog.changes(),
        closing: router.closing.clone(),
        session: session.clone(),
        live: live.clone(),
        standing: router.authenticator.standing(caller),
        list: list_of(router, caller),
        caller: caller.clone(),
    };
    events(stream::unfold((listener, true), |(mut listener, first)| async move {
        let piece = if first { COMMENT } else { listener.next().await? };
        Some((piece, (listener, false)))
    }))
}

/// Who listens on a stream, and what it was told last.
struct Listener {
    open: Open,
    changes: watch::Receiver<u64>,
    closing: CancellationToken,
    session: Session,
    live: Arc<Live>,
    caller: Arc<Caller>,
    standing: Standing,
    list: Bytes,
}

impl Listener {
    /// What is sent next; `None` when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        let quiet = tokio::time::sleep(KEEP_ALIVE);
        let mut quiet = pin!(quiet);
        loop {
            tokio::select! {
                () = self.open.ended.cancelled() => return None,
                () = self.closing.cancelled() => return None,
                changed = self.changes.changed() => {
                    changed.ok()?;
                    if self.has_another_list()? {
                        return Some(LIST_CHANGED);
                    }
                }
                () = quiet.as_mut() => return (!self.session.has_expired(Timestamp::now())).then_some(COMMENT),
            }
        }
    }

    /// Whether the caller sees another list than before; `None` when its credential is no longer accepted.
    fn has_another_list(&mut self) -> Option<bool> {
        let router = self.live.router();
        if self.session.has_expired(Timestamp::now()) {
            return None;
        }
        self.caller = Arc::new(router.authenticator.still(&self.caller, &self.standing)?);
        let list = list_of(&router, &self.caller);
        let is_another = list != self.list;
        self.list = list;
        Some(is_another)
    }
}

/// What the caller sees, in one piece.
fn list_of(router: &Router, caller: &Caller) -> Bytes {
    router.catalog.view().rights(&router.policy, caller).definitions()
}

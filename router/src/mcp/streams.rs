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
use crate::{
    Live, Router,
    auth::Standing,
    front::problem,
    policy::{Asker, NamedView},
    server::Body,
};

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
    view: Option<&NamedView>,
    session: &Session,
) -> Response<Body> {
    let Some(open) = router.sessions.streams.open(session.nonce) else {
        return problem(StatusCode::TOO_MANY_REQUESTS, "Too many streams are open. Calls work without one.");
    };
    let listener = Listener {
        open,
        changes: router.catalog.changes(),
        revocations: router.revocations.changes(),
        closing: router.closing.clone(),
        session: session.clone(),
        live: live.clone(),
        standing: router.authenticator.standing(caller),
        list: list_of(router, caller, view),
        view: view.map(|view| view.name.clone()),
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
    revocations: watch::Receiver<u64>,
    closing: CancellationToken,
    session: Session,
    live: Arc<Live>,
    caller: Arc<Caller>,
    standing: Standing,
    list: Bytes,
    /// The name of the view that it was asked for in.
    view: Option<Arc<str>>,
}

impl Listener {
    /// What is sent next; `None` when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        let quiet = tokio::time::sleep(KEEP_ALIVE);
        let mut quiet = pin!(quiet);
        let mut expired = pin!(expiry(&self.caller));
        loop {
            tokio::select! {
                () = self.open.ended.cancelled() => return None,
                () = self.closing.cancelled() => return None,
                () = expired.as_mut() => return None,
                revoked = self.revocations.changed() => {
                    revoked.ok()?;
                    self.live.router().authenticator.still(&self.caller, &self.standing)?;
                }
                changed = self.changes.changed() => {
                    changed.ok()?;
                    if self.has_another_list()? {
                        return Some(LIST_CHANGED);
                    }
                }
                () = quiet.as_mut() => return if self.has_another_list()? { Some(LIST_CHANGED) } else { Some(COMMENT) },
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
        // A view that the config has no longer shows nothing more.
        let view = self.view.as_ref().map(|name| router.policy.view(name)).map_or(Some(None), |view| view.map(Some))?;
        let list = list_of(&router, &self.caller, view.map(|view| &**view));
        let is_another = list != self.list;
        self.list = list;
        Some(is_another)
    }
}

/// Ends when the caller's credential does.
fn expiry(caller: &Caller) -> impl Future<Output = ()> + use<> {
    let left = caller.expires.map(|expires| Timestamp::now().duration_until(expires));
    async move {
        match left {
            Some(left) => tokio::time::sleep(left.try_into().unwrap_or_default()).await,
            None => std::future::pending().await,
        }
    }
}

/// What the caller sees, in one piece.
fn list_of(router: &Router, caller: &Caller, named: Option<&NamedView>) -> Bytes {
    let view = router.catalog.view();
    let rights = view.rights(&router.policy, caller, named);
    view.list(&rights, &router.policy, Asker { caller, now: Timestamp::now() }).definitions()
}

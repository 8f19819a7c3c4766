//! HTTP/2 callers that do not read. The time limit of the socket does not see them: their connection lives while one stream's window is
//! closed. So each answer remembers since when it waits for its reader, and one that waits too long ends the connection.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::Body;

/// How much is handed over at once, so that a slow reader shows progress.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// The answer waits for Weir itself, or is at its end.
const NOT_FOR_THE_READER: u64 = 0;

/// The answers of one connection that wait for their reader.
#[derive(Debug)]
pub(super) struct Patience {
    started: Instant,
    limit: Duration,
    waiting: Mutex<Vec<Weak<Waiting>>>,
}

/// Since when an answer waits for its reader, in milliseconds of the connection's life.
#[derive(Debug, Default)]
struct Waiting(AtomicU64);

impl Patience {
    pub(super) fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), limit, waiting: Mutex::default() })
    }

    /// The answer, watched from now on.
    pub(super) fn watch(self: &Arc<Self>, response: Response<Body>) -> Response<Watched> {
        let waiting = Arc::new(Waiting(AtomicU64::new(self.now())));
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|waiting| waiting.strong_count() > 0);
        all.push(Arc::downgrade(&waiting));
        drop(all);
        response.map(|body| Watched { body, rest: Bytes::new(), watch: Some((waiting, self.clone())) })
    }

    /// Ends when an answer has waited for its reader for longer than the limit.
    pub(super) async fn exhausted(&self) {
        let look_every = (self.limit / 4).max(Duration::from_millis(10));
        let limit_ms = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
        loop {
            tokio::time::sleep(look_every).await;
            let now = self.now();
            let all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let too_long = |waiting: Arc<Waiting>| {
                let since = waiting.0.load(Ordering::Relaxed);
                since != NOT_FOR_THE_READER && now.saturating_sub(since) > limit_ms
            };
            if all.iter().filter_map(Weak::upgrade).any(too_long) {
                return;
            }
        }
    }

    fn now(&self) -> u64 {
        // Never zero, which means something else.
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// The body of an answer; on HTTP/2 it tells whether its reader makes it wait.
#[derive(Debug)]
pub(super) struct Watched {
    body: Body,
    rest: Bytes,
    watch: Option<(Arc<Waiting>, Arc<Patience>)>,
}

impl Watched {
    /// A body on HTTP/1.1, where the socket's own time limit is enough.
    pub(super) fn unwatched(body: Body) -> Self {
        Self { body, rest: Bytes::new(), watch: None }
    }

    fn waits_since(&self, now: impl FnOnce(&Patience) -> u64) {
        if let Some((waiting, patience)) = &self.watch {
            waiting.0.store(now(patience), Ordering::Relaxed);
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.watch.is_none() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        if self.rest.is_empty() {
            self.waits_since(|_| NOT_FOR_THE_READER);
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES_MAX);
        let piece = self.rest.split_to(length);
        self.waits_since(Patience::now);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.body.size_hint();
        match inner.exact() {
            Some(exact) => SizeHint::with_exact(exact + self.rest.len() as u64),
            None => inner,
        }
    }
}

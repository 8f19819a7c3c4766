//! One connection, and the idle ones that wait for their next request.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::BoxFuture};
use http::HeaderMap;
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::Instant,
};

/// The largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a connection may wait for its next request at most.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long a connection may take to become ready again after an answer: it has nothing more to do than to look.
const READY: Duration = Duration::from_millis(50);

/// One connection. Dropping it closes it, whatever is under way on it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// Whether a request was answered on it before.
    pub(super) reused: bool,
    /// How long it may wait for its next request.
    idle_max: Duration,
    driver: Driver,
    driving: AbortHandle,
}

/// What reads and writes, and has the socket; taken out to close it.
type Driver = Arc<Mutex<Option<BoxFuture<'static, ()>>>>;

impl Connection {
    pub(super) async fn over<S>(stream: S) -> Result<Self, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        // What ends the connection is learned from the requests on it.
        let driver: Driver = Arc::new(Mutex::new(Some(connection.map(drop).boxed())));
        let driven = Arc::clone(&driver);
        let driving = poll_fn(move |context| match &mut *driven.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(connection) => connection.poll_unpin(context),
            None => Poll::Ready(()),
        });
        let driving = tokio::spawn(driving).abort_handle();
        Ok(Self { sender, reused: false, idle_max: IDLE_MAX, driver, driving })
    }

    /// Heeds how long the server keeps a connection that waits, where it says so. Weir closes it a second before: a write that
    /// meets the server's end would have an outcome that nobody knows.
    pub(super) fn heed(&mut self, headers: &HeaderMap) {
        let stated = headers.get("keep-alive").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let seconds =
            stated.split(',').find_map(|part| part.trim().strip_prefix("timeout=")?.trim().parse::<u64>().ok());
        let kept = seconds.map(|seconds| Duration::from_secs(seconds.saturating_sub(1)));
        self.idle_max = kept.map_or(IDLE_MAX, |kept| kept.min(IDLE_MAX));
    }

    /// Whether it can take a request now.
    pub(super) async fn is_ready(&mut self) -> bool {
        tokio::time::timeout(READY, self.sender.ready()).await.is_ok_and(|ready| ready.is_ok())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The socket is closed here and not when the task comes to it: whoever gets the place of this request must not be at the
        // server before it has gone. Where the task runs this very moment, it is the task that closes it.
        if let Ok(mut driver) = self.driver.try_lock() {
            *driver = None;
        }
        self.driving.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("reused", &self.reused).finish_non_exhaustive()
    }
}

/// Connections without a request, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    /// Until when each may wait.
    connections: VecDeque<(Instant, Connection)>,
    /// Whether a task closes what waits for too long.
    swept: bool,
}

impl Idle {
    /// The connection that was used last; it may have been closed meanwhile.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut list = self.list();
        loop {
            let (until, connection) = list.connections.pop_back()?;
            if Instant::now() < until && !connection.sender.is_closed() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request. Must run inside a tokio runtime.
    pub(super) fn put(self: &Arc<Self>, mut connection: Connection) {
        connection.reused = true;
        let mut list = self.list();
        list.connections.push_back((Instant::now() + connection.idle_max, connection));
        if !std::mem::replace(&mut list.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what has waited for too long, and says when to look again; `None` when nothing waits.
    fn close_old(&self) -> Option<Instant> {
        let mut list = self.list();
        let now = Instant::now();
        list.connections.retain(|(until, connection)| now < *until && !connection.sender.is_closed());
        let next = list.connections.iter().map(|(until, _)| *until).min();
        list.swept = next.is_some();
        next
    }

    /// How many of them are open, as far as it is known.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.list().connections.iter().filter(|(_, connection)| !connection.sender.is_closed()).count()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(idle: Weak<Idle>) {
    loop {
        let Some(next) = idle.upgrade().and_then(|idle| idle.close_old()) else { return };
        tokio::time::sleep_until(next).await;
    }
}

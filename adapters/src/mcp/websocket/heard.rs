//! When something was last heard on a connection. Counted below the frames: a large message that arrives slowly is a sign of life.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// When bytes last came from the other side.
#[derive(Debug, Clone)]
pub(super) struct LastHeard {
    opened: Instant,
    /// Microseconds since it was opened.
    at: Arc<AtomicU64>,
}

impl LastHeard {
    pub(super) fn new() -> Self {
        Self { opened: Instant::now(), at: Arc::default() }
    }

    /// The moment, to compare with another one of the same connection.
    pub(super) fn at(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_micros(self.at()))
    }

    fn now(&self) {
        let since = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.at.store(since, Ordering::Relaxed);
    }
}

/// A stream that notes when something is read from it.
#[derive(Debug)]
pub(super) struct Heard<S> {
    inner: S,
    last: LastHeard,
}

impl<S> Heard<S> {
    pub(super) fn new(inner: S, last: LastHeard) -> Self {
        Self { inner, last }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.last.now();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

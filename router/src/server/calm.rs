//! HTTP/2 callers that keep the router busy with frames that ask for nothing.

mod frames;
#[cfg(test)]
mod tests;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::telemetry;
use frames::{Frame, Frames, Kind};

/// What an idle frame costs: so 200 a second may come for ever …
const COST: Duration = Duration::from_millis(5);
/// … and 2 000 at once. Somebody who cancels a call after each keystroke stays below that; who wants to wear Weir out does not.
const DEBT_MAX: Duration = Duration::from_secs(10);
/// A piece of a body shorter than this is a crumb: it costs more to keep than it holds.
const CRUMB_BYTES: usize = 128;
/// How much a caller has to be sent for each opening of a window. Libraries open them after 16 KiB and more.
const BYTES_PER_WINDOW_UPDATE: u64 = 1 << 10;

/// An HTTP/2 connection that breaks when too many frames come that ask for nothing: pings, settings, resets, empty or tiny pieces of
/// bodies, continued heads. The library answers or counts some of them, and bounds others only in memory; this bounds them all in number.
#[derive(Debug)]
pub(super) struct Calm<I> {
    io: I,
    frames: Frames,
    judge: Judge,
}

/// How many idle frames there were lately.
#[derive(Debug)]
struct Judge {
    /// When what came so far is paid off.
    paid_at: Instant,
    /// What was sent, and not yet taken for an opening of a window.
    sent_bytes: u64,
}

impl<I> Calm<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, frames: Frames::default(), judge: Judge { paid_at: Instant::now(), sent_bytes: 0 } }
    }
}

impl Judge {
    /// Whether the caller may go on.
    fn allows(&mut self, frame: Frame, now: Instant) -> bool {
        if !self.is_idle(frame) {
            return true;
        }
        self.paid_at = self.paid_at.max(now) + COST;
        self.paid_at - now <= DEBT_MAX
    }

    fn is_idle(&mut self, frame: Frame) -> bool {
        match frame.kind {
            Kind::Data => frame.length < CRUMB_BYTES && !frame.ends_stream,
            Kind::Headers => false,
            Kind::WindowUpdate => match self.sent_bytes.checked_sub(BYTES_PER_WINDOW_UPDATE) {
                Some(rest) => {
                    self.sent_bytes = rest;
                    false
                }
                None => true,
            },
            Kind::Other => true,
        }
    }

    fn sent(&mut self, bytes: usize) {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes as u64);
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Calm<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        let (now, judge) = (Instant::now(), &mut this.judge);
        let is_calm = this.frames.take(&buffer.filled()[before..], |frame| judge.allows(frame, now));
        if !is_calm {
            // Who gets an error has been given nothing.
            buffer.set_filled(before);
            telemetry::refused_before_auth("http2_flood");
            tracing::debug!("a caller floods its connection with frames that ask for nothing: it is closed");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too many idle frames")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Calm<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.judge.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        self.judge.sent(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

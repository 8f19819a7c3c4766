//! A connection on which the HTTP library meets only requests that have one meaning.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;
use crate::telemetry;

/// An HTTP/1.1 connection that ends where its bytes could be read in two ways. Bytes are looked at in their place, not copied.
#[derive(Debug)]
pub(crate) struct Strict<I> {
    io: I,
    framing: Framing,
    refused: Option<Refused>,
}

/// What comes instead of the bytes that are refused.
#[derive(Debug)]
enum Refused {
    /// What makes the library answer the head that it has begun to read with 400, from this byte of it on; then the end.
    Head { given: usize },
    /// An error, with which the body has no end.
    Body,
}

/// A byte that may stand nowhere in a head, and the head's end, without which the library would wait for more.
const NO_HEAD: &[u8] = b"\0\r\n\r\n";

impl<I> Strict<I> {
    pub(crate) fn new(io: I) -> Self {
        Self { io, framing: Framing::new(), refused: None }
    }
}

impl Refused {
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        match self {
            Self::Head { given } => {
                let rest = &NO_HEAD[*given..];
                let length = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..length]);
                *given += length;
                Ok(())
            }
            Self::Body => Err(io::Error::new(io::ErrorKind::InvalidData, "the body of the request is broken")),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Strict<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(refused) = &mut this.refused {
            return Poll::Ready(refused.give(buffer));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        let Err(fault) = this.framing.take(&buffer.filled()[before..]) else { return Poll::Ready(Ok(())) };
        telemetry::refused_before_auth("ambiguous_http");
        tracing::debug!(why = fault.why, "a request that could be read in two ways ends its connection");
        buffer.set_filled(before + fault.at);
        let refused = this.refused.insert(if fault.in_head { Refused::Head { given: 0 } } else { Refused::Body });
        // What stands before a broken part of a body is read first: it may end a request that is fine.
        let gives_now = fault.in_head || fault.at == 0;
        Poll::Ready(if gives_now { refused.give(buffer) } else { Ok(()) })
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Strict<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
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
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

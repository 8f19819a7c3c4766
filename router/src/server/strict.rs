//! A connection on which the HTTP library meets only requests that have one meaning.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;
use crate::{front, telemetry};

/// An HTTP/1.1 connection that ends where its bytes could be read in two ways. Bytes are looked at in their place, not copied.
#[derive(Debug)]
pub(crate) struct Strict<I> {
    io: I,
    framing: Framing,
    refused: Option<Refused>,
    /// What is left to write of the answer to a head that is refused.
    answer: Bytes,
    teller: Option<Teller>,
}

/// Hears why a request was answered here that nothing above gets to see.
pub(crate) struct Teller(Box<dyn Fn(&'static str) + Send>);

impl Teller {
    pub(crate) fn new(tell: impl Fn(&'static str) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller(…)")
    }
}

/// What the library answers of itself, and nothing above it.
fn is_of_library(bytes: &[u8]) -> bool {
    bytes.starts_with(BARE_ANSWER) || TOO_LARGE_ANSWERS.iter().any(|answer| bytes.starts_with(answer))
}

/// What comes instead of the bytes that are refused.
#[derive(Debug)]
enum Refused {
    /// What makes the library answer the head that it has begun to read with 400, from this byte of it on; then the end.
    Head { why: &'static str, given: usize },
    /// An error, with which the body has no end.
    Body,
}

/// A byte that may stand nowhere in a head, and the head's end, without which the library would wait for more.
const NO_HEAD: &[u8] = b"\0\r\n\r\n";
/// How the library begins to answer a head that it cannot read. It knows no way to say more.
const BARE_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n";

/// How it begins its other answers, to heads that are too large. Nothing above answers so.
const TOO_LARGE_ANSWERS: [&[u8]; 2] = [b"HTTP/1.1 414 ", b"HTTP/1.1 431 "];

impl<I> Strict<I> {
    pub(crate) fn new(io: I) -> Self {
        Self { io, framing: Framing::new(), refused: None, answer: Bytes::new(), teller: None }
    }

    /// The same, and somebody hears of each request that is answered here.
    pub(crate) fn telling(self, teller: Teller) -> Self {
        Self { teller: Some(teller), ..self }
    }

    fn told(&self, reason: &'static str) {
        if let Some(Teller(tell)) = &self.teller {
            tell(reason);
        }
    }

    /// The answer to a head that cannot be read, where the library's own is as bare as it begins with. `rest`: its other headers.
    fn tell(&self, rest: &[u8]) -> Bytes {
        let detail = if let Some(Refused::Head { why, .. }) = self.refused {
            self.told("ambiguous_http");
            format!("The request could be read in two ways: {why}. Mend the client, or the proxy in between.")
        } else {
            telemetry::refused_before_auth("malformed");
            self.told("malformed");
            "This is no HTTP request. Mend the client.".to_owned()
        };
        let body = front::problem_json(StatusCode::BAD_REQUEST, &detail, serde_json::Map::new());
        let head = format!(
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: {}\r\ncache-control: no-store\r\ncontent-length: {}\r\n",
            front::PROBLEM_JSON,
            body.len()
        );
        [head.as_bytes(), rest, body.as_bytes()].concat().into()
    }
}

impl Refused {
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        match self {
            Self::Head { given, .. } => {
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
        let refused =
            this.refused.insert(if fault.in_head { Refused::Head { why: fault.why, given: 0 } } else { Refused::Body });
        // What stands before a broken part of a body is read first: it may end a request that is fine.
        let gives_now = fault.in_head || fault.at == 0;
        Poll::Ready(if gives_now { refused.give(buffer) } else { Ok(()) })
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Strict<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.answer.is_empty() {
            if TOO_LARGE_ANSWERS.iter().any(|answer| bytes.starts_with(answer)) {
                this.told("too_large_head");
            }
            let Some(rest) = bytes.strip_prefix(BARE_ANSWER) else {
                return Pin::new(&mut this.io).poll_write(cx, bytes);
            };
            this.answer = this.tell(rest);
        }
        while !this.answer.is_empty() {
            let written = ready!(Pin::new(&mut this.io).poll_write(cx, &this.answer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.answer.advance(written);
        }
        Poll::Ready(Ok(bytes.len()))
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
        let first = slices.iter().find(|slice| !slice.is_empty());
        match first.filter(|first| is_of_library(first)) {
            Some(bare) => self.poll_write(cx, bare),
            None => Pin::new(&mut self.io).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

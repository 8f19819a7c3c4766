//! The bytes between Weir and a database: plain or TLS, and never a message that is too large to be held.
//!
//! A row arrives as one message, and the library underneath reads messages whole. So the limit must hold below it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_postgres::{
    Socket,
    config::SslMode,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::address::Reach;

/// What a call is told, in the place of a row that is too large, as an error of the database. No database has this SQLSTATE.
pub(super) const ROW_TOO_LARGE: &str = "WEIR1";

/// What asks a server whether it speaks TLS: length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How a connection over TCP is secured. It is asked for by the library as if TLS came first, and settles with the server by itself
/// whether it does: so plain connections pass here too.
#[derive(Clone)]
pub(super) struct Securing {
    pub(super) tls: MakeRustlsConnect,
    pub(super) mode: SslMode,
    pub(super) message_bytes_max: usize,
    /// Where its hosts may lead.
    pub(super) reach: Reach,
}

/// The same for one host name.
pub(super) struct SecuringHost {
    connect: <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect,
    mode: SslMode,
    message_bytes_max: usize,
}

/// A connection over TCP.
pub(super) enum Channel {
    Plain(Socket),
    Tls(Box<<MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>),
}

/// A stream on which no message is larger than a limit: a larger row becomes an error, anything else ends the connection.
pub(super) struct Bounded<S> {
    inner: S,
    message_bytes_max: usize,
    /// The type and length of the message that is being read, as far as they have come.
    head: Vec<u8>,
    /// How much of its payload is to come, and whether that is dropped.
    left: usize,
    dropping: bool,
    /// What was read and is not yet handed out.
    ready: Vec<u8>,
    handed_out: usize,
}

const HEAD_BYTES: usize = 5;
const DATA_ROW: u8 = b'D';
const READ_BYTES: usize = 8 << 10;

impl<S> Bounded<S> {
    pub(super) fn new(inner: S, message_bytes_max: usize) -> Self {
        let (head, ready) = (Vec::with_capacity(HEAD_BYTES), Vec::with_capacity(READ_BYTES));
        Self { inner, message_bytes_max, head, left: 0, dropping: false, ready, handed_out: 0 }
    }

    /// Takes what came and keeps of it what may pass.
    fn sift(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let wanted = if self.left > 0 { self.left } else { HEAD_BYTES - self.head.len() };
            let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            if self.left > 0 {
                self.left -= part.len();
                if !self.dropping {
                    self.ready.extend_from_slice(part);
                }
            } else {
                self.head.extend_from_slice(part);
                if self.head.len() == HEAD_BYTES {
                    self.begin_message()?;
                    self.head.clear();
                }
            }
        }
        Ok(())
    }

    fn begin_message(&mut self) -> io::Result<()> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let length = self.head[1..].iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        self.left = length.checked_sub(4).ok_or_else(|| invalid("a message without a length"))?;
        self.dropping = self.left > self.message_bytes_max;
        match self.dropping {
            false => self.ready.extend_from_slice(&self.head),
            true if self.head[0] == DATA_ROW => self.ready.extend_from_slice(&row_too_large()),
            true => return Err(invalid("a message larger than the limit")),
        }
        Ok(())
    }
}

/// An `ErrorResponse` that says so.
fn row_too_large() -> Vec<u8> {
    let fields = format!("SERROR\0VERROR\0C{ROW_TOO_LARGE}\0Ma row is larger than the limit\0\0");
    let length = u32::try_from(fields.len() + 4).expect("a short text");
    [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
}

impl MakeTlsConnect<Socket> for Securing {
    type Stream = Bounded<Channel>;
    type TlsConnect = SecuringHost;
    type Error = std::convert::Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<SecuringHost, Self::Error> {
        let connect = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.tls, host)?;
        Ok(SecuringHost { connect, mode: self.mode, message_bytes_max: self.message_bytes_max })
    }
}

impl TlsConnect<Socket> for SecuringHost {
    type Stream = Bounded<Channel>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Bounded<Channel>>>;

    fn connect(self, mut socket: Socket) -> Self::Future {
        async move {
            let channel = if self.mode != SslMode::Disable && offers_tls(&mut socket).await? {
                Channel::Tls(Box::new(self.connect.connect(socket).await?))
            } else if self.mode == SslMode::Require {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "the server does not offer TLS"));
            } else {
                Channel::Plain(socket)
            };
            Ok(Bounded::new(channel, self.message_bytes_max))
        }
        .boxed()
    }
}

async fn offers_tls(socket: &mut Socket) -> io::Result<bool> {
    socket.write_all(&SSL_REQUEST).await?;
    Ok(socket.read_u8().await? == b'S')
}

impl TlsStream for Bounded<Channel> {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.inner {
            Channel::Plain(_) => ChannelBinding::none(),
            Channel::Tls(stream) => stream.channel_binding(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.handed_out == this.ready.len() {
            this.ready.clear();
            this.handed_out = 0;
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.sift(read.filled())?;
        }
        let waiting = &this.ready[this.handed_out..];
        let count = waiting.len().min(out.remaining());
        out.put_slice(&waiting[..count]);
        this.handed_out += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl AsyncRead for Channel {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, out),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, out),
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{Bounded, row_too_large};

    fn message(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload + 4).expect("short").to_be_bytes();
        [&[kind][..], &length, &vec![b'x'; payload]].concat()
    }

    proptest! {
        #[test]
        fn rows_within_the_limit_pass_unchanged_and_others_become_an_error(
            sizes in proptest::collection::vec(0..40_usize, 0..8),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let sent: Vec<u8> = sizes.iter().flat_map(|&size| message(b'D', size)).collect();
            let wanted: Vec<u8> =
                sizes.iter().flat_map(|&size| if size <= 20 { message(b'D', size) } else { row_too_large() }).collect();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(sent.len() + 1)).collect();
            cuts.extend([0, sent.len()]);
            cuts.sort_unstable();
            let mut bounded = Bounded::new((), 20);
            for part in cuts.windows(2) {
                bounded.sift(&sent[part[0]..part[1]]).expect("rows never fail");
            }
            prop_assert_eq!(bounded.ready, wanted);
        }
    }

    #[test]
    fn another_message_that_is_too_large_ends_the_connection() {
        let mut bounded = Bounded::new((), 20);
        bounded.sift(&message(b'T', 20)).expect("at the limit");
        bounded.sift(&message(b'T', 21)).expect_err("beyond the limit");
        Bounded::new((), 20).sift(b"D\0\0\0\x03").expect_err("no length at all");
    }
}

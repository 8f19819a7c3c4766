//! A downstream that costs nothing: it gives every request the same answer, and notes when it was asked.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

const HEAD_BYTES_MAX: usize = 16 << 10;

/// Speaks HTTP/1.1 to clients that send no body. Stops on drop.
#[derive(Debug)]
pub(crate) struct Responder {
    pub(crate) url: String,
    inner: Arc<Inner>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Inner {
    answer: Mutex<Bytes>,
    asked: Mutex<Vec<Instant>>,
}

impl Responder {
    pub(crate) async fn start(answer: Bytes) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let inner = Arc::new(Inner { answer: Mutex::new(answer), asked: Mutex::default() });
        let shared = inner.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { url, inner, _serving: AbortOnDropHandle::new(serving) })
    }

    /// What is answered from now on.
    pub(crate) fn answer(&self, answer: Bytes) {
        *self.inner.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// When it was asked, since this was asked for last.
    pub(crate) fn take_asked(&self) -> Vec<Instant> {
        std::mem::take(&mut *self.inner.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An answer of this status and media type.
pub(crate) fn answer(status: &str, media_type: &str, body: &[u8]) -> Bytes {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat().into()
}

async fn serve(mut stream: TcpStream, inner: Arc<Inner>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while head.len() < HEAD_BYTES_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            inner.asked.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            let answer = inner.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            stream.write_all(&answer).await?;
        }
    }
    Ok(())
}

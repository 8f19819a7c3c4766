//! Callers that read too slowly. What they have not read yet lies in memory, so they have to keep a pace.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// The slowest pace at which an answer is taken, in bytes a second.
const BYTES_A_SECOND_MIN: u64 = 8 << 10;

/// A connection that breaks when the other side takes too little for as long as the time limit while something waits to be written.
#[derive(Debug)]
pub(crate) struct Paced<I> {
    io: I,
    limit: Duration,
    /// Since when something waits, as the end of the time that is left for it.
    waiting: Option<Pin<Box<Sleep>>>,
    /// How much was taken since then.
    taken_bytes: u64,
}

impl<I> Paced<I> {
    pub(crate) fn new(io: I, limit: Duration) -> Self {
        Self { io, limit, waiting: None, taken_bytes: 0 }
    }

    /// How much has to be taken within the limit. Looking at single writes instead would let one byte each time be enough.
    fn enough_bytes(&self) -> u64 {
        let bytes = self.limit.as_millis().saturating_mul(BYTES_A_SECOND_MIN.into()) / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        offered: usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(taken)) => {
                self.taken_bytes = self.taken_bytes.saturating_add(taken as u64);
                if taken == offered || self.taken_bytes >= self.enough_bytes() {
                    self.waiting = None;
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let waiting = self.waiting.get_or_insert_with(|| {
                    self.taken_bytes = 0;
                    Box::pin(tokio::time::sleep_until(Instant::now() + self.limit))
                });
                if waiting.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        written
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Paced<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Paced<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.judge(cx, written, bytes.len())
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
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.judge(cx, written, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, time::Duration};

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::{Instant, sleep},
    };

    use super::Paced;

    const LIMIT: Duration = Duration::from_secs(30);
    const ANSWER_BYTES: usize = 1 << 20;

    /// Writes an answer to a caller that reads so many bytes a second, and says what came of it and after how long.
    async fn write_to(bytes_a_second: usize) -> (Result<(), ErrorKind>, Duration) {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let started = Instant::now();
        let reading = tokio::spawn(async move {
            let mut piece = vec![0; bytes_a_second / 10];
            while theirs.read_exact(&mut piece).await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        });
        let mut paced = Paced::new(ours, LIMIT);
        let written = paced.write_all(&[b'x'; ANSWER_BYTES]).await.map_err(|error| error.kind());
        reading.abort();
        (written, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_too_slowly_is_given_up_however_steadily() {
        for bytes_a_second in [10, 1000, 7000] {
            let (written, after) = write_to(bytes_a_second).await;
            assert_eq!(written, Err(ErrorKind::TimedOut), "{bytes_a_second}");
            assert!(after < LIMIT * 2, "{bytes_a_second}: {after:?}");
        }
        let (written, after) = write_to(20_000).await;
        assert_eq!(written, Ok(()));
        assert!(after > LIMIT, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_read_everything_may_rest() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let mut paced = Paced::new(ours, LIMIT);
        let mut event = [0; 6000];
        for _ in 0..3 {
            let (written, read) = tokio::join!(paced.write_all(&[b'x'; 6000]), theirs.read_exact(&mut event));
            assert!(written.is_ok() && read.is_ok());
            sleep(LIMIT * 2).await;
        }
    }
}

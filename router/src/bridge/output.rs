//! The client's output: whole lines, written by one task, and nothing but protocol.

use std::io;

use bytes::Bytes;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt, BufWriter},
    sync::mpsc,
};

/// Lines that may wait for a client that reads slowly. Beyond them the requests wait, and with them the router.
const LINES_MAX: usize = 32;

/// Where everything that the client shall read is put.
#[derive(Debug, Clone)]
pub(super) struct Output {
    lines: mpsc::Sender<Bytes>,
}

/// The lines that wait to be written.
pub(super) type Queue = mpsc::Receiver<Bytes>;

impl Output {
    pub(super) fn new() -> (Self, Queue) {
        let (lines, queue) = mpsc::channel(LINES_MAX);
        (Self { lines }, queue)
    }

    /// Writes one message, which must not contain a newline. A closed output is noticed by the writer, which then ends the bridge.
    pub(super) async fn line(&self, message: impl Into<Bytes>) {
        _ = self.lines.send(message.into()).await;
    }

    /// Writes one message if there is room at once; says whether there was.
    pub(super) fn line_now(&self, message: impl Into<Bytes>) -> bool {
        self.lines.try_send(message.into()).is_ok()
    }
}

/// Writes lines until nobody is left who could send one. Flushed whenever no further line waits.
pub(super) async fn write(output: impl AsyncWrite + Unpin, mut queue: Queue) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(64 * 1024, output);
    while let Some(line) = queue.recv().await {
        output.write_all(&line).await?;
        output.write_all(b"\n").await?;
        if queue.is_empty() {
            output.flush().await?;
        }
    }
    output.shutdown().await
}

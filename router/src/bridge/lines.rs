//! The client's input as lines of bounded length.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// What one line of the input was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The bytes of a line that is not blank, without its end.
    Message(Bytes),
    /// The line passed the limit. It is told once, at the limit; the rest of the line is skipped without being kept.
    TooLong,
}

/// Cuts an input into lines.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: BytesMut,
    bytes_max: usize,
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R, bytes_max: usize) -> Self {
        Self { input: BufReader::with_capacity(64 * 1024, input), line: BytesMut::new(), bytes_max, skipping: false }
    }

    /// The next line; `None` at the end of the input. Nothing is lost when the future is dropped while it waits.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                // A last line without a newline is complete all the same: nothing can follow it.
                return Ok(self.take().map(Line::Message));
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..newline.unwrap_or(available.len())];
            let used = newline.map_or(available.len(), |at| at + 1);
            let too_long = !self.skipping && self.line.len() + part.len() > self.bytes_max;
            if too_long {
                self.line = BytesMut::new();
            } else if !self.skipping {
                self.line.extend_from_slice(part);
            }
            self.input.consume(used);
            self.skipping = newline.is_none() && (self.skipping || too_long);
            if too_long {
                return Ok(Some(Line::TooLong));
            }
            if newline.is_some()
                && let Some(message) = self.take()
            {
                return Ok(Some(Line::Message(message)));
            }
        }
    }

    /// What was gathered, unless it is blank. The carriage return of a CRLF belongs to the line's end.
    fn take(&mut self) -> Option<Bytes> {
        let mut line = self.line.split().freeze();
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        (!line.trim_ascii().is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::{Line, Lines};

    /// All lines of `input`, which arrives in pieces of `piece` bytes.
    async fn lines_of(input: &[u8], piece: usize, bytes_max: usize) -> Vec<Line> {
        let (mut near, far) = tokio::io::duplex(64);
        let write = async {
            for part in input.chunks(piece) {
                near.write_all(part).await.expect("the reader stays");
            }
            drop(near);
        };
        let read = async {
            let mut lines = Lines::new(far, bytes_max);
            let mut all = Vec::new();
            while let Some(line) = lines.next().await.expect("a duplex has no errors") {
                all.push(line);
            }
            all
        };
        tokio::join!(write, read).1
    }

    fn message(text: &'static str) -> Line {
        Line::Message(text.into())
    }

    #[tokio::test]
    async fn lines_are_the_same_however_the_input_is_cut() {
        for piece in 1..20 {
            let lines = lines_of(b"{\"a\": 1}\r\n\n  \n[2]\n{\"last\":3}", piece, 100).await;
            assert_eq!(lines, [message("{\"a\": 1}"), message("[2]"), message("{\"last\":3}")], "pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_told_once_and_the_next_one_is_read() {
        for piece in 1..20 {
            let lines =
                lines_of(b"ten bytes.\neleven byte\nmuch more than eleven bytes\nok\nand no end of it", piece, 10)
                    .await;
            let expected = [message("ten bytes."), Line::TooLong, Line::TooLong, message("ok"), Line::TooLong];
            assert_eq!(lines, expected, "pieces of {piece}");
        }
    }
}

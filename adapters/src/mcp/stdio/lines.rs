//! Lines of a pipe, each with a largest size that is enforced while it is read.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::room;

/// How much is read at once. An answer keeps alive the piece of the buffer that it lies in.
const READ_BYTES: usize = 32 * 1024;
/// With less room than this nothing is read any more before there is more room.
const ROOM_LEAST: usize = 4 * 1024;

/// The lines that come from `R`.
pub(super) struct Lines<R> {
    from: R,
    buffer: BytesMut,
    /// Up to here there is no end of a line in the buffer.
    searched: usize,
    line_bytes_max: usize,
}

/// Why there is no further line.
#[derive(Debug)]
pub(super) enum LineError {
    /// It is longer than it may be; the rest of it was not read.
    TooLong,
    /// Nothing more comes. What came after the last end of a line is no line.
    Ended,
    /// It cannot be read from.
    Broken(io::Error),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(from: R, line_bytes_max: usize) -> Self {
        Self { from, buffer: BytesMut::new(), searched: 0, line_bytes_max }
    }

    /// The next line, without its end. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Bytes, LineError> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.take(self.searched + length);
                return if line.len() > self.line_bytes_max { Err(LineError::TooLong) } else { Ok(line) };
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > self.line_bytes_max {
                return Err(LineError::TooLong);
            }
            self.make_room();
            match self.from.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(LineError::Ended),
                Ok(_) => {}
                Err(error) => return Err(LineError::Broken(error)),
            }
        }
    }

    /// Reads on and forgets what comes, until nothing more does.
    pub(super) async fn drain(&mut self) {
        let mut forgotten = vec![0; READ_BYTES];
        while self.from.read(&mut forgotten).await.is_ok_and(|read| read > 0) {}
    }

    fn take(&mut self, length: usize) -> Bytes {
        let mut line = self.buffer.split_to(length + 1);
        self.searched = 0;
        line.truncate(length);
        if length > READ_BYTES {
            // The room that one long line needed is given back with it.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        line.freeze()
    }

    fn make_room(&mut self) {
        let length = self.buffer.len();
        if self.buffer.capacity() - length < ROOM_LEAST {
            let more = if length < READ_BYTES { READ_BYTES } else { ROOM_LEAST };
            room::make(&mut self.buffer, more, self.line_bytes_max.saturating_add(READ_BYTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineError, Lines, READ_BYTES};

    async fn all(text: &[u8], line_bytes_max: usize) -> (Vec<Vec<u8>>, LineError) {
        let (mut lines, mut found) = (Lines::new(text, line_bytes_max), Vec::new());
        loop {
            match lines.next().await {
                Ok(line) => found.push(line.to_vec()),
                Err(end) => return (found, end),
            }
        }
    }

    #[tokio::test]
    async fn lines_come_whole_whatever_their_length() {
        for lengths in
            [vec![0, 1, 2], vec![READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3], vec![1 << 20, 0, 5 << 20, 7]]
        {
            let wanted: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![b'x'; length]).collect();
            let text: Vec<u8> = wanted.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect();
            let (found, end) = all(&text, 5 << 20).await;
            assert!(found == wanted && matches!(end, LineError::Ended), "{lengths:?}: {end:?}");
        }
    }

    #[tokio::test]
    async fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        for (length, fits) in [(100_000, true), (100_001, false)] {
            let text = [vec![b'x'; length], vec![b'\n']].concat();
            let (found, end) = all(&text, 100_000).await;
            assert_eq!((found.len() == 1, matches!(end, LineError::TooLong)), (fits, !fits), "{length}");
        }
    }

    #[tokio::test]
    async fn what_has_no_end_of_a_line_is_no_line() {
        let (found, end) = all(b"one\ntwo", 100).await;
        assert!(found == [b"one"] && matches!(end, LineError::Ended));
    }

    #[tokio::test]
    async fn a_line_without_end_costs_no_more_memory_than_the_limit() {
        const LIMIT: usize = 3 << 20;
        let mut lines = Lines::new(tokio::io::repeat(0), LIMIT);
        assert!(matches!(lines.next().await, Err(LineError::TooLong)));
        assert!(lines.buffer.capacity() <= LIMIT + READ_BYTES, "{} bytes", lines.buffer.capacity());
    }

    #[tokio::test]
    async fn the_room_for_a_long_line_is_given_back() {
        let text = [vec![b'x'; 1 << 20], b"\nshort\n".to_vec()].concat();
        let mut lines = Lines::new(&text[..], 2 << 20);
        lines.next().await.expect("the long one");
        assert!(lines.buffer.capacity() <= READ_BYTES, "{} bytes", lines.buffer.capacity());
        assert_eq!(lines.next().await.expect("the short one"), "short");
    }
}

//! Server-sent events, read as they arrive (WHATWG HTML, "Server-sent events", "Parsing an event stream").

use std::{collections::VecDeque, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::room;

/// Room for a line that is kept for the next one. A longer line becomes the data itself, without being copied.
const LINE_BYTES_KEPT: usize = 16 * 1024;
/// The longest id that is taken up again at: it stands in the head of a request.
const ID_BYTES_MAX: usize = 1024;

/// An event grew beyond the limit.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

/// The data of the last event of a whole stream: the answer, after whatever was told on the way.
#[must_use]
pub fn last_event(stream: &[u8]) -> Option<Bytes> {
    let mut parser = Parser::new(stream.len());
    parser.push(stream).ok()?;
    parser.ready.pop_back()
}

/// Takes a stream apart. Memory is bounded by the limit for one event.
#[derive(Debug)]
pub struct Parser {
    bytes_max: usize,
    /// The line that is still arriving.
    line: BytesMut,
    /// The lines of `data` of the event that is still arriving, each with its newline.
    data: BytesMut,
    /// Whether the event's type is one that carries messages.
    is_message: bool,
    /// The last byte was a carriage return, so that a line feed now would be the second half of the same line end.
    after_return: bool,
    first_line: bool,
    id_seen: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
    ready: VecDeque<Bytes>,
}

impl Parser {
    /// A parser at the beginning of a stream.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            line: BytesMut::new(),
            data: BytesMut::new(),
            is_message: true,
            after_return: false,
            first_line: true,
            id_seen: None,
            last_id: None,
            retry: None,
            ready: VecDeque::new(),
        }
    }

    /// Takes the next piece of the stream.
    ///
    /// # Errors
    /// When an event grows beyond the limit; the parser is of no use then.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), TooLarge> {
        if self.after_return && !piece.is_empty() {
            self.after_return = false;
            piece = piece.strip_prefix(b"\n").unwrap_or(piece);
        }
        while let Some(at) = piece.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            self.gather(&piece[..at])?;
            self.end_line();
            let (end, rest) = (piece[at], &piece[at + 1..]);
            piece = if end == b'\r' {
                self.after_return = rest.is_empty();
                rest.strip_prefix(b"\n").unwrap_or(rest)
            } else {
                rest
            };
        }
        self.gather(piece)
    }

    /// The data of the next event that is complete and not empty.
    #[allow(clippy::should_implement_trait, reason = "more may come after a `None`")]
    pub fn next(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// The id of the last complete event that named one: where a lost stream can be taken up again.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server asks to wait before a reconnection.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn gather(&mut self, part: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + self.data.len() + part.len() > self.bytes_max {
            return Err(TooLarge);
        }
        let room_max = self.room_max();
        room::make(&mut self.line, part.len(), room_max);
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// With the newline after the last line of data.
    fn room_max(&self) -> usize {
        self.bytes_max.saturating_add(1)
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.first_line) && line.starts_with(b"\xEF\xBB\xBF") {
            line.advance(3);
        }
        if line.is_empty() {
            self.end_event();
        } else {
            let name_end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let rest = line[name_end..].strip_prefix(b":").unwrap_or_default();
            let value_length = rest.strip_prefix(b" ").unwrap_or(rest).len();
            let value_at = line.len() - value_length;
            if value_length > LINE_BYTES_KEPT && self.data.is_empty() && &line[..name_end] == b"data" {
                line.advance(value_at);
                room::make(&mut line, 1, self.room_max());
                line.put_u8(b'\n');
                self.data = line;
                return;
            }
            self.field(&line[..name_end], &line[value_at..]);
        }
        if line.capacity() <= LINE_BYTES_KEPT {
            // The allocation serves the next line.
            line.clear();
            self.line = line;
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"data" => {
                let room_max = self.room_max();
                room::make(&mut self.data, value.len() + 1, room_max);
                self.data.extend_from_slice(value);
                self.data.put_u8(b'\n');
            }
            b"event" => self.is_message = value.is_empty() || value == b"message",
            b"id" if !value.contains(&0) => {
                let id = if value.len() > ID_BYTES_MAX { "".into() } else { String::from_utf8_lossy(value) };
                self.id_seen = Some(id.into_owned());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry =
                    std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).map(Duration::from_millis);
            }
            // A comment (the name is empty) or a field that the standard does not know.
            _ => {}
        }
    }

    fn end_event(&mut self) {
        if let Some(id) = self.id_seen.take() {
            self.last_id = Some(id).filter(|id| !id.is_empty());
        }
        let mut data = std::mem::take(&mut self.data);
        data.truncate(data.len().saturating_sub(1));
        if std::mem::replace(&mut self.is_message, true) && !data.is_empty() {
            self.ready.push_back(data.freeze());
        }
    }
}

#[cfg(test)]
mod tests;

//! Where one HTTP/1.1 request ends and the next one begins, and which requests two servers could read differently.
//!
//! The HTTP library reads some heads more kindly than others do: a length beside chunks, a line that ends without a carriage return.
//! Behind a proxy that reads them in another way, one caller's bytes could become part of another caller's request (RFC 9112, section
//! 11.2). So the bytes are followed here before the library sees them, and only what has one meaning passes. Nothing is kept but where
//! in the message the next byte stands.

/// What is known at one place of a connection's bytes.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    /// The name or the value that is being read, as far as it could matter.
    word: Word,
    length: Option<u64>,
    is_chunked: bool,
}

/// Why the bytes are refused, and from which one on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// The first byte that must not pass.
    pub(super) at: usize,
    /// Whether it stands in a head; else in a body.
    pub(super) in_head: bool,
    /// What is wrong.
    pub(super) why: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a request line. Empty lines are skipped there (RFC 9112, section 2.2).
    Between,
    BetweenEnd,
    /// A line of which only its end matters: the request line, and most fields' values.
    Line,
    LineEnd,
    FieldStart,
    Name,
    Length,
    Coding,
    HeadEnd,
    Body(u64),
    Size {
        value: u64,
        digits: bool,
    },
    Extension {
        size: u64,
    },
    SizeEnd {
        size: u64,
    },
    Chunk(u64),
    ChunkEnd,
    ChunkEnded,
    TrailerStart,
    Trailer,
    TrailerEnd,
    TrailersEnd,
}

const BARE_LF: &str = "a line ends without CR";
const BARE_CR: &str = "a CR that ends no line";
const FOLDED: &str = "a folded line";
const TWO_LENGTHS: &str = "Content-Length twice";
const BAD_LENGTH: &str = "a Content-Length that is no number";
const TWO_CODINGS: &str = "Transfer-Encoding twice";
const BAD_CODING: &str = "a Transfer-Encoding other than chunked";
const BOTH: &str = "Content-Length beside Transfer-Encoding";
const BAD_CHUNK: &str = "a broken chunk";

impl Framing {
    pub(super) fn new() -> Self {
        Self { state: State::Between, word: Word::default(), length: None, is_chunked: false }
    }

    /// Follows the next bytes of the connection. After a fault nothing more may be followed.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut at = 0;
        while at < bytes.len() {
            // Most bytes stand in bodies and in lines that say nothing about the body: those are stepped over together.
            let rest = &bytes[at..];
            at += match &mut self.state {
                State::Body(left) | State::Chunk(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= length as u64;
                    length
                }
                State::Line | State::Extension { .. } | State::Trailer => {
                    memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())
                }
                _ => 0,
            };
            match self.state {
                State::Body(0) => self.state = State::Between,
                State::Chunk(0) => self.state = State::ChunkEnd,
                _ => {
                    let Some(&byte) = bytes.get(at) else { break };
                    let in_head = self.is_in_head();
                    self.state = self.step(byte).map_err(|why| Fault { at, in_head, why })?;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        if byte == b'\n' && !self.state.ends_with_lf() {
            return Err(BARE_LF);
        }
        Ok(match (self.state, byte) {
            (State::Between, b'\r') => State::BetweenEnd,
            (State::Between, _) => State::Line,
            (State::BetweenEnd, b'\n') => State::Between,
            (State::Line, b'\r') => State::LineEnd,
            (State::Line, _) => State::Line,
            (State::LineEnd, b'\n') => State::FieldStart,
            (State::FieldStart, b'\r') => State::HeadEnd,
            (State::FieldStart, b' ' | b'\t') => return Err(FOLDED),
            (State::FieldStart, _) => {
                self.word = Word::default();
                self.word.push(byte);
                State::Name
            }
            (State::Name, b':') => self.named()?,
            // A line without a colon: the library refuses it.
            (State::Name, b'\r') => State::LineEnd,
            (State::Name, _) => {
                self.word.push(byte);
                State::Name
            }
            (State::Length, b'\r') => {
                self.length = Some(self.word.number().ok_or(BAD_LENGTH)?);
                State::LineEnd
            }
            (State::Coding, b'\r') => {
                if !self.word.is(b"chunked") {
                    return Err(BAD_CODING);
                }
                self.is_chunked = true;
                State::LineEnd
            }
            (State::Length, _) => {
                self.word.push_value(byte).ok_or(BAD_LENGTH)?;
                State::Length
            }
            (State::Coding, _) => {
                self.word.push_value(byte).ok_or(BAD_CODING)?;
                State::Coding
            }
            (State::HeadEnd, b'\n') => match (self.length.take(), std::mem::take(&mut self.is_chunked)) {
                (_, true) => State::Size { value: 0, digits: false },
                (None | Some(0), false) => State::Between,
                (Some(length), false) => State::Body(length),
            },
            (State::Size { value, .. }, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).expect("a hexadecimal digit").into();
                let value = value.checked_mul(16).and_then(|value| value.checked_add(digit)).ok_or(BAD_CHUNK)?;
                State::Size { value, digits: true }
            }
            (State::Size { value: size, digits: true }, b'\r') | (State::Extension { size }, b'\r') => {
                State::SizeEnd { size }
            }
            (State::Size { value: size, digits: true }, b';' | b' ' | b'\t') | (State::Extension { size }, _) => {
                State::Extension { size }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeEnd { size }, b'\n') => State::Chunk(size),
            (State::ChunkEnd, b'\r') => State::ChunkEnded,
            (State::ChunkEnded, b'\n') => State::Size { value: 0, digits: false },
            (State::TrailerStart, b'\r') => State::TrailersEnd,
            (State::TrailerStart, b' ' | b'\t') => return Err(FOLDED),
            (State::Trailer, b'\r') => State::TrailerEnd,
            (State::TrailerStart | State::Trailer, _) => State::Trailer,
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            (State::TrailersEnd, b'\n') => State::Between,
            (State::Size { .. } | State::ChunkEnd | State::ChunkEnded, _) => return Err(BAD_CHUNK),
            (_, _) => return Err(BARE_CR),
        })
    }

    /// A field's name has ended.
    fn named(&mut self) -> Result<State, &'static str> {
        let (is_length, is_coding) = (self.word.is(b"content-length"), self.word.is(b"transfer-encoding"));
        self.word = Word::default();
        match (is_length, is_coding) {
            (true, _) if self.length.is_some() => Err(TWO_LENGTHS),
            (_, true) if self.is_chunked => Err(TWO_CODINGS),
            (true, _) if self.is_chunked => Err(BOTH),
            (_, true) if self.length.is_some() => Err(BOTH),
            (true, _) => Ok(State::Length),
            (_, true) => Ok(State::Coding),
            (false, false) => Ok(State::Line),
        }
    }

    fn is_in_head(&self) -> bool {
        matches!(
            self.state,
            State::Between
                | State::BetweenEnd
                | State::Line
                | State::LineEnd
                | State::FieldStart
                | State::Name
                | State::Length
                | State::Coding
                | State::HeadEnd
        )
    }
}

impl State {
    /// Whether a CR stands right before the next byte, so that LF ends a line.
    fn ends_with_lf(self) -> bool {
        matches!(
            self,
            Self::BetweenEnd
                | Self::LineEnd
                | Self::HeadEnd
                | Self::SizeEnd { .. }
                | Self::ChunkEnded
                | Self::TrailerEnd
                | Self::TrailersEnd
        )
    }
}

/// As many bytes as the longest word that matters has, and room to see that another one is longer.
const WORD_BYTES_MAX: usize = 20;

/// A short word, in lower case.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; WORD_BYTES_MAX],
    length: usize,
    /// White space came after it.
    ended: bool,
}

impl Word {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
        }
        self.length = (self.length + 1).min(WORD_BYTES_MAX + 1);
    }

    /// Adds a byte of a value that is one word with white space around it; `None` when it is more.
    fn push_value(&mut self, byte: u8) -> Option<()> {
        match byte {
            b' ' | b'\t' => self.ended = self.length > 0,
            _ if self.ended || self.length >= WORD_BYTES_MAX => return None,
            _ => self.push(byte),
        }
        Some(())
    }

    fn is(&self, word: &[u8]) -> bool {
        self.bytes.get(..self.length) == Some(word)
    }

    fn number(&self) -> Option<u64> {
        let digits = self.bytes.get(..self.length)?;
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
    }
}

#[cfg(test)]
mod tests;

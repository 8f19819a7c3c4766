//! Reads JSON without losing a digit of it, and with the members of every object in order.

use std::borrow::Cow;

use super::{DEPTH_MAX, Uncacheable};

pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// As it is spelled.
    Number(&'a str),
    /// Without quotes and escapes.
    Text(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    /// In the order of RFC 8785, no name twice.
    Object(Vec<Member<'a>>),
}

pub(super) struct Member<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: Value<'a>,
}

/// Reads one JSON value and nothing beside it.
pub(super) fn read(bytes: &[u8]) -> Result<Value<'_>, Uncacheable> {
    let text = std::str::from_utf8(bytes).map_err(|error| Uncacheable::NotJson { at: error.valid_up_to() })?;
    let mut reader = Reader { text, at: 0 };
    reader.white_space();
    let value = reader.value(0)?;
    reader.white_space();
    if reader.at == text.len() { Ok(value) } else { Err(reader.wrong()) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, Uncacheable> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, Uncacheable> {
        let mut members = Vec::new();
        let mut more = self.enter(depth, b'}')?;
        while more {
            self.white_space();
            let name = self.string()?;
            self.white_space();
            self.take(b':')?;
            self.white_space();
            members.push(Member { name, value: self.value(depth)? });
            more = self.goes_on(b'}')?;
        }
        // RFC 8785, section 3.2.3: by UTF-16 code units, which is not the order of the bytes.
        members.sort_unstable_by(|one, other| one.name.encode_utf16().cmp(other.name.encode_utf16()));
        if members.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(Uncacheable::Twice);
        }
        Ok(Value::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, Uncacheable> {
        let mut values = Vec::new();
        let mut more = self.enter(depth, b']')?;
        while more {
            self.white_space();
            values.push(self.value(depth)?);
            more = self.goes_on(b']')?;
        }
        Ok(Value::Array(values))
    }

    /// Steps into an array or object, and over its end if it is empty; says whether it is not.
    fn enter(&mut self, depth: usize, end: u8) -> Result<bool, Uncacheable> {
        if depth > DEPTH_MAX {
            return Err(Uncacheable::TooDeep);
        }
        self.at += 1;
        self.white_space();
        let is_empty = self.peek() == Some(end);
        self.at += usize::from(is_empty);
        Ok(!is_empty)
    }

    /// Steps over a comma or the end; says which of them it was.
    fn goes_on(&mut self, end: u8) -> Result<bool, Uncacheable> {
        self.white_space();
        match self.peek() {
            Some(b',') => self.at += 1,
            _ => return self.take(end).map(|()| false),
        }
        Ok(true)
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Uncacheable> {
        self.take(b'"')?;
        let start = self.at;
        let mut unescaped = String::new();
        // What is plain text from here on is not yet in `unescaped`.
        let mut plain = start;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    unescaped.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    unescaped.push(self.escaped()?);
                    plain = self.at;
                }
                Some(0..=0x1f) | None => return Err(self.wrong()),
                Some(_) => self.at += 1,
            }
        }
        let rest = &self.text[plain..self.at];
        self.at += 1;
        if plain == start {
            return Ok(Cow::Borrowed(rest));
        }
        unescaped.push_str(rest);
        Ok(Cow::Owned(unescaped))
    }

    /// What an escape stands for; the backslash is behind.
    fn escaped(&mut self) -> Result<char, Uncacheable> {
        let character = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.code_point();
            }
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        Ok(character)
    }

    fn code_point(&mut self) -> Result<char, Uncacheable> {
        let unit = self.code_unit()?;
        if let Some(character) = char::from_u32(unit.into()) {
            return Ok(character);
        }
        if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            return Err(Uncacheable::LoneSurrogate);
        }
        self.at += 2;
        let pair = [unit, self.code_unit()?];
        char::decode_utf16(pair).next().and_then(Result::ok).ok_or(Uncacheable::LoneSurrogate)
    }

    fn code_unit(&mut self) -> Result<u16, Uncacheable> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(|| self.wrong())?;
            unit = unit << 4 | digit as u16;
            self.at += 1;
        }
        Ok(unit)
    }

    fn number(&mut self) -> Result<Value<'a>, Uncacheable> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Value::Number(&self.text[start..self.at]))
    }

    fn digits(&mut self) -> Result<(), Uncacheable> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.wrong()) } else { Ok(()) }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Uncacheable> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong());
        }
        self.at += word.len();
        Ok(value)
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), Uncacheable> {
        if self.peek() != Some(byte) {
            return Err(self.wrong());
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self) -> Uncacheable {
        Uncacheable::NotJson { at: self.at }
    }
}

//! What is judged is what is sent: a request is valid JSON, not too deep, not too many values, and no member stands in it twice.
//!
//! Parsers differ on what a second member of the same name means, so with one of them the router could judge another request than the
//! downstream carries out. Bounds keep small bodies from becoming large work.

use std::{borrow::Cow, collections::HashSet};

/// How deep arrays and objects may nest.
const DEPTH_MAX: usize = 128;
/// How many values one request may hold.
const VALUES_MAX: usize = 100_000;
/// Up to how many members of an object are compared one by one.
const COMPARED_MAX: usize = 16;

/// Why a request is refused before anybody looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not UTF-8.
    NotUtf8,
    /// It is not JSON, from this byte on.
    Syntax { at: usize },
    /// It nests too deeply.
    TooDeep,
    /// It holds too many values.
    TooMany,
    /// An object has two members of this name.
    Twice { name: String },
}

impl Fault {
    /// What is wrong, and what is right.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::NotUtf8 => "the body is not UTF-8".to_owned(),
            Self::Syntax { at } => format!("the body is not JSON (byte {at})"),
            Self::TooDeep => format!("arrays and objects nest deeper than {DEPTH_MAX} levels"),
            Self::TooMany => format!("the request holds more than {VALUES_MAX} values: ask for less at once"),
            Self::Twice { name } => {
                let short: String = name.chars().take(64).collect();
                format!("the member {short:?} stands twice in one object: send it once")
            }
        }
    }
}

/// Checks a whole body and gives it back as text.
pub(crate) fn check(body: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| Fault::NotUtf8)?;
    let mut scanner = Scanner { text, bytes: body, at: 0, values: 0, keys: Vec::new() };
    scanner.white_space();
    scanner.value(0)?;
    scanner.white_space();
    if scanner.at == body.len() { Ok(text) } else { Err(scanner.syntax()) }
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    values: usize,
    /// The members of the objects that are open, the innermost last.
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Scanner<'a> {
    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Fault::TooMany);
        }
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.syntax()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Fault> {
        self.enter(depth)?;
        let first_key = self.keys.len();
        let mut many = HashSet::new();
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            self.white_space();
            let key = self.string()?;
            let key = self.unescaped(key)?;
            self.remember(first_key, &mut many, key)?;
            self.white_space();
            self.take(b':')?;
            self.white_space();
            self.value(depth)?;
            self.white_space();
            match self.next() {
                Some(b',') => {}
                Some(b'}') => break,
                _ => return Err(self.syntax_before()),
            }
        }
        self.keys.truncate(first_key);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        self.enter(depth)?;
        if self.closes(b']') {
            return Ok(());
        }
        loop {
            self.white_space();
            self.value(depth)?;
            self.white_space();
            match self.next() {
                Some(b',') => {}
                Some(b']') => return Ok(()),
                _ => return Err(self.syntax_before()),
            }
        }
    }

    fn enter(&mut self, depth: usize) -> Result<(), Fault> {
        self.at += 1;
        if depth > DEPTH_MAX { Err(Fault::TooDeep) } else { Ok(()) }
    }

    /// Steps over the end of an empty array or object.
    fn closes(&mut self, end: u8) -> bool {
        self.white_space();
        let closes = self.peek() == Some(end);
        self.at += usize::from(closes);
        closes
    }

    fn remember(&mut self, first_key: usize, many: &mut HashSet<Cow<'a, str>>, key: Cow<'a, str>) -> Result<(), Fault> {
        let open = &self.keys[first_key..];
        let is_new = if open.len() < COMPARED_MAX {
            !open.contains(&key)
        } else {
            if many.is_empty() {
                many.extend(open.iter().cloned());
            }
            many.insert(key.clone())
        };
        if !is_new {
            return Err(Fault::Twice { name: key.into_owned() });
        }
        if open.len() < COMPARED_MAX {
            self.keys.push(key);
        }
        Ok(())
    }

    /// Steps over a string and says where its inside stands.
    fn string(&mut self) -> Result<(usize, usize), Fault> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            match self.next() {
                Some(b'"') => return Ok((start, self.at - 1)),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => self.escaped_character()?,
                    _ => return Err(self.syntax_before()),
                },
                Some(0x00..=0x1f) | None => return Err(self.syntax_before()),
                Some(_) => {}
            }
        }
    }

    /// Steps over what follows `\u`. Half of a surrogate pair is no character: parsers differ on it, and a server that gives up on it
    /// may hang up on a connection that many callers share.
    fn escaped_character(&mut self) -> Result<(), Fault> {
        match self.code_unit()? {
            0xd800..=0xdbff if self.bytes[self.at..].starts_with(b"\\u") => {
                self.at += 2;
                if matches!(self.code_unit()?, 0xdc00..=0xdfff) { Ok(()) } else { Err(self.syntax_before()) }
            }
            0xd800..=0xdfff => Err(self.syntax_before()),
            _ => Ok(()),
        }
    }

    fn code_unit(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let Some(digit) = self.next().and_then(|byte| char::from(byte).to_digit(16)) else {
                return Err(self.syntax_before());
            };
            unit = unit << 4 | digit;
        }
        Ok(unit)
    }

    fn unescaped(&self, (start, end): (usize, usize)) -> Result<Cow<'a, str>, Fault> {
        let inner = &self.text[start..end];
        if !inner.contains('\\') {
            return Ok(Cow::Borrowed(inner));
        }
        let quoted = &self.text[start - 1..=end];
        serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| Fault::Syntax { at: start })
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.next() {
            Some(b'0') => {}
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.syntax_before()),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.some_digits()?;
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        let before = self.at;
        self.digits();
        if self.at == before { Err(self.syntax()) } else { Ok(()) }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    fn syntax(&self) -> Fault {
        Fault::Syntax { at: self.at }
    }

    /// The byte that was just stepped over is the wrong one.
    fn syntax_before(&self) -> Fault {
        Fault::Syntax { at: self.at - 1 }
    }
}

#[cfg(test)]
mod tests;

//! JSON objects as text: looking at the members of one, and changing a few of them while every other byte stays as it is.

use std::borrow::Cow;

/// The members of one JSON object, as places in its text. Values are not looked into.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    text: &'a str,
    members: Vec<Member>,
    /// Where the closing brace stands.
    close: usize,
}

/// Where one member stands: white space, `"key"`, `:`, value, white space.
#[derive(Debug, Clone, Copy)]
struct Member {
    lead: usize,
    key: (usize, usize),
    value: (usize, usize),
    end: usize,
}

impl<'a> Object<'a> {
    /// Finds the members of `text`, which must be a valid JSON object; `None` when it is not an object.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
        cursor.skip_white_space();
        cursor.expect(b'{')?;
        let mut members = Vec::new();
        loop {
            let lead = cursor.at;
            cursor.skip_white_space();
            if members.is_empty() && cursor.peek() == Some(b'}') {
                return Some(Self { text, members, close: cursor.at });
            }
            let key = cursor.value()?;
            cursor.skip_white_space();
            cursor.expect(b':')?;
            cursor.skip_white_space();
            let value = cursor.value()?;
            cursor.skip_white_space();
            members.push(Member { lead, key, value, end: cursor.at });
            match cursor.next()? {
                b',' => {}
                b'}' => return Some(Self { text, members, close: cursor.at - 1 }),
                _ => return None,
            }
        }
    }

    /// The keys and the text of their values, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> + '_ {
        self.members.iter().map(|member| (self.key(member), self.slice(member.value)))
    }

    /// The text of the value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.members.iter().find(|member| self.key(member) == key).map(|member| self.slice(member.value))
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The object with each member as `change` wants it and `added` members put first. Every byte that is not touched stays.
    #[must_use]
    pub fn rewrite(&self, added: &[(&str, &str)], mut change: impl FnMut(&str, &'a str) -> Change) -> String {
        let mut out = String::with_capacity(self.text.len() + 64 * added.len());
        out.push('{');
        for (key, value) in added {
            separate(&mut out);
            push_string(&mut out, key);
            out.push(':');
            out.push_str(value);
        }
        for member in &self.members {
            let value = self.slice(member.value);
            let replacement = match change(&self.key(member), value) {
                Change::Keep => Cow::Borrowed(value),
                Change::Replace(new) => Cow::Owned(new),
                Change::Remove => continue,
            };
            separate(&mut out);
            out.push_str(&self.text[member.lead..member.value.0]);
            out.push_str(&replacement);
            out.push_str(&self.text[member.value.1..member.end]);
        }
        out.push_str(&self.text[self.close..=self.close]);
        out
    }

    fn key(&self, member: &Member) -> Cow<'a, str> {
        let quoted = self.slice(member.key);
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        if inner.contains('\\') {
            serde_json::from_str::<String>(quoted).map_or(Cow::Borrowed(inner), Cow::Owned)
        } else {
            Cow::Borrowed(inner)
        }
    }

    fn slice(&self, (start, end): (usize, usize)) -> &'a str {
        &self.text[start..end]
    }
}

/// What becomes of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// Its value becomes this JSON text.
    Replace(String),
    /// It goes.
    Remove,
}

/// `text` as a JSON string, quotes included.
#[must_use]
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

/// The text that a JSON string stands for; `None` when `raw` is not a string.
#[must_use]
pub fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// The texts of the items of a JSON array, in order. `text` must be valid JSON; `None` when it is no array.
#[must_use]
pub fn items(text: &str) -> Option<Vec<&str>> {
    let mut cursor = Cursor { bytes: text.as_bytes(), at: 0 };
    cursor.skip_white_space();
    cursor.expect(b'[')?;
    let mut items = Vec::new();
    loop {
        cursor.skip_white_space();
        if items.is_empty() && cursor.peek() == Some(b']') {
            return Some(items);
        }
        let (start, end) = cursor.value()?;
        items.push(&text[start..end]);
        cursor.skip_white_space();
        match cursor.next()? {
            b',' => {}
            b']' => return Some(items),
            _ => return None,
        }
    }
}

fn push_string(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a string has a JSON form"));
}

fn separate(out: &mut String) {
    if out.len() > 1 {
        out.push(',');
    }
}

/// A place in JSON text that is known to be valid.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Steps over one value and says where it stood.
    fn value(&mut self) -> Option<(usize, usize)> {
        let start = self.at;
        match self.peek()? {
            b'"' => self.string()?,
            b'{' | b'[' => self.nested()?,
            _ => {
                while !matches!(self.peek(), None | Some(b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\n' | b'\r')) {
                    self.at += 1;
                }
            }
        }
        (self.at > start).then_some((start, self.at))
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.at += 1,
                _ => {}
            }
        }
    }

    fn nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                byte => {
                    self.at += 1;
                    match byte {
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        return Some(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! JSON as text, leaf by leaf: what is not replaced keeps every byte, numbers and the order of members included.

use std::{borrow::Cow, collections::HashMap};

use adapters::json;

/// Deeper than any answer that is read by somebody. What is deeper is not looked into, and so not given on.
const DEPTH_MAX: usize = 256;
/// The same for JSON in a string: all that is in one text is walked on one stack, and whoever calls may choose what that is.
const NESTED_DEPTH_MAX: usize = 64;

/// Looks at each leaf of a JSON text and says what becomes of it.
pub(super) trait Visit {
    /// What is known of a place in the text.
    type Place;
    /// The place of a member, by its key.
    fn member(&mut self, parent: &Self::Place, key: &str) -> Self::Place;
    /// The place of an item.
    fn item(&mut self, parent: &Self::Place, index: usize) -> Self::Place;
    /// Another text for the key of a member.
    fn key(&mut self, parent: &Self::Place, key: &str) -> Option<String>;
    /// Other JSON for a string.
    fn string(&mut self, place: &Self::Place, text: &str) -> Option<String>;
    /// Other JSON for a number, `true` or `false`.
    fn scalar(&mut self, place: &Self::Place, raw: &str) -> Option<String>;
}

/// Why a text was not walked to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no JSON.
    Syntax,
    /// It is deeper than is looked into.
    TooDeep,
}

/// The text with each leaf as `visit` wants it; borrowed where nothing was replaced.
pub(super) fn rewrite<'t, V: Visit>(text: &'t str, root: &V::Place, visit: &mut V) -> Result<Cow<'t, str>, Fault> {
    walked(text, root, visit, DEPTH_MAX)
}

/// The same for a text that stands in another one.
pub(super) fn rewrite_nested<'t, V: Visit>(
    text: &'t str,
    root: &V::Place,
    visit: &mut V,
) -> Result<Cow<'t, str>, Fault> {
    walked(text, root, visit, NESTED_DEPTH_MAX)
}

fn walked<'t, V: Visit>(
    text: &'t str,
    root: &V::Place,
    visit: &mut V,
    depth_max: usize,
) -> Result<Cow<'t, str>, Fault> {
    let mut walk = Walk { text, at: 0, out: String::new(), copied: 0, depth_max, visit };
    walk.white_space();
    walk.value(root, 0)?;
    walk.white_space();
    if walk.at != text.len() {
        return Err(Fault::Syntax);
    }
    if walk.copied == 0 {
        return Ok(Cow::Borrowed(text));
    }
    walk.out.push_str(&text[walk.copied..]);
    Ok(Cow::Owned(walk.out))
}

struct Walk<'t, 'v, V> {
    text: &'t str,
    at: usize,
    /// What was written so far, where something was replaced.
    out: String,
    /// Up to where the text is written.
    copied: usize,
    depth_max: usize,
    visit: &'v mut V,
}

impl<'t, V: Visit> Walk<'t, '_, V> {
    fn value(&mut self, place: &V::Place, depth: usize) -> Result<(), Fault> {
        match self.peek().ok_or(Fault::Syntax)? {
            b'{' => self.object(place, depth + 1),
            b'[' => self.array(place, depth + 1),
            b'"' => {
                let (start, text) = self.quoted()?;
                let new = self.visit.string(place, &text);
                self.replace(start, new);
                Ok(())
            }
            _ => {
                let start = self.at;
                while !matches!(self.peek(), None | Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')) {
                    self.at += 1;
                }
                let raw = &self.text[start..self.at];
                if !is_scalar(raw) {
                    return Err(Fault::Syntax);
                }
                // That there is nothing tells nothing, and most schemas allow it where they allow a value.
                if raw != "null" {
                    let new = self.visit.scalar(place, raw);
                    self.replace(start, new);
                }
                Ok(())
            }
        }
    }

    fn object(&mut self, place: &V::Place, depth: usize) -> Result<(), Fault> {
        if self.opens_empty(b'}', depth)? {
            return Ok(());
        }
        let mut replaced: HashMap<String, usize> = HashMap::new();
        loop {
            self.white_space();
            let (start, key) = self.quoted()?;
            let new = self.visit.key(place, &key).map(|new| {
                // Two keys that look alike now are still two members.
                let same = replaced.entry(new.clone()).or_insert(0);
                *same += 1;
                json::string(&if *same == 1 { new } else { format!("{new} ({same})") })
            });
            self.replace(start, new);
            self.white_space();
            self.take(b':')?;
            self.white_space();
            let member = self.visit.member(place, &key);
            self.value(&member, depth)?;
            self.white_space();
            if self.ends(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, place: &V::Place, depth: usize) -> Result<(), Fault> {
        if self.opens_empty(b']', depth)? {
            return Ok(());
        }
        for index in 0.. {
            self.white_space();
            let item = self.visit.item(place, index);
            self.value(&item, depth)?;
            self.white_space();
            if self.ends(b']')? {
                break;
            }
        }
        Ok(())
    }

    fn opens_empty(&mut self, end: u8, depth: usize) -> Result<bool, Fault> {
        if depth > self.depth_max {
            return Err(Fault::TooDeep);
        }
        self.at += 1;
        self.white_space();
        let is_empty = self.peek() == Some(end);
        self.at += usize::from(is_empty);
        Ok(is_empty)
    }

    fn ends(&mut self, end: u8) -> Result<bool, Fault> {
        let byte = self.peek().ok_or(Fault::Syntax)?;
        self.at += 1;
        if byte == end {
            Ok(true)
        } else if byte == b',' {
            Ok(false)
        } else {
            Err(Fault::Syntax)
        }
    }

    /// Steps over a string: where it starts, and the text that it stands for.
    fn quoted(&mut self) -> Result<(usize, Cow<'t, str>), Fault> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        self.take(b'"')?;
        loop {
            let step = memchr::memchr2(b'"', b'\\', &bytes[self.at..]).ok_or(Fault::Syntax)?;
            self.at += step + 1;
            if bytes[self.at - 1] == b'"' {
                break;
            }
            self.at += 1;
            if self.at >= bytes.len() {
                return Err(Fault::Syntax);
            }
        }
        // Half of a surrogate pair and the like: no text, so nothing that could be looked into.
        let text = json::unquote(&self.text[start..self.at]).ok_or(Fault::Syntax)?;
        Ok((start, text))
    }

    /// Puts JSON in the place of what stands from `start` to here.
    fn replace(&mut self, start: usize, new: Option<String>) {
        if let Some(new) = new {
            self.out.push_str(&self.text[self.copied..start]);
            self.out.push_str(&new);
            self.copied = self.at;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(Fault::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// Whether this is a number or one of the three words; how exactly a number is written is looked at by whoever reads it.
fn is_scalar(raw: &str) -> bool {
    matches!(raw, "true" | "false" | "null")
        || raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
            && raw.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
}

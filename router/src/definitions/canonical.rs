//! Definitions in the one form in which equal ones are the same bytes, for their digest and for the lock file.
//!
//! Members are sorted by name, white space and spellings of strings are gone; a number keeps its spelling, and a member that stands twice
//! stays twice: clients differ on which of the two counts.

use std::{fmt, str::FromStr};

use adapters::json::{self, Object};
use aws_lc_rs::digest::{SHA256, digest};

use super::visible;

/// SHA-256 over a definition in canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of a definition as it came, which must be valid JSON.
    pub(crate) fn of(definition: &str) -> Self {
        let mut out = String::with_capacity(definition.len());
        write(definition, &mut out, None);
        Self(digest(&SHA256, out.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.is_ascii());
        let digits = digits.ok_or(NoDigest)?;
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            let pair = digits[at..at + 2].bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok().filter(|_| pair).ok_or(NoDigest)?;
        }
        Ok(Self(bytes))
    }
}

/// A text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 digits of 0-9 and a-f")]
pub struct NoDigest;

/// The definition on lines of its own, `indent` levels deep, as people review it: what cannot be seen is escaped. It has the same digest.
pub(super) fn pretty(definition: &str, indent: usize) -> String {
    let mut out = String::with_capacity(definition.len() * 2);
    write(definition, &mut out, Some(indent));
    out
}

/// How deep values are looked into; definitions nest less deep, or are not offered.
const DEPTH_MAX: usize = 128;

/// `indent` is none for the form without white space.
fn write(value: &str, out: &mut String, indent: Option<usize>) {
    write_value(value.trim_ascii(), out, indent, 0);
}

fn write_value(value: &str, out: &mut String, indent: Option<usize>, depth: usize) {
    if depth > DEPTH_MAX {
        out.push_str(value);
        return;
    }
    let inner = indent.map(|indent| indent + 1);
    if let Some(object) = Object::parse(value) {
        let mut members: Vec<_> = object.iter().collect();
        // Stable: of two with one name the first stays the first.
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        let items = members.iter().map(|(key, value)| (Some(&**key), *value));
        write_items(('{', '}'), items, out, indent, |out, (key, value)| {
            write_text(key.unwrap_or_default(), out, indent.is_some());
            out.push_str(if indent.is_some() { ": " } else { ":" });
            write_value(value.trim_ascii(), out, inner, depth + 1);
        });
    } else if let Some(items) = json::items(value) {
        write_items(('[', ']'), items.into_iter(), out, indent, |out, item| {
            write_value(item.trim_ascii(), out, inner, depth + 1);
        });
    } else {
        match json::unquote(value) {
            Some(text) => write_text(&text, out, indent.is_some()),
            None => out.push_str(value),
        }
    }
}

fn write_items<T>(
    (open, close): (char, char),
    items: impl Iterator<Item = T>,
    out: &mut String,
    indent: Option<usize>,
    mut one: impl FnMut(&mut String, T),
) {
    out.push(open);
    let mut any = false;
    for item in items {
        if any {
            out.push(',');
        }
        any = true;
        if let Some(indent) = indent {
            new_line(out, indent + 1);
        }
        one(out, item);
    }
    if let Some(indent) = indent.filter(|_| any) {
        new_line(out, indent);
    }
    out.push(close);
}

fn new_line(out: &mut String, indent: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", indent));
}

/// `for_people`: with escapes in the place of what cannot be seen.
fn write_text(text: &str, out: &mut String, for_people: bool) {
    let quoted = json::string(text);
    if !for_people {
        out.push_str(&quoted);
        return;
    }
    for c in quoted.chars() {
        if visible::is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Digest, pretty};

    #[test]
    fn equal_definitions_have_one_digest_and_others_another() {
        let one = Digest::of(r#"{"name":"a","inputSchema":{"type":"object"},"n":1.0}"#);
        for same in [
            r#" { "inputSchema" : { "type" : "object" } , "n":1.0,"name":"\u0061"}"#,
            "{\"n\":1.0,\r\n\"name\":\"a\",\"inputSchema\":{\"type\":\"object\"}}",
        ] {
            assert_eq!(Digest::of(same), one, "{same}");
        }
        for other in [
            r#"{"name":"a","inputSchema":{"type":"object"},"n":1}"#,
            r#"{"name":"b","inputSchema":{"type":"object"},"n":1.0}"#,
            r#"{"name":"a","inputSchema":{"type":"object"},"n":1.0,"n":1.0}"#,
            r#"{"name":"a","inputSchema":{"type":"object"}}"#,
            "{\"name\":\"a\u{200b}\",\"inputSchema\":{\"type\":\"object\"},\"n\":1.0}",
            r#"{"name":"a","inputSchema":[{"type":"object"}],"n":1.0}"#,
        ] {
            assert_ne!(Digest::of(other), one, "{other}");
        }
        assert_ne!(Digest::of(r#"{"a":1,"a":2}"#), Digest::of(r#"{"a":2,"a":1}"#));
        assert_ne!(Digest::of(r#"{"a":"\ud800"}"#), Digest::of(r#"{"a":"\ud801"}"#));
    }

    #[test]
    fn people_see_what_is_hidden_and_the_digest_stays() {
        let text = "{\"b\":\"x\u{200b}\u{e0041}\",\"a\":[],\"c\":{\"d\":[1,{}]}}";
        let expected = "{\n  \"a\": [],\n  \"b\": \"x\\u200b\\udb40\\udc41\",\n  \"c\": {\n    \"d\": [\n      1,\n      {}\n    ]\n  }\n}";
        assert_eq!(pretty(text, 0), expected);
        assert_eq!(Digest::of(&pretty(text, 0)), Digest::of(text));
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = Digest::of("{}");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for wrong in ["", "sha256:", "sha256:00", &digest.to_string().to_uppercase(), &digest.to_string()[..70]] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
        assert!(format!("sha256:{}", "+0".repeat(32)).parse::<Digest>().is_err());
        assert!(format!("sha256:é{}", "0".repeat(62)).parse::<Digest>().is_err());
    }

    proptest! {
        #[test]
        fn what_people_review_is_what_is_pinned(text in ".*", number in any::<f64>(), key in ".{0,8}") {
            let value = serde_json::json!({ key.clone(): [text.clone(), number, null, { text: key }] }).to_string();
            prop_assert_eq!(Digest::of(&pretty(&value, 3)), Digest::of(&value));
        }
    }
}

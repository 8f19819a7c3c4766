//! An answer as a person at a terminal would see it: the text of it, whatever it is written in.

use std::{borrow::Cow, cell::OnceCell};

use config::downstream::mainframe::Encoding;
use http::{HeaderMap, header};
use serde_json::Value;

use super::codec::ebcdic;
use crate::credential::Shown;

/// How much of a screen is repeated to a caller.
const CHARACTERS_MAX: usize = 500;

/// The body of an answer, looked at as text or as JSON by who must.
pub(super) struct Screen<'a> {
    body: &'a [u8],
    encoding: Encoding,
    /// What must not be repeated.
    credential: Option<&'a Shown>,
    content_type: Option<&'a str>,
    in_code_page: OnceCell<String>,
    json: OnceCell<Option<Value>>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(
        headers: &'a HeaderMap,
        body: &'a [u8],
        encoding: Encoding,
        credential: Option<&'a Shown>,
    ) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Self { body, encoding, credential, content_type, in_code_page: OnceCell::new(), json: OnceCell::new() }
    }

    /// Its media type without parameters.
    pub(super) fn media_type(&self) -> Option<&'a str> {
        Some(self.content_type?.split(';').next()?.trim())
    }

    /// Whether `text` stands in it, in the code page of the downstream or in ASCII.
    pub(super) fn contains(&self, text: &str) -> bool {
        let wanted = text.as_bytes();
        let plain = self.body.len() >= wanted.len() && self.body.windows(wanted.len()).any(|window| window == wanted);
        plain || self.in_code_page().contains(text)
    }

    /// What stands at a place of it, if it is JSON.
    pub(super) fn json_at(&self, pointer: &str) -> Option<&Value> {
        let read = || serde_json::from_slice(without_mark(self.body)).ok();
        self.json.get_or_init(read).as_ref()?.pointer(pointer)
    }

    /// What a person would read: printable, without markup and without Weir's credential, at most so long. Empty when there is
    /// nothing to read.
    pub(super) fn excerpt(&self) -> String {
        let is_text = |text: &&str| text.chars().all(|character| !character.is_control() || character.is_whitespace());
        let text = match std::str::from_utf8(self.body).ok().filter(is_text) {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Borrowed(self.in_code_page()),
        };
        let is_markup = self.media_type().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        let text = if is_markup { Cow::Owned(without_markup(&text)) } else { text };
        let text = match self.credential {
            Some(credential) => credential.conceal(text),
            None => text,
        };
        readable(&text)
    }

    fn in_code_page(&self) -> &str {
        self.in_code_page.get_or_init(|| ebcdic::to_text(self.body, self.encoding))
    }
}

/// JSON without the mark that some systems write before it, and readers may skip (RFC 8259, section 8.1).
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Runs of space, control and unknown characters become one space.
fn readable(text: &str) -> String {
    let is_gap = |character: char| {
        character.is_whitespace() || character.is_control() || character == char::REPLACEMENT_CHARACTER
    };
    let words = text.split(is_gap).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

fn without_markup(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('<') {
        out.push_str(before);
        out.push(' ');
        rest = behind.split_once('>').map_or("", |(_, behind)| behind);
    }
    out.push_str(rest);
    [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")]
        .into_iter()
        .fold(out, |text, (entity, character)| text.replace(entity, character))
}

#[cfg(test)]
mod tests {
    use config::downstream::mainframe::Encoding;
    use http::{HeaderMap, HeaderValue, header};

    use super::Screen;

    fn excerpt(kind: &'static str, body: &[u8]) -> String {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Screen::new(&headers, body, Encoding::Cp037, None).excerpt()
    }

    #[test]
    fn a_screen_is_read_in_whatever_it_is_written() {
        assert_eq!(excerpt("text/plain", b"  BUSY \r\n\x0b TRY LATER\n"), "BUSY TRY LATER");
        assert_eq!(excerpt("text/html; charset=utf-8", b"<html><p>NOT&nbsp;FOUND &amp; gone</p>"), "NOT FOUND & gone");
        assert_eq!(excerpt("application/octet-stream", b"\xc2\xe4\xe2\xe8\x00\x40"), "BUSY");
        assert_eq!(excerpt("text/plain", b""), "");
        let long = excerpt("text/plain", "ü".repeat(10_000).as_bytes());
        assert_eq!((long.chars().count(), long.chars().last()), (501, Some('…')));
    }

    #[test]
    fn what_it_contains_is_found_in_the_code_page_and_in_ascii() {
        let headers = HeaderMap::new();
        for body in [&b"xx BUSY xx"[..], b"\x00\xc2\xe4\xe2\xe8\xff"] {
            let screen = Screen::new(&headers, body, Encoding::Cp037, None);
            assert!(screen.contains("BUSY") && !screen.contains("busy"));
        }
        let json = Screen::new(&headers, br#"{"rc":"04","a":[1]}"#, Encoding::Cp037, None);
        assert_eq!(json.json_at("/rc"), Some(&"04".into()));
        assert_eq!(json.json_at("/a/0"), Some(&1.into()));
        assert_eq!(json.json_at("/b"), None);
        let marked = Screen::new(&headers, b"\xef\xbb\xbf{\"rc\":4}", Encoding::Cp037, None);
        assert_eq!(marked.json_at("/rc"), Some(&4.into()));
    }
}

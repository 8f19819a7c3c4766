//! Texts as they stand between the quotes of a JSON string, cut where characters and lines end. Nothing is unescaped, so what is cut
//! keeps its bytes, also where it holds half a surrogate pair.

/// The beginning of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken<'a> {
    pub(super) text: &'a str,
    pub(super) characters: usize,
    /// Whether it ends where a line or the whole text does.
    pub(super) is_whole: bool,
}

/// How many characters `raw` stands for.
pub(super) fn count(raw: &str) -> usize {
    if !raw.contains('\\') {
        return raw.chars().count();
    }
    let (mut at, mut characters) = (0, 0);
    while at < raw.len() {
        at += first(&raw[at..]);
        characters += 1;
    }
    characters
}

/// As many whole lines of `raw` as have at most `room` characters; if the first line alone has more, as much of it as fits.
pub(super) fn take(raw: &str, room: usize) -> Taken<'_> {
    let (mut at, mut characters) = (0, 0);
    let mut line = None;
    while at < raw.len() && characters < room {
        let length = first(&raw[at..]);
        let is_break = matches!(&raw[at..at + length], "\\n" | "\\u000a" | "\\u000A");
        at += length;
        characters += 1;
        if is_break {
            line = Some((at, characters));
        }
    }
    let (end, characters, is_whole) = match line {
        _ if at == raw.len() => (at, characters, true),
        Some((end, characters)) => (end, characters, true),
        None => (at, characters, false),
    };
    Taken { text: &raw[..end], characters, is_whole }
}

/// How many bytes the first character has; a pair of escaped surrogates is one.
fn first(raw: &str) -> usize {
    let bytes = raw.as_bytes();
    match bytes.first() {
        None => 0,
        Some(b'\\') if bytes.get(1) == Some(&b'u') => {
            let is_pair = surrogate(raw, 0) == Some(Half::High) && surrogate(raw, 6) == Some(Half::Low);
            raw.len().min(if is_pair { 12 } else { 6 })
        }
        Some(b'\\') => raw.len().min(2),
        Some(_) => raw.chars().next().map_or(0, char::len_utf8),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// Which half of a surrogate pair is escaped at `at`.
fn surrogate(raw: &str, at: usize) -> Option<Half> {
    let digits = raw.get(at..at + 6)?.strip_prefix("\\u")?;
    match u16::from_str_radix(digits, 16).ok()? {
        0xD800..=0xDBFF => Some(Half::High),
        0xDC00..=0xDFFF => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{count, take};

    #[test]
    fn a_character_is_one_however_it_is_written() {
        for (raw, characters) in
            [("", 0), ("aé€🦀", 4), (r"\n\\\u00e9", 3), (r"\ud83e\udd80", 1), (r"\ud83e\ud83e\udd80\udd80", 3)]
        {
            assert_eq!(count(raw), characters, "{raw}");
        }
    }

    #[test]
    fn whole_lines_are_taken_where_one_fits() {
        for (raw, room, text, is_whole) in [
            (r"one\ntwo\nthree", 9, r"one\ntwo\n", true),
            (r"one\ntwo", 7, r"one\ntwo", true),
            (r"one\ntwo", 6, r"one\n", true),
            (r"one\ntwo", 2, "on", false),
            (r"a\ud83e\udd80b", 2, r"a\ud83e\udd80", false),
            (r"\\n", 1, r"\\", false),
            ("", 5, "", true),
        ] {
            let taken = take(raw, room);
            assert_eq!((taken.text, taken.is_whole), (text, is_whole), "{raw} {room}");
            assert_eq!(taken.characters, count(taken.text));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_its_pieces_one_after_the_other(text in "(?s).{0,60}(\n.{0,20}){0,5}", room in 1..30_usize) {
            let quoted = serde_json::to_string(&text).expect("a text has a JSON form");
            let raw = &quoted[1..quoted.len() - 1];
            prop_assert_eq!(count(raw), text.chars().count());
            let (mut rest, mut whole) = (raw, String::new());
            while !rest.is_empty() {
                let taken = take(rest, room);
                prop_assert!(!taken.text.is_empty() && taken.characters <= room);
                let piece: String = serde_json::from_str(&format!("\"{}\"", taken.text)).expect("a JSON string");
                whole.push_str(&piece);
                rest = &rest[taken.text.len()..];
            }
            prop_assert_eq!(whole, text);
        }
    }
}

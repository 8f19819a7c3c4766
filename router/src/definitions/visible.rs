//! Characters that people do not see, or see in another place than where they stand, and a form in which they do.

use std::{borrow::Cow, fmt::Write as _};

/// Whether nobody sees it where it stands: control characters but for tab and line ends, zero-width and bidi characters, tags, variation
/// selectors, fillers.
pub(super) fn is_hidden(c: char) -> bool {
    if matches!(c, '\n' | '\t' | '\r') {
        return false;
    }
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// The text with `⟨U+200B⟩` in the place of each such character. A terminal obeys nothing in it.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| is_hidden(c) || c == '\r') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) || c == '\r' {
            write!(out, "⟨U+{:04X}⟩", u32::from(c)).expect("a string takes what is written to it");
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Hidden characters that have no business where they stand, each once with how often. A selector after an emoji, a joiner between two, and
/// the joiners and marks that some scripts are written with, belong there.
pub(super) fn out_of_place(text: &str) -> Vec<(char, usize)> {
    let mut found: Vec<(char, usize)> = Vec::new();
    if text.is_ascii() && !text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return found;
    }
    let mut before = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if is_hidden(c) && !belongs(before, c, characters.peek().copied()) {
            match found.iter().position(|(known, _)| *known == c) {
                Some(at) => found[at].1 += 1,
                None if found.len() < KINDS_MAX => found.push((c, 1)),
                None => {}
            }
        }
        before = Some(c);
    }
    found
}

/// How many kinds of hidden characters are told of one text.
const KINDS_MAX: usize = 32;

fn belongs(before: Option<char>, c: char, after: Option<char>) -> bool {
    let is_symbol = |c: char| matches!(c, '\u{203c}'..='\u{3299}' | '\u{1f000}'..='\u{1faff}') && !is_hidden(c);
    match c {
        // One selector after a symbol or a keycap's digit; a row of them carries hidden bytes.
        '\u{fe0e}' | '\u{fe0f}' => {
            before.is_some_and(|c| is_symbol(c) || matches!(c, '0'..='9' | '#' | '*' | '©' | '®'))
        }
        '\u{200d}' => {
            (before.is_some_and(|c| is_symbol(c) || c == '\u{fe0f}') && after.is_some_and(is_symbol))
                || (before.is_some_and(needs_joiners) && after.is_some_and(needs_joiners))
        }
        '\u{200c}' => before.is_some_and(needs_joiners) && after.is_some_and(needs_joiners),
        _ => false,
    }
}

/// Arabic and its relatives, and the scripts of India: what a joiner does there is part of the spelling.
fn needs_joiners(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

/// Two scripts in one word, as in a Cyrillic letter among Latin ones: what looks like a known name and is another one.
pub(super) fn mixes_scripts(name: &str) -> Option<(&'static str, &'static str)> {
    let words = name.split(|c: char| !c.is_alphanumeric());
    words.into_iter().find_map(|word| {
        let mut scripts = word.chars().filter_map(script);
        let first = scripts.next()?;
        scripts.find(|script| *script != first).map(|other| (first, other))
    })
}

/// The script of a letter, of those that have letters in common with Latin to the eye.
fn script(c: char) -> Option<&'static str> {
    match c {
        'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' => Some("Latin"),
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Some("Greek"),
        '\u{400}'..='\u{52f}' => Some("Cyrillic"),
        '\u{530}'..='\u{58f}' => Some("Armenian"),
        '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' => Some("Cherokee"),
        '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' => Some("full-width Latin"),
        '\u{1d400}'..='\u{1d7ff}' => Some("mathematical letters"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{mixes_scripts, out_of_place, shown};

    #[test]
    fn nothing_stays_hidden_and_no_terminal_obeys() {
        for (text, expected) in [
            ("plain\n\ttext é ⚠", "plain\n\ttext é ⚠"),
            ("a\u{200b}b", "a⟨U+200B⟩b"),
            ("\u{202e}cod\u{202c}", "⟨U+202E⟩cod⟨U+202C⟩"),
            ("x\u{e0049}\u{e0067}", "x⟨U+E0049⟩⟨U+E0067⟩"),
            ("\x1b[2Jgone\r", "⟨U+001B⟩[2Jgone⟨U+000D⟩"),
            ("\u{9b}31m \u{feff}\u{fe0f}\u{e0100}", "⟨U+009B⟩31m ⟨U+FEFF⟩⟨U+FE0F⟩⟨U+E0100⟩"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn emoji_and_scripts_that_need_joiners_are_left_alone() {
        for harmless in [
            "⚠\u{fe0f} Careful",
            "1\u{fe0f}\u{20e3}",
            "👩\u{200d}💻",
            "🏳\u{fe0f}\u{200d}🌈",
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
        ] {
            assert_eq!(out_of_place(harmless), [], "{harmless}");
        }
        for (text, expected) in [
            ("a\u{200b}b\u{200b}", vec![('\u{200b}', 2)]),
            ("a\u{200d}b", vec![('\u{200d}', 1)]),
            ("⚠\u{fe0f}\u{fe0f}\u{fe01}", vec![('\u{fe0f}', 1), ('\u{fe01}', 1)]),
            ("\x1b[31m", vec![('\u{1b}', 1)]),
            ("\u{202e}", vec![('\u{202e}', 1)]),
            ("🏴\u{e0067}\u{e007f}", vec![('\u{e0067}', 1), ('\u{e007f}', 1)]),
        ] {
            assert_eq!(out_of_place(text), expected, "{text:?}");
        }
    }

    #[test]
    fn names_in_two_scripts_are_told() {
        assert_eq!(mixes_scripts("get_mеrchant"), Some(("Latin", "Cyrillic")));
        assert_eq!(mixes_scripts("get_\u{ff4d}erchant"), Some(("full-width Latin", "Latin")));
        for one in ["get_merchant", "größe", "имя", "get_имя", "名前"] {
            assert_eq!(mixes_scripts(one), None, "{one}");
        }
    }
}

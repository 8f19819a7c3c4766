//! The line of the text that a problem is about, with a caret under the place.

use std::fmt::Write;

use crate::document::Place;

/// A longer line is shown from a little before the place.
const CHARACTERS_MAX: usize = 140;
const CHARACTERS_BEFORE: usize = 40;

/// The line of `place` with carets under it, and dots instead of everything `hidden`.
pub(super) fn show(text: &str, place: Place, hidden: &[Place]) -> String {
    let start = floor(text, place.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let line_end = line_start + text[line_start..line_end].trim_end_matches('\r').len();

    let mut shown = String::new();
    let (mut carets_from, mut carets_to) = (None, 0);
    for (offset, character) in text[line_start..line_end].char_indices() {
        let at = line_start + offset;
        let in_place = at >= place.start && at < place.end.max(place.start + 1);
        if in_place {
            carets_from.get_or_insert(shown.chars().count());
        }
        if let Some(secret) = hidden.iter().find(|secret| at >= secret.start && at < secret.end) {
            // One ellipsis whatever the length: that is nobody's business either.
            if at == secret.start || offset == 0 {
                shown.push('…');
            }
        } else {
            shown.push(if is_harmless(character) { character } else { ' ' });
        }
        if in_place {
            carets_to = shown.chars().count();
        }
    }
    let length = shown.chars().count();
    let from = carets_from.unwrap_or(length);
    let to = carets_to.max(from + 1);

    let cut = if length > CHARACTERS_MAX { from.saturating_sub(CHARACTERS_BEFORE) } else { 0 };
    let visible: String = shown.chars().skip(cut).take(CHARACTERS_MAX).collect();
    let carets = (to.min(cut + CHARACTERS_MAX)).saturating_sub(from).max(1);

    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let mut snippet = String::new();
    let _ = writeln!(snippet, "  {number} | {}", visible.trim_end());
    let _ = write!(snippet, "  {margin} | {}{}", " ".repeat(from - cut), "^".repeat(carets));
    snippet
}

/// `text` without the characters that could make a terminal do something, or show the text in another order.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|character| if is_harmless(character) { character } else { '\u{fffd}' }).collect()
}

fn is_harmless(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::{Place, printable, show};

    fn at(text: &str, shown: &str, hidden: &str) -> String {
        let place = |part: &str| {
            let start = text.find(part).expect("the part is in the text");
            let line = 1 + text[..start].matches('\n').count();
            Place { line, column: 1, start, end: start + part.len() }
        };
        show(text, place(shown), &[place(hidden)])
    }

    #[test]
    fn the_carets_stand_under_the_place() {
        assert_snapshot!(at("a: 1\r\n  büro:\tx # café\r\n", "x", "1"), @"
        2 |   büro: x # café
          |         ^
        ");
        assert_snapshot!(at("a: secret, b: secret2, c: x", "x", "secret2"), @"
        1 | a: secret, b: …, c: x
          |                     ^
        ");
        assert_snapshot!(at("a: |\n  first\n  second\nb: 1\n", "second", "first\n  second\n"), @"
        3 | …
          |  ^
        ");
        assert_snapshot!(at("a: ends here", "here", "a"), @"
        1 | …: ends here
          |         ^^^^
        ");
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("a: {}, here, {}", "x".repeat(500), "y".repeat(500));
        assert_snapshot!(at(&text, "here", "a"), @"
        1 | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, here, yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy
          |                                         ^^^^
        ");
    }

    #[test]
    fn nothing_is_printed_that_a_terminal_would_act_on() {
        assert_eq!(printable("\u{1b}[31mred\u{202e}"), "\u{fffd}[31mred\u{fffd}");
        assert!(!at("a: \u{1b}[31m\u{202e}", "[31m", "a").contains(['\u{1b}', '\u{202e}']));
    }
}

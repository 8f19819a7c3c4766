//! What every command needs to write for people.

use std::{borrow::Cow, io::IsTerminal};

/// Colours where somebody sees them, nothing where a program or a file reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    colours: bool,
}

impl Style {
    /// Fits what is written to `output`.
    pub(crate) fn of(output: &impl IsTerminal) -> Self {
        Self { colours: output.is_terminal() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    #[cfg(feature = "demo")]
    pub(crate) fn call(self, text: &str) -> String {
        self.wrap("36", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// Text of somebody else: a terminal would obey the control characters in it.
    pub(crate) fn foreign(self, text: &str) -> Cow<'_, str> {
        let is_harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
        if !self.colours || text.chars().all(is_harmless) {
            return Cow::Borrowed(text);
        }
        let text = text.replace("\r\n", "\n");
        Cow::Owned(text.chars().map(|c| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect())
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `1 tool`, `2 tools`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The first line of `text`, for lists.
pub(crate) fn first_line(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::Style;

    #[test]
    fn control_characters_of_others_do_not_reach_a_terminal() {
        let text = "a\tb\r\n\x1b]0;title\x07 \u{9b}31m\rc\x7f é";
        assert_eq!(
            Style { colours: true }.foreign(text),
            "a\tb\n\u{fffd}]0;title\u{fffd} \u{fffd}31m\u{fffd}c\u{fffd} é"
        );
        assert_eq!(Style { colours: false }.foreign(text), text);
    }
}

//! How the demo looks on a terminal of 80 columns.

use std::{
    io::{self, Write},
    time::Duration,
};

use crate::cli::Style;

const WIDTH: usize = 80;
const INDENT: usize = 2;

/// Where the demo tells its story.
pub(super) struct Screen {
    to: Box<dyn Write + Send>,
    style: Style,
}

impl Screen {
    pub(super) fn stdout() -> Self {
        Self { style: Style::of(&io::stdout()), to: Box::new(io::stdout()) }
    }

    pub(super) fn stderr() -> Self {
        Self { style: Style::of(&io::stderr()), to: Box::new(io::stderr()) }
    }

    /// The title of a part.
    pub(super) fn title(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.to, "\n{}", self.style.bold(text))
    }

    /// Something that was done, and how long it took, at the right edge.
    pub(super) fn done(&mut self, what: &str, took: Duration) -> io::Result<()> {
        let took = millis(took);
        let room = WIDTH - INDENT - 1 - took.chars().count();
        let what = cut(what, room);
        let gap = room - what.chars().count() + 1;
        writeln!(self.to, "{:INDENT$}{}{:gap$}{}", "", self.style.call(&what), "", self.style.good(&took))
    }

    /// A line of what came back.
    pub(super) fn detail(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.to, "{:1$}{2}", "", 2 * INDENT, cut(text, WIDTH - 2 * INDENT))
    }

    /// A sentence to read, wrapped.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        for line in wrap(text, WIDTH - INDENT) {
            writeln!(self.to, "{:INDENT$}{line}", "")?;
        }
        Ok(())
    }

    /// A sentence about something that is not as it should be.
    pub(super) fn warn(&mut self, text: &str) -> io::Result<()> {
        for line in wrap(text, WIDTH - INDENT) {
            writeln!(self.to, "{:INDENT$}{}", "", self.style.bad(&line))?;
        }
        Ok(())
    }

    /// Something to copy: never cut, never wrapped.
    pub(super) fn copy(&mut self, label: &str, text: &str) -> io::Result<()> {
        writeln!(self.to, "{:INDENT$}{label:<14} {}", "", self.style.bold(text))
    }

    /// A whole line to copy, with nothing beside it.
    pub(super) fn command(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.to, "{:1$}{2}", "", 2 * INDENT, self.style.bold(text))
    }

    pub(super) fn blank(&mut self) -> io::Result<()> {
        writeln!(self.to)
    }
}

fn millis(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1_000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// At most `width` characters of `text`.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// `text` in lines of at most `width` characters; a longer word has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{cut, millis, wrap};

    #[test]
    fn nothing_but_what_is_copied_is_wider_than_its_room() {
        assert_eq!(cut("Zoë Müller", 10), "Zoë Müller");
        assert_eq!(cut("Zoë Müllers", 10), "Zoë Mülle…");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a wordlongerthantheroom b", 7), ["a", "wordlongerthantheroom", "b"]);
        assert_eq!(
            (millis(Duration::from_micros(1_240)), millis(Duration::from_millis(2_104))),
            ("1.2 ms".into(), "2104 ms".into())
        );
    }
}

//! COBOL copybooks: from their text to a list of entries, each with its clauses. What they mean together is [`layout`](super::layout)'s.

mod clause;
mod source;
#[cfg(test)]
mod tests;

use self::source::{Kind, Token};
use super::picture::Picture;

/// Why a copybook cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub(crate) struct CopybookError {
    /// Where, counted from 1.
    pub(crate) line: usize,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

impl CopybookError {
    pub(super) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// One field or group, as it is written.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) level: u8,
    /// In upper case; `None` for a filler.
    pub(super) name: Option<String>,
    pub(super) picture: Option<Picture>,
    pub(super) usage: Option<Usage>,
    pub(super) sign: Option<Sign>,
    pub(super) occurs: Option<Occurs>,
    /// The field whose bytes it shares.
    pub(super) redefines: Option<String>,
    pub(super) justified: bool,
    pub(super) blank_when_zero: bool,
    /// Its condition names (level 88).
    pub(super) conditions: Vec<Condition>,
}

/// How a number stands in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    /// A character a digit.
    Display,
    /// Two's complement, the high byte first.
    Binary,
    /// Two digits a byte, the sign in the last half.
    Packed,
}

/// Where the sign of a number of characters stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sign {
    pub(super) leading: bool,
    /// In a character of its own, rather than over a digit.
    pub(super) separate: bool,
}

/// How often a field stands in a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Occurs {
    pub(super) min: usize,
    pub(super) max: usize,
    /// The field that says how often, where that varies.
    pub(super) depending_on: Option<Reference>,
}

/// `NAME OF GROUP OF GROUP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
}

/// A condition name: what some values of a field mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) name: String,
    /// As they are written: `A`, `1 to 9`.
    pub(super) values: Vec<String>,
}

/// No copybook was ever longer.
pub(crate) const BYTES_MAX: usize = 256 * 1024;
const ENTRIES_MAX: usize = 5_000;
/// Twice what COBOL allows; a name becomes a key of every record.
const NAME_CHARACTERS_MAX: usize = 60;

/// Reads a copybook, in fixed format (columns 1 to 6 and 73 to 80 are not read) or free.
pub(super) fn parse(copybook: &str) -> Result<Vec<Entry>, CopybookError> {
    if copybook.len() > BYTES_MAX {
        return Err(CopybookError::new(1, format!("a copybook has at most {} KiB", BYTES_MAX / 1024)));
    }
    let tokens = source::tokens(copybook)?;
    let mut words = Words { tokens: &tokens, line: 1 };
    let mut entries: Vec<Entry> = Vec::new();
    let mut count = 0;
    while words.peek().is_some() {
        if words.skip_listing_control() {
            continue;
        }
        let level = level(&mut words)?;
        count += 1;
        if count > ENTRIES_MAX {
            return Err(words.error(format!("a copybook has at most {ENTRIES_MAX} entries")));
        }
        if level == CONDITION {
            let line = words.line;
            let condition = clause::condition(&mut words)?;
            let Some(entry) = entries.last_mut() else {
                return Err(CopybookError::new(line, "a condition name (88) stands behind the field it is about"));
            };
            entry.conditions.push(condition);
        } else {
            entries.push(entry(&mut words, level)?);
        }
    }
    Ok(entries)
}

const CONDITION: u8 = 88;

fn level(words: &mut Words<'_>) -> Result<u8, CopybookError> {
    let word = words.word("a level number")?;
    let level = word.parse::<u8>().ok().filter(|_| word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_digit()));
    match level {
        Some(level @ (1..=49 | CONDITION)) => Ok(level),
        Some(66) => {
            Err(words.error("RENAMES (level 66) is not supported: remove the entry, the fields stand without it"))
        }
        Some(77) => Err(words.error("level 77 is no part of a record: give the field a level from 02 to 49")),
        Some(_) => Err(words.error(format!("a level is 01 to 49 or 88, and {word} is none"))),
        None => Err(words.error(match word {
            "COPY" | "EXEC" | "REPLACE" | "++INCLUDE" | "-INC" => {
                format!("{word} is not carried out: put the text that it brings in its place")
            }
            _ => format!(
                "an entry begins with a level number, and {word} is none; does the entry before it lack its period?"
            ),
        })),
    }
}

fn entry(words: &mut Words<'_>, level: u8) -> Result<Entry, CopybookError> {
    let mut entry = Entry { line: words.line, level, ..Entry::default() };
    entry.name = name(words)?;
    while !words.next_period()? {
        clause::read(words, &mut entry)?;
    }
    Ok(entry)
}

/// The name, which may be missing.
fn name(words: &mut Words<'_>) -> Result<Option<String>, CopybookError> {
    match words.peek_word() {
        None => Ok(None),
        Some(word) if clause::begins(word) => Ok(None),
        Some(_) => {
            let name = words.name("a name")?;
            Ok((name != "FILLER").then_some(name))
        }
    }
}

/// What is left to read.
pub(super) struct Words<'a> {
    tokens: &'a [Token],
    /// Where the word stands that was read last.
    line: usize,
}

impl<'a> Words<'a> {
    fn error(&self, message: impl Into<String>) -> CopybookError {
        CopybookError::new(self.line, message)
    }

    fn peek(&self) -> Option<&'a Kind> {
        self.tokens.first().map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<&'a Kind> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        self.line = first.line;
        Some(&first.kind)
    }

    fn peek_word(&self) -> Option<&'a str> {
        match self.peek()? {
            Kind::Word(word) => Some(word),
            Kind::Literal(_) | Kind::Period => None,
        }
    }

    /// Steps over `word` if it comes next.
    fn next_if(&mut self, word: &str) -> bool {
        let is_next = self.peek_word() == Some(word);
        if is_next {
            self.next();
        }
        is_next
    }

    fn word(&mut self, wanted: &str) -> Result<&'a str, CopybookError> {
        match self.next() {
            Some(Kind::Word(word)) => Ok(word),
            Some(Kind::Literal(text)) => Err(self.error(format!("{wanted} is wanted here, not the text {text:?}"))),
            Some(Kind::Period) => Err(self.error(format!("{wanted} is missing before the period"))),
            None => Err(self.error(format!("the copybook ends where {wanted} is wanted"))),
        }
    }

    fn name(&mut self, wanted: &str) -> Result<String, CopybookError> {
        let word = self.word(wanted)?;
        if word.contains(':') {
            return Err(self.error(format!("{word} has a placeholder for COPY REPLACING: put the real name there")));
        }
        let is_name = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && word.bytes().any(|byte| byte.is_ascii_alphabetic())
            && word.len() <= NAME_CHARACTERS_MAX;
        if !is_name {
            return Err(self.error(format!(
                "{word} is no name: that has letters, digits and hyphens, {NAME_CHARACTERS_MAX} at most, and one letter at least"
            )));
        }
        Ok(word.to_owned())
    }

    fn number(&mut self, wanted: &str) -> Result<usize, CopybookError> {
        let word = self.word(wanted)?;
        let digits = Some(word).filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        digits
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| self.error(format!("{wanted} is a whole number, and {word} is none")))
    }

    /// Whether the entry ends here.
    fn next_period(&mut self) -> Result<bool, CopybookError> {
        match self.peek() {
            Some(Kind::Period) => {
                self.next();
                Ok(true)
            }
            Some(Kind::Word(_) | Kind::Literal(_)) => Ok(false),
            None => Err(self.error("the last entry has no period")),
        }
    }

    /// Words for the printer of listings, which stand between entries.
    fn skip_listing_control(&mut self) -> bool {
        let is_control = matches!(self.peek_word(), Some("EJECT" | "SKIP1" | "SKIP2" | "SKIP3"));
        if is_control {
            self.next();
            if self.peek() == Some(&Kind::Period) {
                self.next();
            }
        }
        is_control
    }
}

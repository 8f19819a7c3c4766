//! From the text of a copybook to its words: the columns of fixed format, comments, continuations, and text in quotes.

use super::CopybookError;

/// A word of a copybook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Where it stands, counted from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Upper case, whatever it was: COBOL does not tell them apart.
    Word(String),
    /// Text in quotes, without them; hexadecimal text with them.
    Literal(String),
    /// The end of an entry.
    Period,
}

/// In fixed format, text ends before this column; what follows is a change mark or a sequence number.
const TEXT_END: usize = 72;
/// The sequence area stands before this column, counted from 0, and the indicator in it.
const INDICATOR: usize = 6;
/// No card was ever longer.
const CARD: usize = 80;
const TAB_STOP: usize = 8;

/// The words of a copybook, in their order.
pub(super) fn tokens(copybook: &str) -> Result<Vec<Token>, CopybookError> {
    let mut tokens = Vec::new();
    for line in logical_lines(copybook)? {
        tokenize(&line, &mut tokens)?;
    }
    Ok(tokens)
}

/// A line with what the lines after it continue.
struct Line {
    number: usize,
    text: String,
    /// The quote of the text that is open where it ends.
    open: Option<char>,
    /// How many columns the last of its lines has.
    width: usize,
}

impl Line {
    fn new(number: usize, text: &str) -> Self {
        Self { number, text: text.to_owned(), open: open_quote(None, text), width: text.chars().count() }
    }

    /// Joins a continuation. Text in quotes that is still open runs to column 72 and goes on behind the next quote; a word goes on at once.
    fn append(&mut self, text: &str) {
        let width = text.chars().count();
        let mut text = text.trim_start();
        if let Some(quote) = self.open {
            let missing = (TEXT_END - INDICATOR - 1).saturating_sub(self.width);
            self.text.extend(std::iter::repeat_n(' ', missing));
            text = text.strip_prefix(quote).unwrap_or(text);
        } else {
            self.text.truncate(self.text.trim_end().len());
        }
        self.text.push_str(text);
        self.open = open_quote(self.open, text);
        self.width = width;
    }
}

/// The quote of the text that is open behind `text`. A doubled quote closes and opens, which comes to the same.
fn open_quote(before: Option<char>, text: &str) -> Option<char> {
    text.chars().fold(before, |open, character| match (open, character) {
        (None, '\'' | '"') => Some(character),
        (Some(quote), _) if quote == character => None,
        _ => open,
    })
}

fn logical_lines(copybook: &str) -> Result<Vec<Line>, CopybookError> {
    let lines = copybook.lines().map(expand_tabs).collect::<Vec<_>>();
    let fixed = !lines.iter().any(|line| is_certainly_free(line));
    let mut logical: Vec<Line> = Vec::new();
    for (number, line) in (1..).zip(&lines) {
        if is_comment(line, fixed) {
            continue;
        }
        let text = if fixed { columns(line, INDICATOR + 1, TEXT_END) } else { line };
        if fixed && line.chars().nth(INDICATOR) == Some('-') {
            let Some(continued) = logical.last_mut() else {
                return Err(CopybookError::new(
                    number,
                    "this line continues another (`-` in column 7), and none stands before it",
                ));
            };
            continued.append(text);
        } else if !text.trim().is_empty() {
            logical.push(Line::new(number, text));
        }
    }
    Ok(logical)
}

/// Whether a line cannot be of fixed format, where columns 1 to 6 hold a sequence number or a mark, and column 7 a space or an indicator.
/// One such line makes the whole copybook one of free format, because nobody mixes them.
fn is_certainly_free(line: &str) -> bool {
    let start = line.trim();
    let area = columns(line, 0, INDICATOR + 1);
    let indicator = line.chars().nth(INDICATOR).unwrap_or(' ');
    if start.is_empty() || start.starts_with('*') {
        return false;
    }
    if begins_with_level(area) || !matches!(indicator, ' ' | '*' | '/' | '-' | 'D' | 'd') {
        return true;
    }
    // A change mark behind the text does not end with a period, an entry does.
    let width = line.trim_end().chars().count();
    !matches!(indicator, '*' | '/') && (width > CARD || width > TEXT_END && start.ends_with('.'))
}

/// Whether a level number and a space stand where fixed format has its sequence area.
fn begins_with_level(area: &str) -> bool {
    let area = area.trim_start();
    let digits = area.bytes().take_while(u8::is_ascii_digit).count();
    matches!(digits, 1 | 2) && area[digits..].starts_with(' ')
}

fn is_comment(line: &str, fixed: bool) -> bool {
    let star = line.find(|character: char| character != ' ').filter(|&at| line[at..].starts_with('*'));
    // In fixed format a star beyond column 7 is a word; a line of stars from column 1 on is a comment nevertheless.
    let starred = star.is_some_and(|at| !fixed || at <= INDICATOR || line[at..].starts_with("*>"));
    starred || fixed && matches!(line.chars().nth(INDICATOR), Some('*' | '/' | 'D' | 'd'))
}

fn columns(line: &str, from: usize, to: usize) -> &str {
    let at = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    &line[at(from)..at(to)]
}

fn expand_tabs(line: &str) -> String {
    let mut expanded = String::with_capacity(line.len());
    let mut column = 0;
    for character in line.chars() {
        let width = if character == '\t' { TAB_STOP - column % TAB_STOP } else { 1 };
        if character == '\t' {
            expanded.extend(std::iter::repeat_n(' ', width));
        } else {
            expanded.push(character);
        }
        column += width;
    }
    expanded
}

fn tokenize(line: &Line, tokens: &mut Vec<Token>) -> Result<(), CopybookError> {
    let mut rest = line.text.trim_start();
    let mut push = |kind| tokens.push(Token { line: line.number, kind });
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("*>") {
            return Ok(());
        }
        if matches!(first, '\'' | '"') {
            let (literal, behind) = literal(&rest[1..], first).ok_or_else(|| unclosed(line.number))?;
            push(Kind::Literal(literal));
            rest = behind;
        } else {
            let end = rest.find(|character: char| character.is_whitespace() || matches!(character, '\'' | '"'));
            let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind;
            if let Some((hexadecimal, behind)) = hexadecimal(word, rest) {
                push(Kind::Literal(hexadecimal));
                rest = behind;
            } else {
                let bare = word.trim_end_matches([',', ';']);
                let (bare, is_end) = bare.strip_suffix('.').map_or((bare, false), |bare| (bare, true));
                if !bare.is_empty() {
                    push(Kind::Word(bare.to_ascii_uppercase()));
                }
                if is_end {
                    push(Kind::Period);
                }
            }
        }
        rest = rest.trim_start();
    }
    Ok(())
}

/// Text up to its closing quote, and what stands behind it.
fn literal(text: &str, quote: char) -> Option<(String, &str)> {
    let mut literal = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once(quote)?;
        literal.push_str(part);
        match behind.strip_prefix(quote) {
            Some(doubled) => {
                literal.push(quote);
                rest = doubled;
            }
            None => return Some((literal, behind)),
        }
    }
}

/// `X'00'`, as it is written.
fn hexadecimal<'a>(prefix: &str, rest: &'a str) -> Option<(String, &'a str)> {
    let quote = rest.chars().next().filter(|first| matches!(first, '\'' | '"') && prefix.eq_ignore_ascii_case("x"))?;
    let (digits, behind) = rest[1..].split_once(quote)?;
    Some((format!("X'{digits}'"), behind))
}

fn unclosed(line: usize) -> CopybookError {
    CopybookError::new(line, "a text in quotes is not closed; in fixed format, columns 73 and on are not read")
}

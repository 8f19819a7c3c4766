//! A look at a SQL statement from outside: how many there are, with which word it begins, and which `$n` it uses. What
//! stands in quotes, comments and dollar quotes does not count.

use std::collections::BTreeSet;

/// What can be said about a text of SQL without knowing its grammar.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) statements: usize,
    /// In lower case.
    pub(super) first_word: String,
    /// The numbers of `$1`, `$2`, ….
    pub(super) numbers: BTreeSet<usize>,
    /// A quote or comment has no end.
    pub(super) unclosed: bool,
}

pub(super) fn look(sql: &str) -> Look {
    let mut look = Look::default();
    let mut in_statement = false;
    let mut rest = sql;
    // What stands before the rest, to tell `$1` from the `$1` in `a$1`, and the string `E'…'` from the name `e`.
    let mut before = None;
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '\'' => quoted(rest, '\'', escapes(before, sql, rest)),
            '"' => quoted(rest, '"', false),
            '-' if rest.starts_with("--") => Some(rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '$' if !before.is_some_and(is_in_word) => dollar(rest, &mut look.numbers),
            _ => Some(character.len_utf8()),
        };
        let Some(length) = length else {
            look.unclosed = true;
            return look;
        };
        let is_comment = rest.starts_with("--") || rest.starts_with("/*");
        if character == ';' {
            in_statement = false;
        } else if !character.is_whitespace() && !is_comment {
            if !in_statement {
                look.statements += 1;
                in_statement = true;
            }
            if look.statements == 1 && look.first_word.is_empty() {
                look.first_word = rest.chars().take_while(|c| c.is_alphabetic()).collect::<String>().to_lowercase();
            }
        }
        before = if is_comment { Some(' ') } else { rest[..length].chars().next_back() };
        rest = &rest[length..];
    }
    look
}

fn is_in_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

/// Whether the quote that begins `rest` is one of `E'…'`, in which a backslash escapes.
fn escapes(before: Option<char>, sql: &str, rest: &str) -> bool {
    let ahead = &sql[..sql.len() - rest.len()];
    matches!(before, Some('e' | 'E')) && !ahead.chars().rev().nth(1).is_some_and(is_in_word)
}

/// The length of the quoted text at the start of `text`. A doubled quote stands for itself.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if escapes && character == '\\' {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + 1);
        }
    }
    None
}

/// The length of the block comment at the start of `text`. They nest.
fn block_comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// The length of what a `$` begins: a number, which is noted, a text in dollar quotes, or the `$` alone.
fn dollar(text: &str, numbers: &mut BTreeSet<usize>) -> Option<usize> {
    let after = &text[1..];
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 {
        numbers.insert(after[..digits].parse().unwrap_or(usize::MAX));
        return Some(1 + digits);
    }
    let Some(tag_end) = after.find('$') else { return Some(1) };
    let tag = &after[..tag_end];
    if !tag.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Some(1);
    }
    let quote = &text[..tag_end + 2];
    text[quote.len()..].find(quote).map(|end| quote.len() + end + quote.len())
}

#[cfg(test)]
mod tests {
    use super::look;

    #[test]
    fn only_numbers_that_postgres_would_see_count() {
        for (sql, expected) in [
            ("SELECT 1", &[][..]),
            ("SELECT $1, $2 + $10", &[1, 2, 10]),
            ("SELECT '$1', \"$2\", $3", &[3]),
            ("SELECT 'it''s $1', $2", &[2]),
            ("SELECT E'\\'$1', $2", &[2]),
            ("SELECT name'\\', $2", &[2]),
            ("SELECT '\\', $1", &[1]),
            ("-- $1\nSELECT $2", &[2]),
            ("SELECT /* $1 /* $2 */ $3 */ $4", &[4]),
            ("SELECT $$ $1 $$, $2", &[2]),
            ("SELECT $x$ $$ $1 $x$, $2", &[2]),
            ("SELECT a$1, $2::int", &[2]),
            ("SELECT $1$2", &[1]),
            ("SELECT 'ü', $1, 'ß' -- ü $2", &[1]),
        ] {
            let found = look(sql);
            assert_eq!(found.numbers.iter().copied().collect::<Vec<_>>(), expected, "{sql}");
            assert!(!found.unclosed, "{sql}");
        }
    }

    #[test]
    fn statements_are_counted_and_the_first_word_is_known() {
        for (sql, statements, first_word) in [
            ("", 0, ""),
            (" ; -- nothing\n ;", 0, ""),
            ("SELECT 1", 1, "select"),
            ("SELECT ';'; ", 1, "select"),
            ("/* first */ Update t SET a = 1; -- done", 1, "update"),
            ("SELECT 1; DROP TABLE t", 2, "select"),
            ("(SELECT 1)", 1, "select"),
        ] {
            let found = look(sql);
            assert_eq!((found.statements, found.first_word.as_str()), (statements, first_word), "{sql}");
        }
    }

    #[test]
    fn what_does_not_end_is_noticed() {
        for sql in [
            "SELECT 'x",
            "SELECT \"x",
            "SELECT /* x",
            "SELECT /* /* */",
            "SELECT $$ x",
            "SELECT $a$ x $b$",
            "SELECT E'\\'",
        ] {
            assert!(look(sql).unclosed, "{sql}");
        }
    }
}

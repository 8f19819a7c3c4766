//! What opens doors: keys and tokens that are known by their form, and whatever stands behind a word like `password`.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::before;

/// Keys and tokens by their form. What each alternative looks at is its finding, so that a text is passed once.
static FORMS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        // PEM: also without its end, and as text in text
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s:,\\-]*",
        r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}",
        r"|\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{16}\b",
        r"|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}|\bglpat-[A-Za-z0-9_.-]{16,}",
        r"|\bxox[a-z]-[A-Za-z0-9-]{8,}|\bxapp-[A-Za-z0-9-]{8,}|hooks\.slack\.com/services/[A-Za-z0-9/]{8,}",
        r"|\b[prs]k_(?:live|test)_[A-Za-z0-9]{8,}|\bwhsec_[A-Za-z0-9+/=]{8,}",
        r"|\bAIza[A-Za-z0-9_-]{30,}|\bya29\.[A-Za-z0-9_.-]{10,}|\bGOCSPX-[A-Za-z0-9_-]{10,}",
        r"|\bsk-[A-Za-z0-9_-]{16,}|\bnpm_[A-Za-z0-9]{20,}|\bpypi-[A-Za-z0-9_-]{20,}|\bdop_v1_[a-f0-9]{20,}",
        r"|\bSG\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|\bhv[sbr]\.[A-Za-z0-9_-]{16,}|\bATATT3[A-Za-z0-9_=-]{16,}",
        r"|\bweir_[A-Za-z0-9]{4,}_[A-Za-z0-9_-]{16,}",
    ))
    .expect("the pattern is a right one")
});

/// Words behind which a secret stands, up to where it begins.
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)(?:",
        // password=…, "client_secret": …, DB_PASSWORD => …, access-token: …
        r#"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|apikey|access[_-]?key|private[_-]?key|account[_-]?key|shared[_-]?key|"#,
        r#"auth(?:orization)?|credentials?|cookie|signature|sig)(?:s|[0-9]{1,3}|_[a-z0-9_]{1,16})?\\{0,4}["'\]]?[ ]{0,3}(?:=>|:=|==|=|:|%3d)[ ]{0,3}(?:(?:bearer|basic|token|digest)[ ]{1,3})?"#,
        // Authorization: Bearer … without the name of the header
        r"|\b(?:bearer|basic)[ ]{1,3}",
        // SQL: PASSWORD '…', IDENTIFIED BY '…'
        r#"|\b(?:password|identified[ ]{1,3}by(?:[ ]{1,3}password)?)[ ]{1,3}['"]"#,
        // curl -u name:…
        r"|[ ](?:-u|--user)[ =]{1,3}[^ :]{1,64}:",
        r")",
    ))
    .expect("the pattern is a right one")
});

/// `scheme://name:` with the password behind it.
static LOGIN_IN_URL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b[a-z][a-z0-9+.-]{1,24}(?:://|%3a%2f%2f)[^\s/:@?#]{0,128}(?::|%3a)")
        .expect("the pattern is a right one")
});

/// An object of JSON in base64, which begins with its first name.
static TOKEN_BEGINNING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?-u:\b)ey[JI]").expect("the pattern is a right one"));

/// A token has a header and what it says at least, and as JWE five parts.
const FIRST_PART_BYTES_MIN: usize = 9;
const NEXT_PART_BYTES_MIN: usize = 4;
const TOKEN_PARTS_MAX: usize = 5;
/// No password that somebody uses is longer, and a search that goes on for ever would not take linear time.
const VALUE_BYTES_MAX: usize = 4096;
const LOGIN_BYTES_MAX: usize = 256;
/// Words that stand behind `Bearer` and `Basic` in sentences are shorter than any token.
const TOKEN_BYTES_MIN: usize = 8;

pub(super) fn find(text: &str, found: &mut impl FnMut(Range<usize>)) {
    FORMS.find_iter(text).for_each(|form| found(form.range()));
    tokens_in_parts(text, found);
    let mut free_from = 0;
    for word in WORDS.find_iter(text) {
        if word.start() < free_from {
            continue;
        }
        let is_scheme = word
            .as_str()
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("basic") || start.eq_ignore_ascii_case("beare"));
        let length_min = if is_scheme { TOKEN_BYTES_MIN } else { 1 };
        if let Some(range) = value_behind(text, word.end()).filter(|range| range.len() >= length_min) {
            free_from = range.end;
            found(range);
        }
    }
    for login in LOGIN_IN_URL.find_iter(text) {
        if let Some(range) = password_in_url(text, login.end()) {
            found(range);
        }
    }
}

/// JWT, JWS, JWE: parts with dots between them. A pattern would look to the end of a long part again for each of the beginnings in it.
fn tokens_in_parts(text: &str, found: &mut impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let end_of_part = |from: usize| from + bytes[from..].iter().take_while(|byte| is_sign(byte)).count();
    let (mut free_from, mut first_end) = (0, 0);
    for start in TOKEN_BEGINNING.find_iter(text).map(|beginning| beginning.start()) {
        if start < free_from {
            continue;
        }
        if first_end <= start {
            first_end = end_of_part(start);
        }
        if first_end - start < FIRST_PART_BYTES_MIN || bytes.get(first_end) != Some(&b'.') {
            continue;
        }
        let mut end = end_of_part(first_end + 1);
        if end - first_end <= NEXT_PART_BYTES_MIN {
            continue;
        }
        for _ in 2..TOKEN_PARTS_MAX {
            if bytes.get(end) == Some(&b'.') {
                end = end_of_part(end + 1);
            }
        }
        found(start..end);
        free_from = end;
    }
}

/// The value that begins here: up to its closing quote, or up to what ends a value without quotes.
fn value_behind(text: &str, start: usize) -> Option<Range<usize>> {
    let rest = window(text, start, VALUE_BYTES_MAX);
    let slashes = rest.len() - rest.trim_start_matches('\\').len();
    let quote = rest[slashes..].chars().next().filter(|char| matches!(char, '"' | '\'' | '`'));
    // The quote of SQL belongs to the word before.
    let opened = before(text, start).filter(|char| matches!(char, '"' | '\''));
    let (inner, quote) = match (quote, opened) {
        (Some(quote), _) => (slashes + 1, Some(quote)),
        (None, Some(quote)) => (0, Some(quote)),
        (None, None) => (0, None),
    };
    let value = &rest[inner..];
    let is_end = |char: char| char.is_whitespace() || matches!(char, '"' | '\'' | '&' | ';' | ',' | ')' | '}' | '<');
    let length = match quote {
        Some(quote) => closing(value, quote, slashes).unwrap_or(value.len()),
        None => value.find(is_end).unwrap_or(value.len()),
    };
    (length > 0).then_some(start + inner..start + inner + length)
}

/// Where the quote closes; one that is doubled or behind a backslash is part of the value. Text in text has backslashes before its quotes.
fn closing(value: &str, quote: char, slashes: usize) -> Option<usize> {
    if slashes > 0 {
        return value.find(&format!("{}{quote}", "\\".repeat(slashes)));
    }
    let mut characters = value.char_indices().peekable();
    while let Some((at, char)) = characters.next() {
        if char == '\\' {
            characters.next();
        } else if char == quote {
            if quote != '\'' || characters.peek().is_none_or(|(_, next)| *next != quote) {
                return Some(at);
            }
            characters.next();
        }
    }
    None
}

fn password_in_url(text: &str, start: usize) -> Option<Range<usize>> {
    let rest = window(text, start, LOGIN_BYTES_MAX);
    // A password may hold an at sign that nobody encoded: the last one before the path counts.
    let authority = rest.split([' ', '\n', '\t', '/', '"', '\'', '<', '>']).next().unwrap_or_default();
    let length = authority.rfind('@').or_else(|| authority.to_ascii_lowercase().rfind("%40"))?;
    (length > 0).then_some(start..start + length)
}

fn window(text: &str, start: usize, bytes_max: usize) -> &str {
    let end = text.len().min(start + bytes_max);
    let end = (start..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(start);
    &text[start..end]
}

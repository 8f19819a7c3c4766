//! E-mail addresses: found by their at sign, so that text without one costs a look at its bytes.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::AhoCorasick;

/// How an at sign is written: as it is, in URLs, in HTML, in JSON that is text in text, and in its wide form.
static AT_SIGNS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let signs = ["@", "%40", "&#64;", "&#x40;", "&commat;", "\\u0040", "\u{ff20}", "%2540"];
    AhoCorasick::builder().ascii_case_insensitive(true).build(signs).expect("eight short patterns")
});
/// More than an address may have (RFC 5321, 4.5.3.1), so that a long name does not hide one.
const LOCAL_CHARS_MAX: usize = 128;
const DOMAIN_CHARS_MAX: usize = 256;

pub(super) fn find(text: &str, found: &mut impl FnMut(Range<usize>)) {
    for at in AT_SIGNS.find_iter(text) {
        let start = local_start(text, at.start());
        if let Some(end) = domain_end(text, at.end())
            && start < at.start()
        {
            found(start..end);
        }
    }
}

/// Where the part before the at sign starts.
fn local_start(text: &str, at: usize) -> usize {
    let left = &text[..at];
    if let Some(inner) = left.strip_suffix('"') {
        // "first last"@example.com
        let window = inner.char_indices().rev().take(LOCAL_CHARS_MAX);
        return window
            .take_while(|(_, char)| *char != '\n')
            .find(|(_, char)| *char == '"')
            .map_or(at, |(index, _)| index);
    }
    let is_local = |char: &char| char.is_alphanumeric() || ".!#$%'*+^_`{|}~-".contains(*char);
    let part = left.char_indices().rev().take(LOCAL_CHARS_MAX).take_while(|(_, char)| is_local(char));
    // What begins with a sign is quoted or in brackets: the address begins after it.
    part.filter(|(_, char)| char.is_alphanumeric() || "_+".contains(*char)).last().map_or(at, |(index, _)| index)
}

/// Where the part after it ends; `None` when this is no domain with a dot.
fn domain_end(text: &str, start: usize) -> Option<usize> {
    let right = &text[start..];
    if right.starts_with('[') {
        return right.char_indices().take(64).find(|(_, char)| *char == ']').map(|(index, _)| start + index + 1);
    }
    let is_domain = |char: &char| char.is_alphanumeric() || matches!(char, '-' | '.' | '\u{3002}');
    let length: usize = right.chars().take(DOMAIN_CHARS_MAX).take_while(is_domain).map(char::len_utf8).sum();
    let domain = right[..length].trim_end_matches(['.', '-', '\u{3002}']);
    let last = domain.rsplit(['.', '\u{3002}']).next()?;
    let has_dot = last.len() < domain.len();
    let is_top = last.chars().count() >= 2 && last.chars().next().is_some_and(char::is_alphabetic);
    (has_dot && is_top).then_some(start + domain.len())
}

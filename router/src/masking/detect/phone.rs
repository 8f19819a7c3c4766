//! Phone numbers: those with a country, and local ones in the forms that people write. A bare number is none.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::{after, before};

/// Each alternative is bounded, so that a search looks at a bounded piece of text beyond where it stands.
static FORMS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        // +49 (0)30 1234-567, 0049 30 1234567, tel:+4930123456
        r"(?:\+|%2[Bb]|\b00)[ ]?[1-9][0-9]{0,3}(?:[ .\-/\u{a0}\u{2011}]{0,2}\(?[0-9]{1,12}\)?){1,8}",
        // (415) 555-2671, 1-415-555-2671, 415.555.2671
        r"|(?:\b1[ .-])?(?:\([2-9][0-9]{2}\)[ ]?|\b[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}\b",
        // 030 1234567, 0170/1234567, (030) 1234-567, 020 7946 0018, 06 12 34 56 78
        r"|(?:\(0[1-9][0-9]{0,4}\)|\b0[1-9][0-9]{0,4})(?:[ ./\-\u{a0}\u{2011}][0-9]{2,9}){1,6}\b",
    ))
    .expect("the pattern is a right one")
});

pub(super) fn find(text: &str, found: &mut impl FnMut(Range<usize>)) {
    for form in FORMS.find_iter(text) {
        let digits = form.as_str().bytes().filter(u8::is_ascii_digit).count();
        let is_local = form.as_str().trim_start_matches('(').starts_with('0') && !form.as_str().starts_with("00");
        // E.164 allows 15 digits; what follows 00 or stands in (0) comes on top.
        let right_length = if is_local { (9..=13).contains(&digits) } else { (7..=17).contains(&digits) };
        if right_length && !is_part_of_more(text, form.range()) && !is_date(form.as_str()) {
            found(form.range());
        }
    }
}

/// Whether it stands in the middle of an id, a version, or a longer number.
fn is_part_of_more(text: &str, range: Range<usize>) -> bool {
    let goes_on = |next: char| next.is_alphanumeric() || matches!(next, '_');
    let is_signed = |next: char| goes_on(next) || matches!(next, '-' | '.');
    let starts_plain = text.as_bytes()[range.start].is_ascii_digit();
    before(text, range.start).is_some_and(|next| if starts_plain { is_signed(next) } else { next.is_ascii_digit() })
        || after(text, range.end).is_some_and(goes_on)
}

/// 01.02.2026 10 and the like: two short numbers, then a year.
fn is_date(form: &str) -> bool {
    let mut parts = form.split(['.', '/', '-', ' ']);
    let (day, month, year) = (parts.next(), parts.next(), parts.next());
    let is_short = |part: Option<&str>| part.is_some_and(|part| part.len() == 2 && part <= "31");
    is_short(day)
        && is_short(month)
        && year.is_some_and(|year| year.len() == 4 && (year.starts_with("19") || year.starts_with("20")))
}

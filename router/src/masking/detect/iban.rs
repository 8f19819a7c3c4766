//! International bank account numbers (ISO 13616): a country, its length, and check digits that are right.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::before;

const LENGTH_MIN: usize = 15;
const LENGTH_MAX: usize = 34;
/// More than the longest one with a sign between any two characters.
const WINDOW_BYTES_MAX: usize = 3 * LENGTH_MAX;

static BEGINNING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i-u:[A-Z]{2}[0-9]{2})").expect("the pattern is a right one"));

/// Countries and the lengths of their numbers.
const LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 \
    FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 \
    MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 \
    SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

pub(super) fn find(text: &str, found: &mut impl FnMut(Range<usize>)) {
    let mut free_from = 0;
    for beginning in BEGINNING.find_iter(text) {
        let start = beginning.start();
        if start < free_from || before(text, start).is_some_and(char::is_alphanumeric) {
            continue;
        }
        if let Some(end) = end_of(text, start) {
            found(start..end);
            free_from = end;
        }
    }
}

fn end_of(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let window = &bytes[start..bytes.len().min(start + WINDOW_BYTES_MAX)];
    let (mut characters, mut places, mut has_sign) = (Vec::with_capacity(LENGTH_MAX), Vec::new(), true);
    for (place, byte) in window.iter().enumerate() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' if characters.len() <= LENGTH_MAX => {
                characters.push(byte.to_ascii_uppercase());
                places.push(start + place + 1);
                has_sign = false;
            }
            b' ' | b'-' if !has_sign => has_sign = true,
            _ => break,
        }
    }
    let country = std::str::from_utf8(characters.get(..2)?).expect("these are letters");
    let length = LENGTHS.split_ascii_whitespace().find_map(|entry| entry.strip_prefix(country)?.parse().ok());
    let fits = |length: &usize| {
        let goes_on = text[places[length - 1]..].chars().next().is_some_and(char::is_alphanumeric);
        !goes_on && is_right(&characters[..*length])
    };
    let longest = characters.len().min(LENGTH_MAX);
    match length {
        Some(length) => Some(length).filter(|length| *length <= longest).filter(fits),
        // A country that joined later.
        None => (LENGTH_MIN..=longest).rev().find(fits),
    }
    .map(|length| places[length - 1])
}

/// Whether the check digits are right: the rest by 97 is 1 once the first four stand last (ISO 7064, MOD 97-10).
fn is_right(characters: &[u8]) -> bool {
    let (head, tail) = characters.split_at(4);
    let rest = tail.iter().chain(head).fold(0_u32, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    rest == 1
}

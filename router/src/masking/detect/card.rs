//! Numbers of payment cards: 13 to 19 digits in groups or in one, with a beginning that cards have and a right check digit.

use std::ops::Range;

const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;
/// How many groups are looked at together.
const RUN_GROUPS_MAX: usize = 1024;

pub(super) fn find(text: &str, found: &mut impl FnMut(Range<usize>)) {
    for run in runs(text) {
        in_run(&run, found);
    }
}

/// Digits one after the other, with at most one sign between two of them.
struct Run {
    digits: Vec<u8>,
    /// Where each digit stands.
    places: Vec<usize>,
    /// The digits that stand at the beginning of a group.
    starts: Vec<usize>,
}

impl Run {
    fn ends_group(&self, digit: usize) -> bool {
        digit + 1 == self.digits.len() || self.places[digit + 1] != self.places[digit] + 1
    }
}

fn runs(text: &str) -> impl Iterator<Item = Run> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        at += bytes[at..].iter().position(u8::is_ascii_digit)?;
        let mut run = Run { digits: Vec::new(), places: Vec::new(), starts: vec![0] };
        loop {
            let group = at;
            while let Some(digit) = bytes.get(at).filter(|byte| byte.is_ascii_digit()) {
                if at - group < DIGITS_MAX {
                    run.digits.push(digit - b'0');
                    run.places.push(at);
                }
                at += 1;
            }
            if at - group > DIGITS_MAX {
                // Longer than any card: what stands before it may be one.
                let start = run.starts.pop().expect("each group has its start");
                run.digits.truncate(start);
                run.places.truncate(start);
                return Some(run);
            }
            let sign = separator(&text[at..]);
            if sign == 0 || !bytes.get(at + sign).is_some_and(u8::is_ascii_digit) {
                return Some(run);
            }
            if run.starts.len() >= RUN_GROUPS_MAX {
                // The next run begins early enough for a card that goes over the border.
                at = run.places[run.starts[RUN_GROUPS_MAX - DIGITS_MAX]];
                return Some(run);
            }
            at += sign;
            run.starts.push(run.digits.len());
        }
    })
}

/// How long the sign is that may stand between two digits here; 0 when there is none.
fn separator(rest: &str) -> usize {
    match rest.chars().next() {
        Some(sign @ (' ' | '-' | '.' | '+' | '\u{a0}' | '\u{2009}' | '\u{2010}' | '\u{2011}' | '\u{202f}')) => {
            sign.len_utf8()
        }
        Some('%') if rest.starts_with("%20") => 3,
        _ => 0,
    }
}

/// A card begins with a group and ends with one; several may follow each other.
fn in_run(run: &Run, found: &mut impl FnMut(Range<usize>)) {
    let mut free_from = 0;
    for &start in &run.starts {
        if start < free_from {
            continue;
        }
        let longest = DIGITS_MAX.min(run.digits.len() - start);
        let fits = |length: &usize| run.ends_group(start + length - 1) && is_card(&run.digits[start..start + length]);
        if let Some(length) = (DIGITS_MIN..=longest).rev().find(fits) {
            found(run.places[start]..run.places[start + length - 1] + 1);
            free_from = start + length;
        }
    }
}

fn is_card(digits: &[u8]) -> bool {
    let begins = |prefix: usize| digits[..prefix].iter().fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    let is_issued = match digits.len() {
        13 => digits[0] == 4,
        14 => matches!(begins(2), 30 | 36 | 38 | 39),
        15 => matches!(begins(2), 34 | 37) || matches!(begins(4), 1800 | 2131),
        16 => matches!(digits[0], 2..=6) || matches!(begins(2), 81 | 82) || begins(4) == 9792,
        _ => matches!(digits[0], 4..=6),
    };
    is_issued && luhn(digits)
}

/// Whether the last digit is right (ISO/IEC 7812-1, annex B).
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| {
            let digit = u32::from(digit);
            match digit * 2 {
                _ if place % 2 == 0 => digit,
                doubled if doubled > 9 => doubled - 9,
                doubled => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

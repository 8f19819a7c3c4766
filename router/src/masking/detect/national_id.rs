//! Numbers that states give to people. Where one has check digits they must be right; where it has none, its signs must be there.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::{card::luhn, is_in_word};

/// What a number looks like, and what must hold of its digits and letters.
struct Form {
    pattern: Regex,
    is_right: Rule,
}

/// Whether what has the form is one: most have a digit that the others decide.
type Rule = fn(&[u8]) -> bool;

static FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| {
    let forms: [(&str, Rule); 12] = [
        // United States, social security number and ITIN
        (r"[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}", us_ssn),
        // United Kingdom, national insurance number
        (r"(?i-u:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D])", |_| true),
        // Germany, tax id
        (r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", german_tax_id),
        // Germany, pension insurance
        (r"(?i-u:[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3})", german_pension),
        // France, NIR
        (r"[1-478] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", french_nir),
        // Spain, DNI and NIE
        (r"(?i-u:[XYZ0-9]-?[0-9]{7}-?[A-Z])", spanish_dni),
        // Italy, codice fiscale
        (r"(?i-u:[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z])", italian_code),
        // Switzerland, AHV
        (r"756[. ]?[0-9]{4}[. ]?[0-9]{4}[. ]?[0-9]{2}", swiss_ahv),
        // Poland, PESEL
        (r"[0-9]{11}", polish_pesel),
        // Sweden, personnummer
        (r"(?:19|20)?[0-9]{6}[-+][0-9]{4}", |number| luhn(&digits(&number[number.len() - 10..]))),
        // Brazil, CPF
        (r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", brazilian_cpf),
        // Canada, social insurance number
        (r"[0-9]{3}[- ][0-9]{3}[- ][0-9]{3}", |number| number[0] != b'0' && luhn(&digits(number))),
    ];
    forms
        .into_iter()
        .map(|(pattern, is_right)| {
            // None begins inside of a word, so that long rows of digits are passed at once.
            let pattern = Regex::new(&format!(r"(?-u:\b)(?:{pattern})")).expect("the pattern is a right one");
            Form { pattern, is_right }
        })
        .collect()
});

pub(super) fn find(text: &str, found: &mut impl FnMut(Range<usize>)) {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return;
    }
    for form in &*FORMS {
        let mut from = 0;
        while let Some(candidate) = form.pattern.find_at(text, from) {
            let plain: Vec<u8> = candidate.as_str().bytes().filter(u8::is_ascii_alphanumeric).collect();
            let plain = plain.to_ascii_uppercase();
            if !is_in_word(text, &candidate.range()) && (form.is_right)(&plain) {
                found(candidate.range());
                from = candidate.end();
            } else {
                // The right one may begin inside of what only looked like one.
                from = candidate.start() + 1;
            }
        }
    }
}

fn digits(number: &[u8]) -> Vec<u8> {
    number.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').collect()
}

fn number(bytes: &[u8]) -> u64 {
    digits(bytes).into_iter().fold(0, |number, digit| number * 10 + u64::from(digit))
}

/// The sum of the digits, each by its weight.
fn weighted(digits: &[u8], weights: impl IntoIterator<Item = u32>) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

fn us_ssn(plain: &[u8]) -> bool {
    !matches!(&plain[..3], b"000" | b"666") && &plain[3..5] != b"00" && &plain[5..] != b"0000"
}

/// ISO 7064, MOD 11,10; of the first ten digits one stands there twice or three times.
fn german_tax_id(plain: &[u8]) -> bool {
    let digits = digits(plain);
    let repeats = (0..10).map(|digit| digits[..10].iter().filter(|other| **other == digit).count()).max();
    let product = digits[..10].iter().fold(10, |product, digit| match (u32::from(*digit) + product) % 10 {
        0 => 20 % 11,
        sum => sum * 2 % 11,
    });
    matches!(repeats, Some(2 | 3)) && (11 - product) % 10 == u32::from(digits[10])
}

fn german_pension(plain: &[u8]) -> bool {
    let letter = plain[8] - b'A' + 1;
    let digits: Vec<u8> = [&digits(&plain[..8])[..], &[letter / 10, letter % 10], &digits(&plain[9..])].concat();
    let cross = |product: u32| product / 10 + product % 10;
    let weights = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
    let sum: u32 = digits.iter().zip(weights).map(|(digit, weight)| cross(u32::from(*digit) * weight)).sum();
    sum % 10 == u32::from(digits[12])
}

fn french_nir(plain: &[u8]) -> bool {
    // Corsica counts as a number.
    let less = match plain[6] {
        b'A' => 1_000_000,
        b'B' => 2_000_000,
        _ => 0,
    };
    let mut main = plain[..13].to_vec();
    if less > 0 {
        main[6] = b'0';
    }
    let main = number(&main);
    main > less && 97 - (main - less) % 97 == number(&plain[13..])
}

fn spanish_dni(plain: &[u8]) -> bool {
    let mut main = plain[..8].to_vec();
    if let Some(place) = b"XYZ".iter().position(|letter| *letter == main[0]) {
        main[0] = b'0' + place as u8;
    }
    b"TRWAGMYFPDXBNJZSQVHLCKE"[(number(&main) % 23) as usize] == plain[8]
}

fn italian_code(plain: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let index = |byte: u8| usize::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
    let value = |(place, byte): (usize, &u8)| if place % 2 == 0 { ODD[index(*byte)] } else { index(*byte) as u32 };
    plain[..15].iter().enumerate().map(value).sum::<u32>() % 26 == u32::from(plain[15] - b'A')
}

fn swiss_ahv(plain: &[u8]) -> bool {
    let digits = digits(plain);
    let sum = weighted(&digits[..12], [1, 3].into_iter().cycle());
    (10 - sum % 10) % 10 == u32::from(digits[12])
}

fn polish_pesel(plain: &[u8]) -> bool {
    let digits = digits(plain);
    let (month, day) = (number(&plain[2..4]) % 20, number(&plain[4..6]));
    let sum = weighted(&digits[..10], [1, 3, 7, 9].into_iter().cycle());
    (1..=12).contains(&month) && (1..=31).contains(&day) && (10 - sum % 10) % 10 == u32::from(digits[10])
}

fn brazilian_cpf(plain: &[u8]) -> bool {
    let digits = digits(plain);
    let check = |count: usize| match weighted(&digits[..count], (2..=count as u32 + 1).rev()) * 10 % 11 {
        10 => 0,
        rest => rest,
    };
    digits.iter().any(|digit| *digit != digits[0])
        && check(9) == u32::from(digits[9])
        && check(10) == u32::from(digits[10])
}

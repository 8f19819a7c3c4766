//! `PICTURE` strings: what one says of the bytes of a field.

use std::iter::Peekable;

/// What a picture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picture {
    /// Characters as they are (`X`, `A`).
    Text { bytes: usize },
    /// A number that was made for people to read (`ZZ9.99-`), or text with insertions: characters.
    Edited { bytes: usize },
    /// Digits with a decimal point that takes no room.
    Number(Digits),
}

/// The digits of a number: its value is `digits × 10^-scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digits {
    /// How many there are, 1 to 31.
    pub(super) count: usize,
    /// How many of them are behind the decimal point; negative where zeros are left out behind them.
    pub(super) scale: i32,
    pub(super) signed: bool,
}

/// More than any compiler takes, with its largest arithmetic.
const DIGITS_MAX: usize = 31;
/// How large a field may be; the record has the same limit.
const BYTES_MAX: usize = super::RECORD_BYTES_MAX;

impl Picture {
    /// Reads a picture in upper case. The error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let symbols = symbols(text)?;
        let has = |wanted: &[char]| symbols.iter().any(|(symbol, _)| wanted.contains(symbol));
        if let Some((symbol, _)) = symbols.iter().find(|(symbol, _)| !"XA9SVPZ*+-.,/B0$CD".contains(*symbol)) {
            return Err(refusal(*symbol));
        }
        if has(&['Z', '*', '+', '-', '.', ',', '/', 'B', '0', '$', 'C', 'D']) {
            if has(&['S']) {
                return Err("a picture with S takes only 9, V and P besides".to_owned());
            }
            return Ok(Self::Edited { bytes: size(&symbols)? });
        }
        if has(&['X', 'A']) {
            if has(&['S', 'V', 'P']) {
                return Err("a picture with X or A is no number, so it takes no S, V or P".to_owned());
            }
            return Ok(Self::Text { bytes: size(&symbols)? });
        }
        number(&symbols).map(Self::Number)
    }
}

/// The symbols, each with how often it stands in a row. `CR` and `DB` stand as `C` and `D`, two characters wide.
fn symbols(text: &str) -> Result<Vec<(char, usize)>, String> {
    let mut symbols: Vec<(char, usize)> = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(symbol) = rest.next() {
        let follows = match symbol {
            'C' => Some('R'),
            'D' => Some('B'),
            _ => None,
        };
        if follows.is_some() && rest.next() != follows {
            return Err(refusal(symbol));
        }
        let times = repetition(&mut rest)?;
        match symbols.last_mut() {
            // One after the other, a symbol may be written in two ways at once: `9(3)9`.
            Some((last, count)) if *last == symbol => *count = count.saturating_add(times),
            _ => symbols.push((symbol, times)),
        }
    }
    if symbols.is_empty() { Err("the picture is empty".to_owned()) } else { Ok(symbols) }
}

/// `(n)`, where it stands; otherwise 1.
fn repetition(rest: &mut Peekable<std::str::Chars<'_>>) -> Result<usize, String> {
    if rest.next_if_eq(&'(').is_none() {
        return Ok(1);
    }
    let mut digits = String::new();
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    if rest.next() != Some(')') {
        return Err("a repetition is a number in parentheses, such as X(10)".to_owned());
    }
    match digits.parse::<usize>() {
        Ok(0) | Err(_) => Err(format!("({digits}) is no number of times")),
        Ok(times) => Ok(times),
    }
}

/// How many characters it shows.
fn size(symbols: &[(char, usize)]) -> Result<usize, String> {
    let width = |&(symbol, times): &(char, usize)| match symbol {
        'V' | 'P' => 0,
        'C' | 'D' => times.saturating_mul(2),
        _ => times,
    };
    let bytes = symbols.iter().map(width).fold(0, usize::saturating_add);
    match bytes {
        0 => Err("it takes no room at all".to_owned()),
        1..=BYTES_MAX => Ok(bytes),
        _ => Err(format!("a field has at most {BYTES_MAX} bytes")),
    }
}

fn number(symbols: &[(char, usize)]) -> Result<Digits, String> {
    let (signed, body) = match symbols {
        [('S', 1), body @ ..] => (true, body),
        body => (false, body),
    };
    // Zeros that are left out before the digits put the point in front of all of them.
    let (count, scale) = match *body {
        [('9', whole)] | [('9', whole), ('V', 1)] => (whole, Some(0)),
        [('9', whole), ('V', 1), ('9', fraction)] => (whole.saturating_add(fraction), fraction.try_into().ok()),
        [('V', 1), ('9', fraction)] => (fraction, fraction.try_into().ok()),
        [('9', whole), ('P', zeros)] | [('9', whole), ('P', zeros), ('V', 1)] => {
            (whole, i32::try_from(zeros).ok().map(|zeros| -zeros))
        }
        [('P', zeros), ('9', digits)] | [('V', 1), ('P', zeros), ('9', digits)] => {
            (digits, digits.saturating_add(zeros).try_into().ok())
        }
        _ => return Err("S stands once and first, V once, and P at one end, beside the point".to_owned()),
    };
    let places_max = i32::try_from(DIGITS_MAX).expect("31 is an i32");
    match scale {
        Some(scale) if count <= DIGITS_MAX && scale.abs() <= places_max => Ok(Digits { count, scale, signed }),
        _ => Err(format!("a number has at most {DIGITS_MAX} digits")),
    }
}

fn refusal(symbol: char) -> String {
    match symbol {
        'N' | 'G' | 'U' => format!("{symbol} stands for national or double-byte characters, which are not supported"),
        'E' => "floating point (E) is not supported".to_owned(),
        '1' => "bits (1) are not supported".to_owned(),
        ':' => "it has a placeholder for COPY REPLACING: put the real text there".to_owned(),
        _ => format!("{symbol:?} is no symbol of a picture that is understood here"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Digits, Picture};

    #[test]
    fn pictures_say_what_the_bytes_are() {
        let number = |count, scale, signed| Ok(Picture::Number(Digits { count, scale, signed }));
        for (text, expected) in [
            ("X", Ok(Picture::Text { bytes: 1 })),
            ("X(30)", Ok(Picture::Text { bytes: 30 })),
            ("A(3)X99", Ok(Picture::Text { bytes: 6 })),
            ("9", number(1, 0, false)),
            ("S9(7)V99", number(9, 2, true)),
            ("9(3)9(4)", number(7, 0, false)),
            ("S9(5)V", number(5, 0, true)),
            ("V9(4)", number(4, 4, false)),
            ("99PPP", number(2, -3, false)),
            ("99P(3)V", number(2, -3, false)),
            ("SP(2)9(3)", number(3, 5, true)),
            ("VPP9", number(1, 3, false)),
            ("9(31)", number(31, 0, false)),
            ("ZZ,ZZ9.99-", Ok(Picture::Edited { bytes: 10 })),
            ("$(5)9.99CR", Ok(Picture::Edited { bytes: 11 })),
            ("99/99/9999", Ok(Picture::Edited { bytes: 10 })),
            ("ZZ9V99DB", Ok(Picture::Edited { bytes: 7 })),
            ("XXBXX0", Ok(Picture::Edited { bytes: 6 })),
        ] {
            assert_eq!(Picture::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn pictures_that_are_none_are_refused() {
        for text in [
            "",
            "(3)",
            "X(",
            "X()",
            "X(0)",
            "X(-1)",
            "X(1",
            "X(99999999999999999999)",
            "X(2000000)",
            "X(1048577)",
            "9(32)",
            "S",
            "V",
            "P",
            "9S",
            "SS9",
            "9V9V9",
            "9PV9",
            "P9P",
            "9P9",
            "VP",
            "S9X",
            "XV9",
            "N(4)",
            "G",
            "1(8)",
            "+9E99",
            "CX",
            "DD",
            "é",
            "SZZ9",
            "9(18446744073709551615)9(18446744073709551615)",
            "P(40)9",
            "9P(40)",
            ":LEN:",
        ] {
            assert!(Picture::parse(text).is_err(), "{text}");
        }
    }
}

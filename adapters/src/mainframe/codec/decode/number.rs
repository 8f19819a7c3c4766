//! The forms of numbers: characters, packed, binary.

use super::super::{
    copybook::Sign,
    layout::{Form, Number},
};

/// A number before its decimal point is put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Value {
    negative: bool,
    /// At most 31 digits, so it always fits.
    magnitude: u128,
}

/// Bytes that are no number, and which of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) what: String,
}

impl Wrong {
    fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

/// Reads a number; `None` when it is blank and may be.
pub(super) fn read(number: &Number, bytes: &[u8], ebcdic: bool) -> Result<Option<Value>, Wrong> {
    let alphabet = if ebcdic { &EBCDIC } else { &ASCII };
    let blank = if bytes.iter().all(|&byte| byte == alphabet.space) {
        Some("spaces")
    } else if bytes.iter().all(|&byte| byte == 0) {
        Some("low-values")
    } else {
        None
    };
    match (number.form, blank) {
        (Form::Zoned(_), Some(_)) if number.blank_when_zero => Ok(None),
        (Form::Zoned(_), Some(blank)) => {
            Err(Wrong::new(0, format!("it holds {blank} and no digits, and its picture has no BLANK WHEN ZERO")))
        }
        (Form::Zoned(sign), None) => zoned(bytes, sign, number.digits.signed, alphabet).map(Some),
        (Form::Packed, _) => packed(bytes, number).map(Some),
        (Form::Binary, _) => Ok(Some(binary(bytes, number.digits.signed))),
    }
}

/// Characters that numbers are written in. They are the same on every code page of EBCDIC.
struct Alphabet {
    space: u8,
    plus: u8,
    minus: u8,
    digit: fn(u8) -> Option<u8>,
    /// A digit with a sign over it: whether it is negative, and the digit.
    signed_digit: fn(u8) -> Option<(bool, u8)>,
}

static EBCDIC: Alphabet = Alphabet {
    space: 0x40,
    plus: 0x4e,
    minus: 0x60,
    digit: |byte| (byte >> 4 == 0xf).then_some(byte & 0xf).filter(|digit| *digit <= 9),
    signed_digit: |byte| {
        let negative = is_negative(byte >> 4)?;
        Some((negative, byte & 0xf)).filter(|(_, digit)| *digit <= 9)
    },
};

static ASCII: Alphabet = Alphabet {
    space: b' ',
    plus: b'+',
    minus: b'-',
    digit: |byte| byte.is_ascii_digit().then(|| byte - b'0'),
    // As EBCDIC's become when they are translated as text, and as compilers for ASCII machines write them.
    signed_digit: |byte| match byte {
        b'0'..=b'9' => Some((false, byte - b'0')),
        b'{' => Some((false, 0)),
        b'A'..=b'I' => Some((false, byte - b'A' + 1)),
        b'}' => Some((true, 0)),
        b'J'..=b'R' => Some((true, byte - b'J' + 1)),
        b'p'..=b'y' => Some((true, byte - b'p')),
        _ => None,
    },
};

/// What half a byte says as a sign: C, F, A and E plus, D and B minus.
fn is_negative(half: u8) -> Option<bool> {
    match half {
        0xa | 0xc | 0xe | 0xf => Some(false),
        0xb | 0xd => Some(true),
        _ => None,
    }
}

fn zoned(bytes: &[u8], sign: Sign, signed: bool, alphabet: &Alphabet) -> Result<Value, Wrong> {
    let sign_at = if sign.leading { 0 } else { bytes.len() - 1 };
    let mut value = Value { negative: false, magnitude: 0 };
    for (at, &byte) in bytes.iter().enumerate() {
        let carries_sign = signed && at == sign_at;
        if carries_sign && sign.separate {
            value.negative = match byte {
                _ if byte == alphabet.plus => false,
                _ if byte == alphabet.minus => true,
                _ => return Err(Wrong::new(at, format!("0x{byte:02X} is no sign"))),
            };
            continue;
        }
        let digit = if carries_sign {
            (alphabet.signed_digit)(byte).map(|(negative, digit)| {
                value.negative = negative;
                digit
            })
        } else {
            (alphabet.digit)(byte)
        };
        let Some(digit) = digit else {
            let wanted = if carries_sign { "digit with a sign" } else { "digit" };
            return Err(Wrong::new(at, format!("0x{byte:02X} is no {wanted}")));
        };
        value.push(digit);
    }
    Ok(value)
}

fn packed(bytes: &[u8], number: &Number) -> Result<Value, Wrong> {
    let mut value = Value { negative: false, magnitude: 0 };
    let last = bytes.len() - 1;
    for (at, &byte) in bytes.iter().enumerate() {
        let (high, low) = (byte >> 4, byte & 0xf);
        let digits = if at == last { &[high][..] } else { &[high, low][..] };
        for &digit in digits {
            if digit > 9 {
                return Err(Wrong::new(at, format!("0x{byte:02X} is no pair of packed digits")));
            }
            value.push(digit);
        }
        if at == 0 && number.digits.count.is_multiple_of(2) && high != 0 {
            return Err(Wrong::new(at, format!("0x{byte:02X} has one digit more than the picture")));
        }
        if at == last {
            value.negative = match is_negative(low) {
                Some(true) if !number.digits.signed => {
                    return Err(Wrong::new(at, format!("0x{byte:02X} has a minus, and the picture has no sign")));
                }
                Some(negative) => negative,
                None => return Err(Wrong::new(at, format!("0x{byte:02X} does not end with a packed sign"))),
            };
        }
    }
    Ok(value)
}

/// All that the bytes can hold, also beyond the digits of the picture, as programs that were compiled for it write.
fn binary(bytes: &[u8], signed: bool) -> Value {
    let unsigned = bytes.iter().fold(0_u128, |value, &byte| value << 8 | u128::from(byte));
    let negative = signed && bytes.first().is_some_and(|first| first & 0x80 != 0);
    let magnitude = if negative { (1 << (8 * bytes.len())) - unsigned } else { unsigned };
    Value { negative, magnitude }
}

impl Value {
    fn push(&mut self, digit: u8) {
        self.magnitude = self.magnitude * 10 + u128::from(digit);
    }

    /// The value of a whole number.
    pub(super) fn whole(&self) -> i128 {
        let magnitude = i128::try_from(self.magnitude).expect("31 digits and 8 bytes both fit");
        if self.negative { -magnitude } else { magnitude }
    }

    /// Writes it as JSON, with as many decimals as its picture has.
    pub(super) fn write(&self, scale: i32, out: &mut String) {
        if self.negative && self.magnitude != 0 {
            out.push('-');
        }
        let places = usize::try_from(scale.unsigned_abs()).expect("a scale is small");
        if scale <= 0 {
            out.push_str(&self.magnitude.to_string());
            if self.magnitude != 0 {
                out.extend(std::iter::repeat_n('0', places));
            }
            return;
        }
        // At least one digit before the point.
        let digits = format!("{:0>width$}", self.magnitude, width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    }
}

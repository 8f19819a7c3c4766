//! Base64 and hex in text: what hides behind them is looked at as well.

use std::ops::Range;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Nothing that is looked for is shorter once it is encoded.
const LENGTH_MIN: usize = 12;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The pieces of `text` that may be an encoded text.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            at += bytes[at..].iter().position(|byte| is_sign(*byte))?;
            let start = at;
            at += bytes[at..].iter().position(|byte| !is_sign(*byte)).unwrap_or(bytes.len() - at);
            let signs = at - start;
            let padding = bytes[at..].iter().take(2).take_while(|byte| **byte == b'=').count();
            at += padding;
            if signs >= LENGTH_MIN {
                return Some(start..at);
            }
        }
    })
}

/// The text that a piece stands for, if it stands for one.
pub(super) fn decoded(piece: &str) -> Option<String> {
    let from_hex = || {
        let digits = piece.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let pairs = digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
        digits.len().is_multiple_of(2).then(|| pairs.collect::<Option<Vec<u8>>>()).flatten()
    };
    let as_text = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).ok()?;
        let is_read = |char: char| !char.is_control() || char.is_whitespace();
        text.chars().all(is_read).then_some(text)
    };
    from_hex()
        .and_then(as_text)
        .or_else(|| STANDARD.decode(piece).ok().and_then(as_text))
        .or_else(|| URL_SAFE.decode(piece).ok().and_then(as_text))
}

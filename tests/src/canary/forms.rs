//! The ways in which a secret may be written.

use std::fmt::Write as _;

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A form is looked up by its last bytes.
pub(super) const TAIL_BYTES: usize = 8;
pub(super) type Tail = [u8; TAIL_BYTES];

/// Every form of a value, each once.
pub(super) fn of(value: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms: Vec<(&'static str, Vec<u8>)> = Vec::new();
    let mut add = |form, bytes: Vec<u8>| {
        if !forms.iter().any(|(_, known)| *known == bytes) {
            forms.push((form, bytes));
        }
    };
    add("verbatim", value.as_bytes().to_vec());
    for skipped in 0..3 {
        add("base64", base64_within(&STANDARD_NO_PAD, skipped, value));
        add("base64url", base64_within(&URL_SAFE_NO_PAD, skipped, value));
    }
    let mut hex = String::new();
    for byte in value.bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    add("hex", hex.to_uppercase().into_bytes());
    add("hex", hex.into_bytes());
    add("percent", percent(value).into_bytes());
    let quoted = serde_json::Value::from(value).to_string();
    add("JSON", quoted.as_bytes()[1..quoted.len() - 1].to_vec());
    forms
}

/// What the base64 of a longer text has of the value, whatever stands around it there: `skipped` bytes go before it, modulo three.
fn base64_within(engine: &impl base64::Engine, skipped: usize, value: &str) -> Vec<u8> {
    let mut bytes = vec![0; skipped];
    bytes.extend(value.as_bytes());
    let text = engine.encode(&bytes).into_bytes();
    // Characters that hold bits of the neighbours are left out.
    let (first, last) = ((skipped * 8).div_ceil(6), bytes.len() * 8 / 6);
    text[first..last].to_vec()
}

/// As in a URL: what is not unreserved (RFC 3986) is escaped.
fn percent(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

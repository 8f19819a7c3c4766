//! Arguments in the one form in which equal ones are the same bytes, and different ones never are.
//!
//! Order and escapes are those of RFC 8785. Its numbers are not: it rounds them to doubles, which would give 9007199254740992 and
//! 9007199254740993 one key, and one account the other's answer. Here a number is its exact value, with as many digits as it needs, written
//! as RFC 8785 writes a double. So 1, 1.0 and 1e0 are one, and what comes out is JSON that means what went in.
//!
//! Where two spellings may mean two things to a downstream, they stay two: -0 is not 0 (as a double it has another sign), and a composed
//! character is not the same text decomposed. Where it is doubtful what a spelling means at all, nothing is cached.

mod json;
mod number;

use std::fmt;

use self::json::{Member, Value};

/// The largest arguments that are worth a key.
const ARGUMENTS_BYTES_MAX: usize = 64 * 1024;
/// How deep arrays and objects may nest.
const DEPTH_MAX: usize = 64;
/// The largest power of ten, of either sign, in a number: far beyond any measurement, and short to write down.
const EXPONENT_MAX: i64 = 9_999;

/// The arguments of one call, in canonical form.
#[derive(Clone, PartialEq, Eq)]
pub struct Canonical(String);

impl Canonical {
    /// Reads a JSON object: the arguments as they go to the downstream, with the defaults that Weir itself adds.
    ///
    /// Takes time linear in their size, but for the sorting of names.
    ///
    /// # Errors
    /// When they are too large, or when it is not certain what they mean. Such a call can still be made, without the cache.
    pub fn of(arguments: &[u8]) -> Result<Self, Uncacheable> {
        if arguments.len() > ARGUMENTS_BYTES_MAX {
            return Err(Uncacheable::TooLarge);
        }
        let value = json::read(arguments)?;
        if !matches!(value, Value::Object(_)) {
            return Err(Uncacheable::NotAnObject);
        }
        let mut out = String::with_capacity(arguments.len());
        write(&value, &mut out)?;
        Ok(Self(out))
    }

    /// The canonical form, which is JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Arguments are a caller's business: only their length shows.
impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canonical({} bytes)", self.0.len())
    }
}

/// Why arguments have no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Uncacheable {
    #[error("the arguments have more than {ARGUMENTS_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the arguments nest deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("the arguments are not JSON (byte {at})")]
    NotJson { at: usize },
    #[error("the arguments are not a JSON object")]
    NotAnObject,
    /// Parsers differ on which of the two counts.
    #[error("a member stands twice in one object of the arguments")]
    Twice,
    /// Parsers replace it, keep it or give up.
    #[error("a string in the arguments holds half of a surrogate pair")]
    LoneSurrogate,
    /// Parsers make it infinite, zero or an error.
    #[error("a number in the arguments has an exponent beyond {EXPONENT_MAX}")]
    Exponent,
}

/// The exact value of a JSON number, in its one spelling.
///
/// # Errors
/// When its exponent is beyond what any two parsers agree on.
pub fn exact_number(text: &str) -> Result<String, Uncacheable> {
    let mut out = String::with_capacity(text.len());
    number::write(text, &mut out)?;
    Ok(out)
}

fn write(value: &Value<'_>, out: &mut String) -> Result<(), Uncacheable> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(text) => number::write(text, out)?,
        Value::Text(text) => write_text(text, out),
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(value, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, Member { name, value }) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_text(name, out);
                out.push(':');
                write(value, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// The escapes of RFC 8785, section 3.2.2.2: as few and as short as JSON allows.
fn write_text(text: &str, out: &mut String) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    out.push('"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        if !matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            continue;
        }
        out.push_str(&text[written..at]);
        written = at + 1;
        out.push('\\');
        match byte {
            0x08 => out.push('b'),
            b'\t' => out.push('t'),
            b'\n' => out.push('n'),
            0x0c => out.push('f'),
            b'\r' => out.push('r'),
            0..=0x1f => {
                out.push_str("u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0xf)]);
            }
            _ => out.push(char::from(byte)),
        }
    }
    out.push_str(&text[written..]);
    out.push('"');
}

#[cfg(test)]
mod tests;

//! A number's exact value, in one spelling.

use super::{EXPONENT_MAX, Uncacheable};

/// Up to how many places stand before the point, and zeros after it, before the number is written with an exponent (ECMA-262,
/// Number::toString, which RFC 8785 refers to).
const PLACES_MAX: i64 = 21;
const ZEROS_MAX: i64 = 5;

/// Writes the value of `text`, which is a number as JSON spells it.
pub(super) fn write(text: &str, out: &mut String) -> Result<(), Uncacheable> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if unsigned.len() < text.len() {
        out.push('-');
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let significant = all.trim_start_matches('0');
    let zeros_before = all.len() - significant.len();
    let digits = significant.trim_end_matches('0');
    if digits.is_empty() {
        out.push('0');
        return Ok(());
    }
    // The value is 0.DIGITS times ten to this power.
    let point = whole.len() as i64 - zeros_before as i64 + exponent;
    write_digits(digits, point, out)
}

fn write_digits(digits: &str, point: i64, out: &mut String) -> Result<(), Uncacheable> {
    let length = digits.len() as i64;
    match point {
        1..=PLACES_MAX if length <= point => {
            out.push_str(digits);
            out.extend((length..point).map(|_| '0'));
        }
        1..=PLACES_MAX => {
            let (whole, fraction) = digits.split_at(point as usize);
            out.extend([whole, ".", fraction]);
        }
        _ if (-ZEROS_MAX..=0).contains(&point) => {
            out.push_str("0.");
            out.extend((point..0).map(|_| '0'));
            out.push_str(digits);
        }
        _ => {
            let exponent = point - 1;
            if exponent.abs() > EXPONENT_MAX {
                return Err(Uncacheable::Exponent);
            }
            let (first, rest) = digits.split_at(1);
            out.push_str(first);
            if !rest.is_empty() {
                out.extend([".", rest]);
            }
            out.push_str(if exponent < 0 { "e-" } else { "e+" });
            out.push_str(&exponent.abs().to_string());
        }
    }
    Ok(())
}

/// The exponent as it is written is bounded too: what a parser makes of 0e999999999 is anybody's guess, though it is exactly 0.
fn read_exponent(text: &str) -> Result<i64, Uncacheable> {
    let digits = text.trim_start_matches(['+', '-']).trim_start_matches('0');
    let size = match digits {
        "" => 0,
        _ => digits.parse().ok().filter(|size| *size <= EXPONENT_MAX).ok_or(Uncacheable::Exponent)?,
    };
    Ok(if text.starts_with('-') { -size } else { size })
}

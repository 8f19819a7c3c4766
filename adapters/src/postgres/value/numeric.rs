//! `numeric`, digit for digit.

use super::{Malformed, Wire, push_string};

const NEGATIVE: u16 = 0x4000;

/// Writes a number with the digits that Postgres prints; what JSON has no number for as a string.
pub(super) fn write(wire: &mut Wire<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (count, weight, sign, scale) = (wire.u16()?, wire.i16()?, wire.u16()?, wire.u16()?);
    let mut groups = Vec::with_capacity(count.into());
    for _ in 0..count {
        groups.push(wire.u16()?);
    }
    match sign {
        0xC000 => push_string(out, "NaN"),
        0xD000 => push_string(out, "Infinity"),
        0xF000 => push_string(out, "-Infinity"),
        0 | NEGATIVE => push_digits(&groups, weight.into(), sign == NEGATIVE, scale.into(), out)?,
        _ => return Err(Malformed),
    }
    Ok(())
}

/// Each group is four decimal digits; the first stands for `group × 10000^weight`.
fn push_digits(groups: &[u16], weight: i32, negative: bool, scale: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if groups.iter().any(|&group| group > 9_999) {
        return Err(Malformed);
    }
    let group = |place: i32| {
        let index = usize::try_from(weight - place).ok();
        index.and_then(|index| groups.get(index)).copied().unwrap_or(0)
    };
    if negative {
        out.push(b'-');
    }
    out.extend_from_slice(group(weight.max(0)).to_string().as_bytes());
    for place in (0..weight.max(0)).rev() {
        out.extend_from_slice(format!("{:04}", group(place)).as_bytes());
    }
    if scale > 0 {
        out.push(b'.');
        let end = out.len() + scale;
        let mut place = -1;
        while out.len() < end {
            out.extend_from_slice(format!("{:04}", group(place)).as_bytes());
            place -= 1;
        }
        out.truncate(end);
    }
    Ok(())
}

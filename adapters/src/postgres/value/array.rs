//! Arrays: of any number of dimensions, with NULLs in them. Bounds other than 1 are not shown.

use super::{Decoder, Malformed, Wire};

/// The most dimensions that Postgres has.
const DIMENSIONS_MAX: i32 = 6;

/// Writes an array as nested JSON arrays.
pub(super) fn write(item: &Decoder, wire: &mut Wire<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (dimensions, _has_nulls, _item_type) = (wire.i32()?, wire.i32()?, wire.u32()?);
    if !(0..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err(Malformed);
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        let (length, _lower_bound) = (wire.i32()?, wire.i32()?);
        // An empty array has no dimensions.
        lengths.push(usize::try_from(length).ok().filter(|&length| length > 0).ok_or(Malformed)?);
    }
    if lengths.is_empty() {
        out.extend_from_slice(b"[]");
        return Ok(());
    }
    write_level(item, &lengths, wire, out)
}

fn write_level(item: &Decoder, lengths: &[usize], wire: &mut Wire<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let Some((&length, inner)) = lengths.split_first() else {
        return write_item(item, wire, out);
    };
    out.push(b'[');
    for index in 0..length {
        if index > 0 {
            out.push(b',');
        }
        write_level(item, inner, wire, out)?;
    }
    out.push(b']');
    Ok(())
}

fn write_item(item: &Decoder, wire: &mut Wire<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    match wire.i32()? {
        -1 => out.extend_from_slice(b"null"),
        length => item.write(wire.take(usize::try_from(length).map_err(|_| Malformed)?)?, out)?,
    }
    Ok(())
}

//! Values of Postgres as JSON, without loss: read from the binary form in which the protocol carries them.
//!
//! Types that are not known here are asked for in their text form, see [`Statement`](super::statement::Statement).

mod array;
mod network;
mod numeric;
#[cfg(test)]
mod tests;
mod time;

use std::io::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio_postgres::types::{Kind, Type};

/// How values of one type become JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoder {
    Bool,
    Int2,
    Int4,
    Int8,
    Unsigned4,
    Unsigned8,
    Float4,
    Float8,
    Numeric,
    Text,
    Char,
    Bytes,
    Uuid,
    Json,
    Jsonb,
    Date,
    Time,
    TimeWithZone,
    Timestamp,
    TimestampWithZone,
    Interval,
    Network,
    Mac,
    Void,
    Array(Box<Decoder>),
}

/// What came is not the binary form of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the binary form of its type")]
pub(super) struct Malformed;

impl Decoder {
    /// How values of `ty` are read; `None` for a type whose binary form is not known here.
    pub(super) fn of(ty: &Type) -> Option<Self> {
        Some(match ty.kind() {
            Kind::Domain(base) => return Self::of(base),
            Kind::Array(item) => Self::Array(Box::new(Self::of(item)?)),
            Kind::Enum(_) => Self::Text,
            _ if ty.name() == "citext" => Self::Text,
            _ => return Self::of_simple(ty),
        })
    }

    fn of_simple(ty: &Type) -> Option<Self> {
        Some(match *ty {
            Type::BOOL => Self::Bool,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::OID | Type::XID | Type::CID => Self::Unsigned4,
            Type::XID8 => Self::Unsigned8,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::NUMERIC => Self::Numeric,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::REFCURSOR => Self::Text,
            Type::CHAR => Self::Char,
            Type::BYTEA => Self::Bytes,
            Type::UUID => Self::Uuid,
            Type::JSON => Self::Json,
            Type::JSONB => Self::Jsonb,
            Type::DATE => Self::Date,
            Type::TIME => Self::Time,
            Type::TIMETZ => Self::TimeWithZone,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::TimestampWithZone,
            Type::INTERVAL => Self::Interval,
            Type::INET | Type::CIDR => Self::Network,
            Type::MACADDR | Type::MACADDR8 => Self::Mac,
            Type::VOID => Self::Void,
            _ => return None,
        })
    }

    /// Writes one value that is not NULL.
    pub(super) fn write(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut wire = Wire(bytes);
        match self {
            Self::Bool => push(out, wire.u8()? != 0),
            Self::Int2 => push(out, wire.i16()?),
            Self::Int4 => push(out, wire.i32()?),
            Self::Int8 => push(out, wire.i64()?),
            Self::Unsigned4 => push(out, wire.u32()?),
            Self::Unsigned8 => push(out, wire.u64()?),
            Self::Float4 => {
                let value = f32::from_bits(wire.u32()?);
                // The shortest digits that read back as the same float, which is what Postgres prints as well.
                push_float(out, f64::from(value), format_args!("{value:?}"));
            }
            Self::Float8 => {
                let value = f64::from_bits(wire.u64()?);
                push_float(out, value, format_args!("{value:?}"));
            }
            Self::Numeric => numeric::write(&mut wire, out)?,
            Self::Text => push_string(out, wire.text()?),
            Self::Char => push_string(out, &single_byte(wire.u8()?)),
            Self::Bytes => push_string(out, &BASE64_STANDARD.encode(wire.rest())),
            Self::Uuid => push_string(out, &uuid::Uuid::from_bytes(wire.array()?).to_string()),
            Self::Json => push_json(out, wire.text()?)?,
            Self::Jsonb => {
                // The one version there is.
                if wire.u8()? != 1 {
                    return Err(Malformed);
                }
                push_json(out, wire.text()?)?;
            }
            Self::Date => push_string(out, &time::date(wire.i32()?)),
            Self::Time => push_string(out, &time::time_of_day(wire.i64()?)),
            Self::TimeWithZone => push_string(out, &time::time_with_zone(wire.i64()?, wire.i32()?)),
            Self::Timestamp => push_string(out, &time::timestamp(wire.i64()?, "")),
            Self::TimestampWithZone => push_string(out, &time::timestamp(wire.i64()?, "Z")),
            Self::Interval => push_string(out, &time::interval(wire.i64()?, wire.i32()?, wire.i32()?)),
            Self::Network => push_string(out, &network::address(&mut wire)?),
            Self::Mac => push_string(out, &network::hardware_address(wire.rest())),
            Self::Void => out.extend_from_slice(b"null"),
            Self::Array(item) => array::write(item, &mut wire, out)?,
        }
        if wire.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Bytes that are read from the front.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.rest()).map_err(|_| Malformed)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }
}

/// Writes `text` as a JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string has a JSON form, and memory takes all that is written");
}

fn push(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("memory takes all that is written");
}

/// JSON has no name for what is not finite; Postgres has, and reads it back.
fn push_float(out: &mut Vec<u8>, value: f64, digits: std::fmt::Arguments<'_>) {
    if value.is_finite() {
        push(out, digits);
    } else if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    }
}

/// The text of a `json` value as it is. Line breaks and tabs, which can only stand between its tokens, become spaces: messages are framed
/// by lines on some of the ways they go.
fn push_json(out: &mut Vec<u8>, text: &str) -> Result<(), Malformed> {
    if text.trim_ascii().is_empty() {
        return Err(Malformed);
    }
    out.extend(text.bytes().map(|byte| if byte < 0x20 { b' ' } else { byte }));
    Ok(())
}

/// The type `"char"`: one byte, none when it is zero, in octal when it is no character.
fn single_byte(byte: u8) -> String {
    match byte {
        0 => String::new(),
        1..=0x7f => char::from(byte).to_string(),
        _ => format!("\\{byte:o}"),
    }
}

//! The caller's arguments, made into parameters of a statement.
//!
//! Parameters go to Postgres as text wherever it can read them better than anyone: numbers digit by digit, dates, uuids, enums.

use std::{error::Error as StdError, fmt};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::BytesMut;
use config::downstream::Argument;
use indexmap::IndexMap;
use serde_json::value::RawValue;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

use crate::{
    arguments::{self, items},
    json,
    number::Decimal,
};

/// One parameter of a statement, in the form in which it is sent.
pub(super) enum Parameter {
    Null,
    Text(String),
    Binary(Vec<u8>),
}

/// The most dimensions that an array of Postgres has.
const DIMENSIONS_MAX: usize = 6;

/// Makes the parameters of a statement whose `$1`, `$2`, … are of `types` from the arguments of a call.
///
/// # Errors
/// Every argument that does not fit, one sentence each.
pub(super) fn parameters(
    wanted: &IndexMap<String, Argument>,
    given: Option<&[u8]>,
    types: &[Type],
) -> Result<Vec<Parameter>, Vec<String>> {
    arguments::each(wanted, given, |index, _, raw| raw.map_or(Ok(Parameter::Null), |raw| convert(raw, &types[index])))
}

/// Gives a JSON text the form in which Postgres reads it as `ty`.
fn convert(raw: &str, ty: &Type) -> Result<Parameter, String> {
    let ty = base_of(ty);
    Ok(match ty.kind() {
        Kind::Array(item) if raw.starts_with('[') => {
            let mut literal = String::new();
            push_array(&mut literal, raw, base_of(item), DIMENSIONS_MAX)?;
            Parameter::Text(literal)
        }
        _ if *ty == Type::BYTEA => Parameter::Binary(bytes(raw)?),
        _ => Parameter::Text(scalar(raw, ty)?),
    })
}

/// A domain takes what its base type takes; Postgres checks the rest.
fn base_of(ty: &Type) -> &Type {
    match ty.kind() {
        Kind::Domain(base) => base_of(base),
        _ => ty,
    }
}

fn scalar(raw: &str, ty: &Type) -> Result<String, String> {
    if is_json(ty) {
        return Ok(raw.to_owned());
    }
    if let Some(text) = json::unquote(raw) {
        return Ok(text.into_owned());
    }
    match integer_bounds(ty) {
        Some((minimum, maximum)) if !matches!(raw, "true" | "false") => {
            let number = Decimal::parse(raw).ok_or("must be a whole number")?;
            if !number.is_whole() {
                return Err("must be a whole number".to_owned());
            }
            let inside = |text: &String| text.parse().is_ok_and(|value| (minimum..=maximum).contains(&value));
            number.as_integer().filter(inside).ok_or_else(|| format!("must be from {minimum} to {maximum}"))
        }
        _ => Ok(raw.to_owned()),
    }
}

fn integer_bounds(ty: &Type) -> Option<(i64, i64)> {
    match *ty {
        Type::INT2 => Some((i16::MIN.into(), i16::MAX.into())),
        Type::INT4 => Some((i32::MIN.into(), i32::MAX.into())),
        Type::INT8 => Some((i64::MIN, i64::MAX)),
        Type::OID => Some((0, u32::MAX.into())),
        _ => None,
    }
}

fn is_json(ty: &Type) -> bool {
    matches!(*ty, Type::JSON | Type::JSONB)
}

/// Binary data are base64, as they are in answers.
fn bytes(raw: &str) -> Result<Vec<u8>, String> {
    let text = json::unquote(raw).ok_or("must be a string in base64")?;
    BASE64_STANDARD.decode(&*text).map_err(|_| "must be a string in base64".to_owned())
}

/// Writes an array as Postgres reads it: `{"a","b",NULL}`. Every item is quoted, so that none can be more than an item.
fn push_array(out: &mut String, raw: &str, item_type: &Type, depth_left: usize) -> Result<(), String> {
    let inner = depth_left.checked_sub(1).ok_or_else(|| format!("is nested deeper than {DIMENSIONS_MAX} lists"))?;
    out.push('{');
    for (index, item) in items(raw)?.into_iter().map(RawValue::get).enumerate() {
        if index > 0 {
            out.push(',');
        }
        match item.as_bytes() {
            b"null" => out.push_str("NULL"),
            [b'[', ..] if !is_json(item_type) => push_array(out, item, item_type, inner)?,
            _ if *item_type == Type::BYTEA => push_quoted(out, &hex(&bytes(item)?)),
            _ => push_quoted(out, &scalar(item, item_type)?),
        }
    }
    out.push('}');
    Ok(())
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Binary(bytes) => out.extend_from_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self {
            Self::Null | Self::Text(_) => Format::Text,
            Self::Binary(_) => Format::Binary,
        }
    }

    to_sql_checked!();
}

impl fmt::Debug for Parameter {
    /// Arguments are the caller's and stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

//! What a tool of a database looks like to a caller: its definition, made from the config and from the types of its statement.

use config::{Effect, Tool};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};

use super::{statement::Column, value::Decoder};
use crate::arguments;

/// The whole definition of a tool. `columns` are those of its statement, as far as they are known.
pub(super) fn definition(name: &str, tool: &Tool, columns: Option<&[Column]>) -> Box<RawValue> {
    let effect = tool.effect.unwrap_or_default();
    let mut definition = Map::new();
    definition.insert("name".to_owned(), name.into());
    if let Some(description) = &tool.description {
        definition.insert("description".to_owned(), description.as_str().into());
    }
    definition.insert("inputSchema".to_owned(), arguments::schema(&tool.arguments));
    if let Some(columns) = columns {
        definition.insert("outputSchema".to_owned(), output(columns, effect));
    }
    definition.insert("annotations".to_owned(), arguments::annotations(effect));
    to_raw_value(&Value::Object(definition)).expect("a JSON value has a JSON text")
}

fn output(columns: &[Column], effect: Effect) -> Value {
    let row: Map<_, _> = columns.iter().map(|column| (column.name.clone(), value(&column.decoder))).collect();
    let names: Vec<_> = columns.iter().map(|column| &column.name).collect();
    let mut row = object(row);
    row.insert("required".to_owned(), json!(names));
    let rows = json!({ "type": "array", "items": row });
    let count = |what: &str| json!({ "type": "integer", "description": what });
    let truncated = json!({ "type": "boolean", "description": "Whether there are more rows than are shown." });
    let properties: Vec<(&str, Value)> = match (effect.writes(), columns.is_empty()) {
        (false, _) => vec![("rows", rows), ("row_count", count("How many rows are shown.")), ("truncated", truncated)],
        (true, false) => vec![("rows", rows), ("rows_affected", count(AFFECTED)), ("truncated", truncated)],
        (true, true) => vec![("rows_affected", count(AFFECTED))],
    };
    let required: Vec<_> = properties.iter().map(|(name, _)| *name).collect();
    let mut schema = object(properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect());
    schema.insert("required".to_owned(), json!(required));
    schema.into()
}

const AFFECTED: &str = "How many rows were written.";

/// What a column's values are, NULL always among them: a statement does not say that one cannot come.
/// Dates and times have no `format`, because `infinity` is one of them.
fn value(decoder: &Decoder) -> Value {
    match decoder {
        Decoder::Bool => json!({ "type": ["boolean", "null"] }),
        Decoder::Int2 | Decoder::Int4 | Decoder::Int8 | Decoder::Unsigned4 | Decoder::Unsigned8 => {
            json!({ "type": ["integer", "null"] })
        }
        // A string where the value is not finite.
        Decoder::Float4 | Decoder::Float8 | Decoder::Numeric => json!({ "type": ["number", "string", "null"] }),
        Decoder::Bytes => json!({ "type": ["string", "null"], "contentEncoding": "base64" }),
        Decoder::Uuid => json!({ "type": ["string", "null"], "format": "uuid" }),
        Decoder::Json | Decoder::Jsonb => json!({}),
        Decoder::Void => json!({ "type": "null" }),
        // Its items are not promised: the number of dimensions is no part of a type.
        Decoder::Array(_) => json!({ "type": ["array", "null"] }),
        Decoder::Text
        | Decoder::Char
        | Decoder::Date
        | Decoder::Time
        | Decoder::TimeWithZone
        | Decoder::Timestamp
        | Decoder::TimestampWithZone
        | Decoder::Interval
        | Decoder::Network
        | Decoder::Mac => json!({ "type": ["string", "null"] }),
    }
}

fn object(properties: Map<String, Value>) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    schema
}

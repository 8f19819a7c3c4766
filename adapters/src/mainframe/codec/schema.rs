//! The JSON Schema of what a layout's records become.

use serde_json::{Map, Value, json};

use super::layout::{Content, Item, Number, Repeat};

/// The schema of one record.
pub(super) fn record(items: &[Item]) -> Value {
    let mut properties = Map::new();
    collect(items, &mut properties);
    object(&properties)
}

/// The schema of a list of records.
pub(super) fn records(items: &[Item]) -> Value {
    let records = json!({ "type": "array", "items": record(items) });
    object(&[("records".to_owned(), records)].into_iter().collect())
}

/// Every field is always there.
fn object(properties: &Map<String, Value>) -> Value {
    let required: Vec<_> = properties.keys().cloned().collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// The named fields, those of filler groups among them.
fn collect(items: &[Item], properties: &mut Map<String, Value>) {
    for item in items {
        match (&item.key, &item.content) {
            (Some(key), _) => drop(properties.insert(key.clone(), occurrences(item))),
            (None, Content::Group(items)) => collect(items, properties),
            (None, Content::Text(_) | Content::Number(_)) => {}
        }
    }
}

fn occurrences(item: &Item) -> Value {
    let (min, max) = match item.repeat {
        Repeat::Once => return value(item),
        Repeat::Times(times) => (times, times),
        Repeat::Depending { min, max, .. } => (min, max),
    };
    json!({ "type": "array", "items": value(item), "minItems": min, "maxItems": max })
}

fn value(item: &Item) -> Value {
    let mut schema = match &item.content {
        Content::Group(items) => record(items),
        // A byte is at most one character.
        Content::Text(text) => json!({ "type": "string", "maxLength": text.bytes }),
        Content::Number(number) => self::number(number),
    };
    if let (Some(description), Some(schema)) = (&item.description, schema.as_object_mut()) {
        schema.insert("description".to_owned(), description.as_str().into());
    }
    schema
}

fn number(number: &Number) -> Value {
    let kind = match (number.is_text(), number.digits.scale) {
        (true, _) => "string",
        (false, 1..) => "number",
        (false, _) => "integer",
    };
    let kind = if number.blank_when_zero { json!([kind, "null"]) } else { json!(kind) };
    match (number.is_text(), number.digits.scale) {
        (false, _) => json!({ "type": kind }),
        (true, decimals @ 1..) => json!({ "type": kind, "pattern": format!("^-?[0-9]+\\.[0-9]{{{decimals}}}$") }),
        (true, _) => json!({ "type": kind, "pattern": "^-?[0-9]+$" }),
    }
}

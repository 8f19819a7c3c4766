//! What the types say about `weir.yaml`, for editors (`config/schema.json`) and for people (`docs/config.md`). A test keeps
//! both files true.

mod markdown;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use crate::{Config, identity::KeyFile};

/// The JSON Schema of `weir.yaml`, as text.
#[must_use]
pub fn schema() -> String {
    let mut schema = schema_of::<Config>();
    schema["title"] = "weir.yaml".into();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}

/// The reference page of `weir.yaml`, as Markdown.
#[must_use]
pub fn markdown() -> String {
    markdown::page(&schema_of::<Config>(), &schema_of::<KeyFile>())
}

fn schema_of<T: JsonSchema>() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    // Serialised and not converted: only that keeps the order in which people read a schema.
    let mut schema = serde_json::to_value(schema).expect("a schema is plain JSON");
    without_empty_defaults(&mut schema);
    schema
}

/// Takes out the defaults that say nothing: `null`, and those of whole sections, which their keys repeat.
fn without_empty_defaults(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let says_nothing = match map.get("default") {
                Some(Value::Null) => true,
                Some(Value::Object(section)) => map.contains_key("$ref") && !section.is_empty(),
                _ => false,
            };
            // `properties` may hold a setting called `default`, which is no default.
            if says_nothing && map.contains_key("description") {
                map.shift_remove("default");
            }
            map.values_mut().for_each(without_empty_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty_defaults),
        _ => {}
    }
}

#[cfg(test)]
mod tests;

//! Tools in the form that the Messages API of Claude takes: `{name, description, input_schema}`.
//!
//! That API refuses a whole request for one tool that it does not take: a schema with alternatives at its top, a property whose name it
//! finds odd, a schema that is no JSON Schema 2020-12. What it would not take is moved into the description, where the model reads it;
//! arguments are checked against the whole schema in any case.

use std::borrow::Cow;

use adapters::json::{self, Object};
use serde_json::{Map, Value, json};

/// The keywords that the API does not take at the top of a schema.
const ALTERNATIVES: [&str; 3] = ["oneOf", "anyOf", "allOf"];
/// The longest name of a property that the API takes.
const PROPERTY_NAME_MAX: usize = 64;
const ANYTHING: &str = r#"{"type":"object"}"#;

/// One tool, by its shown name and its definition.
pub(super) fn tool(name: &str, definition: &str) -> String {
    let definition = Object::parse(definition).expect("a definition is an object");
    let (schema, moved) = definition.get("inputSchema").map_or((Cow::Borrowed(ANYTHING), None), fitting);
    let mut description = definition.get("description").and_then(json::unquote).unwrap_or_default().into_owned();
    if let Some(moved) = moved {
        let gap = if description.is_empty() { "" } else { "\n\n" };
        description.push_str(&format!("{gap}The arguments must also fit this JSON Schema: {moved}"));
    }
    let described =
        if description.is_empty() { String::new() } else { format!(",\"description\":{}", json::string(&description)) };
    format!("{{\"name\":{}{described},\"input_schema\":{schema}}}", json::string(name))
}

/// The schema as the API takes it, and what had to be moved out of it.
fn fitting(raw: &str) -> (Cow<'_, str>, Option<Value>) {
    let Ok(Value::Object(whole)) = serde_json::from_str(raw) else { return (ANYTHING.into(), None) };
    let mut schema = whole.clone();
    let mut moved = Map::new();
    for keyword in ALTERNATIVES {
        moved.extend(schema.shift_remove(keyword).map(|value| (keyword.to_owned(), value)));
    }
    move_odd_properties(&mut schema, &mut moved);
    if schema.get("type") != Some(&json!("object")) {
        schema.insert("type".to_owned(), json!("object"));
    }
    let schema = Value::Object(schema);
    if !jsonschema::draft202012::meta::is_valid(&schema) {
        return (ANYTHING.into(), Some(Value::Object(whole)));
    }
    let text = if schema == Value::Object(whole) { raw.into() } else { schema.to_string().into() };
    (text, (!moved.is_empty()).then_some(Value::Object(moved)))
}

fn move_odd_properties(schema: &mut Map<String, Value>, moved: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    let (fine, odd): (Map<_, _>, Map<_, _>) =
        std::mem::take(properties).into_iter().partition(|(name, _)| is_taken(name));
    *properties = fine;
    if odd.is_empty() {
        return;
    }
    // They may stand in the arguments, though no longer in the list of what may.
    schema.shift_remove("additionalProperties");
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        let is_odd = |name: &Value| name.as_str().is_some_and(|name| odd.contains_key(name));
        let required_odd: Vec<Value> = required.extract_if(.., |name| is_odd(name)).collect();
        if !required_odd.is_empty() {
            moved.insert("required".to_owned(), required_odd.into());
        }
    }
    moved.insert("properties".to_owned(), odd.into());
}

fn is_taken(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=PROPERTY_NAME_MAX).contains(&name.len()) && name.bytes().all(is_legal)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::tool;

    fn formed(definition: &Value) -> Value {
        serde_json::from_str(&tool("crm__get", &definition.to_string())).expect("JSON")
    }

    #[test]
    fn a_schema_that_the_api_takes_stays_as_it_stands() {
        let definition = r#"{"name":"get","title":"Get","description":"Gets \"it\".","inputSchema": { "type":"object" , "properties":{"id":{"type":"integer","maximum":9007199254740993}},"required":["id"],"additionalProperties":false },"outputSchema":{},"annotations":{}}"#;
        let expected = r#"{"name":"crm__get","description":"Gets \"it\".","input_schema":{ "type":"object" , "properties":{"id":{"type":"integer","maximum":9007199254740993}},"required":["id"],"additionalProperties":false }}"#;
        assert_eq!(tool("crm__get", definition), expected);
    }

    #[test]
    fn what_the_api_does_not_take_is_told_in_the_description() {
        let id = json!({ "id": { "type": "string" } });
        for (schema, expected, told) in [
            (json!({ "properties": id }), json!({ "properties": id, "type": "object" }), None),
            (json!({ "type": ["object", "null"] }), json!({ "type": "object" }), None),
            (json!(true), json!({ "type": "object" }), None),
            (
                json!({ "type": "object", "properties": id, "anyOf": [{ "required": ["id"] }, { "required": ["x"] }] }),
                json!({ "type": "object", "properties": id }),
                Some(r#"{"anyOf":[{"required":["id"]},{"required":["x"]}]}"#),
            ),
            (
                json!({
                    "type": "object", "additionalProperties": false, "required": ["id", "filter[x]"],
                    "properties": { "id": { "type": "string" }, "filter[x]": { "type": "integer" } },
                }),
                json!({ "type": "object", "required": ["id"], "properties": id }),
                Some(r#"{"required":["filter[x]"],"properties":{"filter[x]":{"type":"integer"}}}"#),
            ),
            (
                json!({ "type": "object", "properties": { "n": { "type": "number", "exclusiveMinimum": true } } }),
                json!({ "type": "object" }),
                Some(r#"{"type":"object","properties":{"n":{"type":"number","exclusiveMinimum":true}}}"#),
            ),
        ] {
            let formed = formed(&json!({ "name": "get", "description": "Gets it.", "inputSchema": schema }));
            assert_eq!(formed["input_schema"], expected, "{schema}");
            let description = formed["description"].as_str().unwrap_or_default();
            match told {
                None => assert_eq!(description, "Gets it.", "{schema}"),
                Some(told) => {
                    assert!(description.starts_with("Gets it.\n\n") && description.ends_with(told), "{description}");
                }
            }
        }
        let bare = formed(&json!({ "name": "get" }));
        assert_eq!(bare, json!({ "name": "crm__get", "input_schema": { "type": "object" } }));
    }
}

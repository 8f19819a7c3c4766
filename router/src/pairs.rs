//! Arguments as they are written in a shell, KEY=VALUE.

use adapters::json;
use serde_json::{Value, value::RawValue};

/// What pairs mean as the arguments of a tool with this input schema: text where it wants text, otherwise JSON where it is JSON. They are not
/// parsed: that would cost digits of numbers, and hide what is refused, such as a member that comes twice.
///
/// # Errors
/// The pairs make no JSON.
pub fn typed(pairs: &[(String, String)], schema: Option<&Value>) -> serde_json::Result<Box<RawValue>> {
    let wants_text = |key: &str| schema.is_some_and(|schema| schema["properties"][key]["type"] == "string");
    let is_json = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok();
    let member = |(key, text): &(String, String)| {
        let value = if !wants_text(key) && is_json(text) { text.clone() } else { json::string(text) };
        format!("{}:{value}", json::string(key))
    };
    let members: Vec<_> = pairs.iter().map(member).collect();
    RawValue::from_string(format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::typed;

    #[test]
    fn pairs_take_the_type_that_the_tool_wants() {
        let schema = json!({ "properties": { "id": { "type": "string" }, "limit": { "type": "integer" } } });
        let pairs = [
            ("id", "123"),
            ("limit", "5"),
            ("labels", "[\"a\"]"),
            ("note", "plain text"),
            ("odd", "a=b"),
            ("none", ""),
            ("exact", "0.12345678901234567890"),
            ("limit", "6"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(
            typed(&pairs, Some(&schema)).expect("JSON").get(),
            r#"{"id":"123","limit":5,"labels":["a"],"note":"plain text","odd":"a=b","none":"","exact":0.12345678901234567890,"limit":6}"#
        );
    }
}

//! `x-mcp-header`: arguments of a tool that are repeated as headers of the request, so that who carries it can read them
//! (MCP 2026-07-28, basic/transports/streamable-http, "Custom Headers from Tool Parameters").

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::json::{Object, unquote};

/// The member of a property that names its header.
pub const ANNOTATION: &str = "x-mcp-header";

/// One argument that is repeated as a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its name, `mcp-param-…`.
    pub header: HeaderName,
    /// The `properties` that lead to it.
    pub path: Vec<String>,
}

/// The annotated arguments of a tool with this input schema.
///
/// # Errors
/// When an annotation breaks the rules: then the tool must not be offered over HTTP.
pub fn params_of(schema: &Value) -> Result<Vec<Param>, String> {
    let mut params = Vec::new();
    collect(schema, Some(&mut Vec::new()), &mut params)?;
    let distinct: BTreeSet<&str> = params.iter().map(|param| param.header.as_str()).collect();
    if distinct.len() < params.len() {
        return Err("two arguments share one header".to_owned());
    }
    Ok(params)
}

/// Walks a schema. `path` is `None` where an annotation has no place: behind anything but a chain of `properties`.
fn collect(schema: &Value, mut path: Option<&mut Vec<String>>, params: &mut Vec<Param>) -> Result<(), String> {
    let Value::Object(members) = schema else {
        return match schema {
            Value::Array(list) => list.iter().try_for_each(|member| collect(member, None, params)),
            _ => Ok(()),
        };
    };
    for (key, value) in members {
        match key.as_str() {
            ANNOTATION => params.push(param(members, value, path.as_deref())?),
            "properties" => {
                for (name, property) in value.as_object().into_iter().flatten() {
                    match path.as_deref_mut() {
                        Some(path) => {
                            path.push(name.clone());
                            collect(property, Some(&mut *path), params)?;
                            path.pop();
                        }
                        None => collect(property, None, params)?,
                    }
                }
            }
            // Maps whose keys are names of somebody's choice.
            "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                value.as_object().into_iter().flatten().try_for_each(|(_, schema)| collect(schema, None, params))?;
            }
            // Values, not schemas.
            "default" | "const" | "enum" | "examples" => {}
            _ => collect(value, None, params)?,
        }
    }
    Ok(())
}

fn param(
    property: &serde_json::Map<String, Value>,
    annotation: &Value,
    path: Option<&Vec<String>>,
) -> Result<Param, String> {
    let path =
        path.filter(|path| !path.is_empty()).ok_or("an annotation stands where no chain of `properties` leads")?;
    let name = annotation
        .as_str()
        .filter(|name| !name.is_empty())
        .ok_or("the name of a header must be a text that is not empty")?;
    let header =
        HeaderName::try_from(format!("mcp-param-{name}")).map_err(|_| format!("{name:?} is no name for a header"))?;
    match property.get("type").and_then(Value::as_str) {
        Some("string" | "integer" | "boolean") => Ok(Param { header, path: path.clone() }),
        _ => Err(format!("{} is neither string nor integer nor boolean", path.join("."))),
    }
}

/// The header of a mirrored argument out of a call's `arguments` object; `None` when it is absent, `null`, or nothing that has a
/// header form.
#[must_use]
pub fn value_of(arguments: &str, param: &Param) -> Option<HeaderValue> {
    let mut value = arguments;
    for step in &param.path {
        value = Object::parse(value)?.get(step)?;
    }
    match value.as_bytes().first()? {
        b'"' => unquote(value).map(|text| encode(&text)),
        b't' | b'f' => Some(encode(value)),
        b'-' | b'0'..=b'9' => integer(value).map(|digits| encode(&digits)),
        _ => None,
    }
}

/// A JSON number as decimal integer text.
fn integer(text: &str) -> Option<String> {
    if text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    let number: f64 = text.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then(|| format!("{number:.0}"))
}

/// A value as a header carries it: as it is when it is plain ASCII, else in the Base64 form ("Value Encoding").
#[must_use]
#[allow(clippy::missing_panics_doc, reason = "what it makes is always fit for a header")]
pub fn encode(value: &str) -> HeaderValue {
    let plain = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        && value.trim_matches([' ', '\t']).len() == value.len()
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    let encoded = if plain { value.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(value)) };
    HeaderValue::try_from(encoded).expect("plain ASCII and Base64 are fit for a header")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{encode, integer, params_of};

    #[test]
    fn annotations_are_found_through_properties_alone() {
        let text = |name: &str| json!({ "type": "string", "x-mcp-header": name });
        let schema = json!({ "properties": {
            "region": text("Region"),
            "where": { "properties": { "zone": text("Zone") } },
            "plain": { "type": "string" },
        } });
        let found = params_of(&schema).expect("it keeps to the rules");
        let found: Vec<_> = found.iter().map(|param| (param.header.as_str(), param.path.join("."))).collect();
        assert_eq!(found, [("mcp-param-region", "region".to_owned()), ("mcp-param-zone", "where.zone".to_owned())]);
        for broken in [
            json!({ "properties": { "list": { "items": text("Item") } } }),
            json!({ "properties": { "a": text("Same"), "b": text("SAME") } }),
            json!({ "properties": { "a": text("not a name") } }),
            json!({ "properties": { "a": { "type": "object", "x-mcp-header": "A" } } }),
        ] {
            assert!(params_of(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn values_are_encoded_as_the_examples_of_the_spec() {
        let table = [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("a\tb c", "a\tb c"),
            ("tab at the end\t", "=?base64?dGFiIGF0IHRoZSBlbmQJ?="),
            ("\u{7f}", "=?base64?fw==?="),
            ("=?base64?not closed", "=?base64?not closed"),
            ("", ""),
        ];
        for (value, header) in table {
            assert_eq!(encode(value), header, "{value:?}");
        }
    }

    #[test]
    fn integers_are_decimal_text() {
        for (text, expected) in
            [("42", "42"), ("-7", "-7"), ("42.0", "42"), ("1e3", "1000"), ("9007199254740993", "9007199254740993")]
        {
            assert_eq!(integer(text).as_deref(), Some(expected));
        }
        assert_eq!((integer("1.5"), integer("1e300")), (None, None));
    }
}

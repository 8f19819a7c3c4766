//! Arguments that the tool wants mirrored into headers (`x-mcp-header`; MCP 2026-07-28, basic/transports/streamable-http).

use serde_json::Value;

/// An argument that callers over HTTP mirror into a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// The header's name in lower case: `mcp-param-region`.
    pub header: String,
    /// Where the argument stands, from the top of `arguments`.
    pub path: Vec<String>,
}

/// How deep annotated properties are looked for.
const DEPTH_MAX: usize = 16;

/// The annotated properties of an input schema, reached through `properties` alone.
pub(super) fn of_schema(schema: &Value) -> Vec<Mirrored> {
    let mut found = Vec::new();
    collect(schema, &mut Vec::new(), &mut found);
    found
}

fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<Mirrored>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|_| path.len() < DEPTH_MAX)
    else {
        return;
    };
    for (name, property) in properties {
        path.push(name.clone());
        if let Some(annotation) = property.get("x-mcp-header").and_then(Value::as_str) {
            found.push(Mirrored {
                header: format!("mcp-param-{}", annotation.to_ascii_lowercase()),
                path: path.clone(),
            });
        }
        collect(property, path, found);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of_schema;

    #[test]
    fn annotated_properties_are_found_through_properties_alone() {
        let schema = json!({
            "properties": {
                "region": { "type": "string", "x-mcp-header": "Region" },
                "where": { "properties": { "zone": { "type": "string", "x-mcp-header": "Zone" } } },
                "list": { "items": { "type": "string", "x-mcp-header": "Item" } },
                "plain": { "type": "string" },
            },
        });
        let found: Vec<_> = of_schema(&schema).into_iter().map(|one| (one.header, one.path.join("."))).collect();
        let expected = [("mcp-param-region", "region"), ("mcp-param-zone", "where.zone")];
        assert_eq!(found, expected.map(|(header, path)| (header.to_owned(), path.to_owned())));
    }
}

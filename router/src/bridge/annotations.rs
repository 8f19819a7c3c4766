//! `x-mcp-header`: which arguments of which tools a client must repeat as headers. Learned from the tool lists that pass through
//! (MCP 2026-07-28, basic/transports/streamable-http, "Custom Headers from Tool Parameters").

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use adapters::{
    json::{Change, Object},
    mirror::{ANNOTATION, Param, params_of},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::message::Heard;

/// Tools with annotations that are remembered. More than any client can use.
const TOOLS_MAX: usize = 10_000;

/// What is known of the tools seen so far.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    tools: Mutex<HashMap<String, Arc<[Param]>>>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    name: String,
    #[serde(borrow, rename = "inputSchema", default)]
    input_schema: Option<&'a RawValue>,
}

impl Annotations {
    /// The annotated arguments of a tool.
    pub(super) fn of(&self, tool: &str) -> Arc<[Param]> {
        self.lock().get(tool).cloned().unwrap_or_default()
    }

    /// Takes note of the answer to a `tools/list`. A tool with an annotation that breaks the rules must be left out of the list: only
    /// then the line changes, and the new one is returned.
    pub(super) fn learn(&self, answer: &Heard, first_page: bool) -> Option<Bytes> {
        if first_page {
            self.lock().clear();
        }
        if !std::str::from_utf8(&answer.line).ok()?.contains(ANNOTATION) {
            return None;
        }
        let tools: Vec<&RawValue> =
            serde_json::from_str(Object::parse(answer.member("result")?)?.get("tools")?).ok()?;
        let mut kept = Vec::with_capacity(tools.len());
        for raw in &tools {
            match self.learn_tool(raw.get()) {
                Ok(()) => kept.push(raw.get()),
                Err(reason) => {
                    tracing::warn!(reason, "a tool is left out of the list: its {ANNOTATION} breaks the rules of MCP");
                }
            }
        }
        (kept.len() < tools.len()).then(|| with_tools(answer, &kept)).flatten()
    }

    fn learn_tool(&self, raw: &str) -> Result<(), String> {
        let Ok(Tool { name, input_schema: Some(schema) }) = serde_json::from_str::<Tool<'_>>(raw) else {
            return Ok(());
        };
        if !schema.get().contains(ANNOTATION) {
            return Ok(());
        }
        let schema: Value = serde_json::from_str(schema.get()).map_err(|error| format!("{name}: {error}"))?;
        let params = params_of(&schema).map_err(|reason| format!("{name}: {reason}"))?;
        let mut known = self.lock();
        if known.len() < TOOLS_MAX && !params.is_empty() {
            known.insert(name, params.into());
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<[Param]>>> {
        // Whoever panicked while holding it left the map whole: every change is a single insertion.
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer with these tools alone. All other bytes stay.
fn with_tools(answer: &Heard, tools: &[&str]) -> Option<Bytes> {
    let list = format!("[{}]", tools.join(","));
    let result = Object::parse(answer.member("result")?)?.rewrite(&[], |key, _| match key {
        "tools" => Change::Replace(list.clone()),
        _ => Change::Keep,
    });
    let line = Object::parse(std::str::from_utf8(&answer.line).ok()?)?.rewrite(&[], |key, _| match key {
        "result" => Change::Replace(result.clone()),
        _ => Change::Keep,
    });
    Some(line.into())
}

#[cfg(test)]
mod tests {
    use super::{Annotations, Heard};

    /// The headers that a tool with this schema gets, or `None` when it is left out of the list.
    fn headers(schema: &str) -> Option<Vec<String>> {
        let list = format!(r#"{{"id":1,"result":{{"tools":[{{"name":"t","inputSchema":{schema}}}]}}}}"#);
        let annotations = Annotations::default();
        match annotations.learn(&Heard::parse(list.into()).expect("a list"), true) {
            Some(changed) => {
                assert_eq!(changed, r#"{"id":1,"result":{"tools":[]}}"#);
                None
            }
            None => Some(
                annotations.of("t").iter().map(|param| format!("{} {}", param.header, param.path.join("."))).collect(),
            ),
        }
    }

    #[test]
    fn annotations_are_found_where_the_spec_allows_them() {
        let nested =
            r#"{"properties":{"a":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"B"}}}}}"#;
        assert_eq!(headers(nested), Some(vec!["mcp-param-b a.b".to_owned()]));
        let only_a_name = r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#;
        assert_eq!(headers(only_a_name), Some(vec![]));
        let only_a_value = r#"{"properties":{"a":{"type":"object","default":{"x-mcp-header":"A"}}}}"#;
        assert_eq!(headers(only_a_value), Some(vec![]));
    }

    #[test]
    fn a_tool_with_a_forbidden_annotation_is_left_out() {
        let table = [
            r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A B"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A\r\nB: 1"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":5}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#,
            r#"{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}"#,
            r#"{"oneOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}"#,
            r#"{"$defs":{"d":{"type":"string","x-mcp-header":"A"}}}"#,
            r#"{"type":"string","x-mcp-header":"A"}"#,
        ];
        for schema in table {
            assert_eq!(headers(schema), None, "{schema}");
        }
    }

    #[test]
    fn leaving_a_tool_out_changes_nothing_else() {
        let good = r#"{ "name":"good", "z":1,"inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}"#;
        let bad = r#"{"name":"bad","inputSchema":{"x-mcp-header":"A"}}"#;
        let list = format!(r#"{{"result": {{"ttlMs":5 ,"tools":[{good},{bad}],"nextCursor":"x"}},"id":1}}"#);
        let annotations = Annotations::default();
        let changed = annotations.learn(&Heard::parse(list.into()).expect("a list"), true);
        assert_eq!(
            changed.expect("one tool is bad"),
            format!(r#"{{"result": {{"ttlMs":5 ,"tools":[{good}],"nextCursor":"x"}},"id":1}}"#)
        );
        assert_eq!(annotations.of("good").len(), 1);
    }

    #[test]
    fn a_list_from_its_first_page_replaces_what_was_known() {
        let annotations = Annotations::default();
        let page = |name: &str| {
            let schema = r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}"#;
            let list = format!(r#"{{"id":1,"result":{{"tools":[{{"name":"{name}","inputSchema":{schema}}}]}}}}"#);
            Heard::parse(list.into()).expect("a list")
        };
        annotations.learn(&page("one"), true);
        annotations.learn(&page("two"), false);
        assert_eq!((annotations.of("one").len(), annotations.of("two").len()), (1, 1));
        annotations.learn(&page("three"), true);
        assert_eq!((annotations.of("one").len(), annotations.of("three").len()), (0, 1));
    }
}

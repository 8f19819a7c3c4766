//! One part of a long answer as a `result` object, and what is said in it of the others.

use adapters::json::{self, Change, Object};
use serde_json::json;

use super::{
    LIFETIME, NEXT_PAGE,
    cut::{Cut, Part, Repeats},
};

/// What may be said in the structured content of a tool.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Promise {
    /// The tool has an output schema.
    pub(crate) exists: bool,
    /// The schema has room for members that it does not name.
    pub(super) takes_more: bool,
    /// `row_count` says how many rows are shown.
    pub(super) counts_rows: bool,
}

/// How it goes on after a part.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next<'a> {
    /// The next part is to be had for this handle.
    Handle(&'a str),
    /// There is more, but it is not kept.
    Gone,
    /// This was the last one.
    End,
}

/// The members of a result that are made anew in each part.
const MADE: [&str; 3] = ["content", "structuredContent", "_meta"];

/// The part at `index` of the parted `result`.
pub(super) fn render(result: &Object<'_>, cut: &Cut, index: usize, next: Next<'_>, promise: Promise) -> String {
    let part = &cut.parts[index];
    let is_only = cut.parts.len() == 1 && !cut.goes_on;
    let structured =
        part.structured.as_deref().map(|text| if is_only { text.to_owned() } else { told(text, next, promise) });
    let mut content = part.content.clone();
    if let (Some(Repeats { item, is_first }), Some(structured)) = (&cut.repeats, &structured) {
        let item = Object::parse(item).map(|item| {
            item.rewrite(
                &[],
                |key, _| {
                    if key == "text" { Change::Replace(json::string(structured)) } else { Change::Keep }
                },
            )
        });
        content.splice(if *is_first { 0..0 } else { content.len()..content.len() }, item);
    }
    if !is_only {
        let sentence = sentence(cut, index, next);
        content.push(format!("{{\"type\":\"text\",\"text\":{}}}", json::string(&sentence)));
    }
    let mut made = vec![("content", format!("[{}]", content.join(",")))];
    made.extend(structured.map(|structured| ("structuredContent", structured)));
    let meta = result.get("_meta").filter(|_| index == 0);
    made.extend(meta_of(meta, (!is_only).then(|| counted(cut, part, next))).map(|meta| ("_meta", meta)));
    let mut made: Vec<(&str, &str)> = made.iter().map(|(key, value)| (*key, value.as_str())).collect();
    if index == 0 {
        // What else the downstream says stands on the first part.
        return result.rewrite(&made, |key, _| if MADE.contains(&key) { Change::Remove } else { Change::Keep });
    }
    made.extend(result.get("isError").map(|is_error| ("isError", is_error)));
    let members: Vec<String> = made.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// The structured content with a word on whether there is more, where its schema has room for it.
fn told(structured: &str, next: Next<'_>, promise: Promise) -> String {
    let Some(object) = Object::parse(structured) else { return structured.to_owned() };
    let rows = object.get("rows").filter(|_| promise.counts_rows).and_then(json::items).map(|rows| rows.len());
    let goes_on = !matches!(next, Next::End);
    let mut added = Vec::new();
    if goes_on && promise.takes_more && object.get("truncated").is_none() {
        added.push(("truncated", "true".to_owned()));
    }
    if let Next::Handle(handle) = next
        && promise.takes_more
        && object.get("next_page").is_none()
    {
        added.push(("next_page", json!({ "tool": NEXT_PAGE, "arguments": { "handle": handle } }).to_string()));
    }
    let added: Vec<(&str, &str)> = added.iter().map(|(key, value)| (*key, value.as_str())).collect();
    object.rewrite(&added, |key, value| match (key, rows) {
        ("truncated", _) if goes_on && value == "false" => Change::Replace("true".to_owned()),
        ("row_count", Some(rows)) => Change::Replace(rows.to_string()),
        _ => Change::Keep,
    })
}

/// What a model is to know.
fn sentence(cut: &Cut, index: usize, next: Next<'_>) -> String {
    let minutes = LIFETIME.as_secs() / 60;
    let (part, unit) = (&cut.parts[index], cut.unit.as_str());
    let before = if index == 0 { 0 } else { cut.parts[index - 1].shown };
    let what = if part.shown > before {
        format!("{unit} {} to {} of {}", before + 1, part.shown, cut.total)
    } else {
        format!("no {unit} of {}", cut.total)
    };
    let mut text = match next {
        Next::Handle(handle) => format!(
            "This is a part of a long answer: {what}. For the next part call {NEXT_PAGE} with the handle \"{handle}\" within {minutes} minutes."
        ),
        Next::Gone => format!(
            "This is a part of a long answer: {what}. The rest is too long to be kept: ask again for less, or for a narrower choice."
        ),
        Next::End => format!("This is the last part of a long answer: {what}."),
    };
    if cut.as_text && index == 0 {
        let structured = if part.structured.is_some() {
            "in the structured content the longest texts and lists are cut short"
        } else {
            "there is no structured content"
        };
        text.push_str(&format!(
            " One item of it alone is longer than a part, so it is cut within its text, and {structured}."
        ));
    }
    text
}

/// What a program is to know: the value of `weir/truncated`.
fn counted(cut: &Cut, part: &Part, next: Next<'_>) -> String {
    let mut counted = json!({ "shown": part.shown, "total": cut.total, "unit": cut.unit.as_str() });
    if let Next::Handle(handle) = next {
        counted["next"] = handle.into();
    }
    counted.to_string()
}

fn meta_of(meta: Option<&str>, counted: Option<String>) -> Option<String> {
    let Some(counted) = counted else { return meta.map(str::to_owned) };
    let ours = [(TRUNCATED, counted.as_str())];
    let given = meta.and_then(Object::parse).map(|meta| meta.rewrite(&ours, |_, _| Change::Keep));
    Some(given.unwrap_or_else(|| format!("{{\"{TRUNCATED}\":{counted}}}")))
}

/// The member of `_meta` that says how much is shown.
const TRUNCATED: &str = "weir/truncated";

impl Promise {
    /// What the definition of a tool promises.
    pub(crate) fn of(definition: &str, counts_rows: bool) -> Self {
        let schema = Object::parse(definition).and_then(|definition| definition.get("outputSchema"));
        let Some(schema) = schema else { return Self { exists: false, takes_more: true, counts_rows } };
        // A schema that is put together from others may close what stands here open.
        const CLOSE: [&str; 9] =
            ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "unevaluatedProperties", "propertyNames"];
        let takes_more = Object::parse(schema).is_some_and(|schema| {
            let is_open = matches!(schema.get("additionalProperties"), None | Some("true" | "{}"));
            let is_bounded = schema.get("patternProperties").is_some() || schema.get("maxProperties").is_some();
            is_open && !is_bounded && !CLOSE.iter().any(|keyword| schema.get(keyword).is_some())
        });
        Self { exists: true, takes_more, counts_rows }
    }
}

#[cfg(test)]
mod tests {
    use super::Promise;

    #[test]
    fn only_a_schema_that_is_plainly_open_takes_more() {
        for (schema, takes_more) in [
            (r#"{"type":"object"}"#, true),
            (r#"{"type":"object","additionalProperties":true}"#, true),
            (r#"{"type":"object","additionalProperties":false}"#, false),
            (r#"{"type":"object","additionalProperties":{"type":"string"}}"#, false),
            (r##"{"$ref":"#/$defs/a"}"##, false),
            (r#"{"allOf":[]}"#, false),
            ("true", false),
        ] {
            let promise = Promise::of(&format!(r#"{{"name":"t","outputSchema":{schema}}}"#), false);
            assert_eq!((promise.exists, promise.takes_more), (true, takes_more), "{schema}");
        }
        let none = Promise::of(r#"{"name":"t"}"#, false);
        assert!(!none.exists && none.takes_more);
    }
}

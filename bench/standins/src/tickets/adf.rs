//! Documents in the Atlassian Document Format: made for the generated tickets, judged where somebody sends them, and
//! read for searching.

use serde_json::{Value, json};

pub(super) const TEXT_MAX: usize = 32_767;
const DEPTH_MAX: usize = 40;
const NODES: &[&str] = &[
    "blockquote",
    "bulletList",
    "codeBlock",
    "date",
    "emoji",
    "expand",
    "hardBreak",
    "heading",
    "inlineCard",
    "listItem",
    "mention",
    "orderedList",
    "panel",
    "paragraph",
    "rule",
    "status",
    "table",
    "tableCell",
    "tableHeader",
    "tableRow",
    "text",
];
const MARKS: &[&str] =
    &["backgroundColor", "code", "em", "link", "strike", "strong", "subsup", "textColor", "underline"];

/// What is wrong with a document, in the words of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NoDocument,
    TooLong,
}

pub(super) fn document(content: &[Value]) -> Value {
    json!({ "version": 1, "type": "doc", "content": content })
}

pub(super) fn paragraph(text: &str) -> Value {
    json!({ "type": "paragraph", "content": [{ "type": "text", "text": text }] })
}

pub(super) fn bullets(items: &[&str]) -> Value {
    let items: Vec<Value> =
        items.iter().map(|item| json!({ "type": "listItem", "content": [paragraph(item)] })).collect();
    json!({ "type": "bulletList", "content": items })
}

pub(super) fn link(text: &str, to: &str) -> Value {
    let marks = json!([{ "type": "link", "attrs": { "href": to } }]);
    json!({ "type": "paragraph", "content": [{ "type": "text", "text": text, "marks": marks }] })
}

/// Whether the service takes it: known nodes, texts that are not empty, blocks at the top, no more text than is allowed.
pub(super) fn judge(document: &Value) -> Result<(), Fault> {
    let is_document = document["type"] == "doc" && document["version"] == 1;
    let Some(content) = document["content"].as_array().filter(|_| is_document) else {
        return Err(Fault::NoDocument);
    };
    let blocks = |node: &Value| !matches!(node["type"].as_str(), Some("text" | "hardBreak" | "mention" | "emoji"));
    if !content.iter().all(|node| blocks(node) && is_node(node, 0)) {
        return Err(Fault::NoDocument);
    }
    if text(document).chars().count() > TEXT_MAX { Err(Fault::TooLong) } else { Ok(()) }
}

fn is_node(node: &Value, depth: usize) -> bool {
    let Some(kind) = node["type"].as_str().filter(|kind| NODES.contains(kind) && depth < DEPTH_MAX) else {
        return false;
    };
    let marks = node["marks"].as_array().map_or(&[][..], Vec::as_slice);
    let marked = marks.iter().all(|mark| mark["type"].as_str().is_some_and(|kind| MARKS.contains(&kind)));
    let filled = kind != "text" || node["text"].as_str().is_some_and(|text| !text.is_empty());
    let content = node["content"].as_array().map_or(&[][..], Vec::as_slice);
    // A list holds items and nothing else, and an item holds blocks.
    let fits = |child: &Value| match kind {
        "bulletList" | "orderedList" => child["type"] == "listItem",
        "listItem" => child["type"] != "text",
        "paragraph" | "heading" | "codeBlock" => {
            !matches!(child["type"].as_str(), Some("paragraph" | "bulletList" | "orderedList" | "listItem" | "heading"))
        }
        _ => true,
    };
    marked && filled && content.iter().all(|child| fits(child) && is_node(child, depth + 1))
}

/// All its texts, with spaces between.
pub(super) fn text(document: &Value) -> String {
    let mut texts = Vec::new();
    let mut nodes = vec![document];
    while let Some(node) = nodes.pop() {
        texts.extend(node["text"].as_str());
        nodes.extend(node["content"].as_array().into_iter().flatten().rev());
    }
    texts.join(" ")
}

//! A document becomes text. What stands in it is data: nothing of it is acted upon, and what is not known is shown by its texts.

use serde_json::Value;

/// What is shown in the place of a document that cannot be read. `serde_json` goes no deeper than 128 levels.
const UNREADABLE: &str = "(This text cannot be shown: it is nested too deeply.)";
/// Deeper lists are not indented any further, so that the text stays about as long as the document.
const INDENT_MAX: usize = 8;

/// The text of a document, given as JSON.
pub(in super::super) fn text(document: &str) -> String {
    let Ok(document) = serde_json::from_str::<Value>(document) else { return UNREADABLE.to_owned() };
    if let Value::String(text) = document {
        return text;
    }
    let mut writer = Writer::default();
    writer.node(&document, 0, false);
    writer.out.truncate(writer.out.trim_end().len());
    writer.out
}

#[derive(Default)]
struct Writer {
    out: String,
    /// What comes next follows what stands there without a gap: after the mark of an item, for example.
    joined: bool,
}

impl Writer {
    fn node(&mut self, node: &Value, lists: usize, tight: bool) {
        match kind(node) {
            "paragraph" => {
                self.gap(tight);
                self.inline(node);
            }
            "heading" => {
                self.gap(tight);
                let level = attribute(node, "level").and_then(Value::as_u64).unwrap_or(1).clamp(1, 6);
                (0..level).for_each(|_| self.out.push('#'));
                self.out.push(' ');
                self.inline(node);
            }
            kind @ ("bulletList" | "orderedList" | "taskList" | "decisionList") => self.list(kind, node, lists, tight),
            "codeBlock" => {
                self.gap(tight);
                self.out.push_str("```\n");
                self.inline(node);
                self.out.push_str("\n```");
            }
            "blockquote" => {
                self.gap(tight);
                self.marked("> ");
                self.children(node, lists, false);
            }
            "rule" => {
                self.gap(tight);
                self.out.push_str("---");
            }
            "table" => {
                for (index, row) in children(node).enumerate() {
                    self.gap(tight || index > 0);
                    for (index, cell) in children(row).enumerate() {
                        self.marked(if index == 0 { "" } else { " | " });
                        self.children(cell, lists, true);
                    }
                    self.joined = false;
                }
            }
            "expand" | "nestedExpand" => {
                self.gap(tight);
                self.out.push_str(attribute(node, "title").and_then(Value::as_str).unwrap_or_default());
                self.children(node, lists, false);
            }
            "media" | "mediaInline" => {
                self.gap(true);
                self.inline_node(node);
            }
            "blockCard" | "embedCard" => {
                self.gap(tight);
                self.inline_node(node);
            }
            _ if node.get("text").is_some() || is_inline(kind(node)) => self.inline_node(node),
            _ => self.children(node, lists, tight),
        }
    }

    fn list(&mut self, kind: &str, list: &Value, lists: usize, tight: bool) {
        let first = attribute(list, "order").and_then(Value::as_u64).unwrap_or(1);
        for (index, item) in (0_u64..).zip(children(list)) {
            self.gap(tight || lists > 0 || index > 0);
            (0..lists.min(INDENT_MAX)).for_each(|_| self.out.push_str("  "));
            let done = attribute(item, "state").and_then(Value::as_str) == Some("DONE");
            match kind {
                "orderedList" => self.marked(&format!("{}. ", first.saturating_add(index))),
                "taskList" => self.marked(if done { "- [x] " } else { "- [ ] " }),
                _ => self.marked("- "),
            }
            self.children(item, lists + 1, true);
            self.joined = false;
        }
    }

    fn children(&mut self, node: &Value, lists: usize, tight: bool) {
        for child in children(node) {
            self.node(child, lists, tight);
        }
    }

    fn inline(&mut self, node: &Value) {
        for child in children(node) {
            self.inline_node(child);
        }
    }

    fn inline_node(&mut self, node: &Value) {
        self.joined = false;
        let shown = |name: &str| attribute(node, name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match kind(node) {
            "text" => self.text(node),
            "hardBreak" => self.out.push('\n'),
            "mention" | "status" => self.out.push_str(shown("text").unwrap_or_default()),
            "emoji" => self.out.push_str(shown("text").or(shown("shortName")).unwrap_or_default()),
            "inlineCard" | "blockCard" | "embedCard" => self.out.push_str(shown("url").unwrap_or_default()),
            "date" => self.out.push_str(&shown("timestamp").and_then(day).unwrap_or_default()),
            "media" | "mediaInline" => {
                self.out.push_str("[attachment");
                shown("alt").into_iter().for_each(|alt| self.out.extend([": ", alt]));
                self.out.push(']');
            }
            _ => self.inline(node),
        }
    }

    /// A link shows where it leads, unless its text says so.
    fn text(&mut self, node: &Value) {
        let text = node.get("text").and_then(Value::as_str).unwrap_or_default();
        let marks = node.get("marks").and_then(Value::as_array).into_iter().flatten();
        let link = marks.filter(|mark| kind(mark) == "link").find_map(|mark| attribute(mark, "href")?.as_str());
        match link.filter(|url| *url != text) {
            Some(url) => self.out.extend(["[", text, "](", url, ")"]),
            None => self.out.push_str(text),
        }
    }

    /// What comes between two blocks.
    fn gap(&mut self, tight: bool) {
        if std::mem::take(&mut self.joined) || self.out.is_empty() {
            return;
        }
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        if !tight && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn marked(&mut self, mark: &str) {
        self.out.push_str(mark);
        self.joined = true;
    }
}

fn is_inline(kind: &str) -> bool {
    matches!(kind, "text" | "hardBreak" | "mention" | "status" | "emoji" | "inlineCard" | "date")
}

fn kind(node: &Value) -> &str {
    node.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn attribute<'a>(node: &'a Value, name: &str) -> Option<&'a Value> {
    node.get("attrs")?.get(name)
}

fn children(node: &Value) -> impl Iterator<Item = &Value> {
    node.get("content").and_then(Value::as_array).into_iter().flatten()
}

/// The day of a moment in milliseconds.
fn day(timestamp: &str) -> Option<String> {
    let moment = jiff::Timestamp::from_millisecond(timestamp.parse().ok()?).ok()?;
    Some(moment.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
}

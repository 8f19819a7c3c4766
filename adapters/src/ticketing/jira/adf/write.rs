//! Plain text becomes a document: paragraphs, lists, code and links.

use serde_json::{Value, json};

/// How far a link in brackets is looked for, so that many opening brackets cost no more than their number.
const LABEL_BYTES_MAX: usize = 200;
const URL_BYTES_MAX: usize = 2_000;

/// The document for `text`.
pub(in super::super) fn document(text: &str) -> Value {
    let mut blocks = Blocks::default();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for line in text.split('\n') {
        blocks.add(line);
    }
    blocks.flush();
    json!({ "type": "doc", "version": 1, "content": blocks.done })
}

#[derive(Default)]
struct Blocks {
    done: Vec<Value>,
    open: Option<Open>,
}

/// What the next line may go on with.
enum Open {
    Paragraph(Vec<Value>),
    /// Each item is the content of its paragraph.
    List {
        first: Option<u64>,
        items: Vec<Vec<Value>>,
    },
    /// Lines that are kept as they are.
    Code {
        language: Option<String>,
        lines: Vec<String>,
    },
}

/// What stands around code.
const FENCE: &str = "```";

impl Blocks {
    fn add(&mut self, line: &str) {
        let bare = line.trim();
        if let Some(Open::Code { lines, .. }) = &mut self.open {
            if bare == FENCE {
                return self.flush();
            }
            return lines.push(clean(line));
        }
        if let Some(language) = bare.strip_prefix(FENCE).filter(|rest| !rest.contains('`')) {
            self.flush();
            let is_name = |name: &&str| {
                name.len() <= 30 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+#-".contains(&b))
            };
            let language = Some(language.trim()).filter(|name| !name.is_empty()).filter(is_name).map(str::to_owned);
            self.open = Some(Open::Code { language, lines: Vec::new() });
            return;
        }
        if bare.is_empty() {
            return self.flush();
        }
        if let Some((number, item)) = item(bare) {
            if !matches!(&self.open, Some(Open::List { first, .. }) if first.is_some() == number.is_some()) {
                self.flush();
            }
            let list = self.open.get_or_insert(Open::List { first: number, items: Vec::new() });
            if let Open::List { items, .. } = list {
                items.push(inline(item));
            }
            return;
        }
        let indented = line.starts_with([' ', '\t']);
        match &mut self.open {
            Some(Open::Paragraph(content)) => go_on(content, bare),
            Some(Open::List { items, .. }) if indented && !items.is_empty() => {
                items.last_mut().into_iter().for_each(|content| go_on(content, bare));
            }
            _ => {
                self.flush();
                self.open = Some(Open::Paragraph(inline(bare)));
            }
        }
    }

    fn flush(&mut self) {
        let paragraph = |content: Vec<Value>| json!({ "type": "paragraph", "content": content });
        self.done.extend(self.open.take().map(|open| match open {
            Open::Paragraph(content) => paragraph(content),
            Open::List { first, items } => {
                let items: Vec<_> =
                    items.into_iter().map(|item| json!({ "type": "listItem", "content": [paragraph(item)] })).collect();
                match first {
                    None => json!({ "type": "bulletList", "content": items }),
                    Some(first) => json!({ "type": "orderedList", "attrs": { "order": first }, "content": items }),
                }
            }
            Open::Code { language, lines } => {
                let mut code = json!({ "type": "codeBlock", "content": text(&lines.join("\n")).as_slice() });
                if let Some(language) = language {
                    code["attrs"] = json!({ "language": language });
                }
                code
            }
        }));
    }
}

fn go_on(content: &mut Vec<Value>, line: &str) {
    content.push(json!({ "type": "hardBreak" }));
    content.extend(inline(line));
}

/// The number, if it has one, and the text of a line that is an item of a list.
fn item(line: &str) -> Option<(Option<u64>, &str)> {
    let bullet = ["- ", "* ", "• "].into_iter().find_map(|mark| line.strip_prefix(mark));
    if let Some(text) = bullet {
        return Some((None, text.trim_start())).filter(|(_, text)| !text.is_empty());
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = line.split_at(digits);
    let text = rest.strip_prefix(". ").or_else(|| rest.strip_prefix(") "))?.trim_start();
    // A year at the start of a sentence is no number of an item.
    let number = number.parse().ok().filter(|_| digits <= 3)?;
    (!text.is_empty()).then_some((Some(number), text))
}

/// Text with its links.
fn inline(line: &str) -> Vec<Value> {
    let mut nodes = Vec::new();
    let (mut from, mut at, mut word_end) = (0, 0, 0);
    while let Some(offset) = line[at..].find(['[', 'h']) {
        let start = at + offset;
        // Looked for once in each word: a word may have many places in it that look like the beginning of a URL.
        if start >= word_end {
            word_end = start + url_length(&line[start..]);
        }
        match link_at(line, start, word_end) {
            Some(link) => {
                nodes.extend(text(&clean(&line[from..start])));
                nodes.push(json!({
                    "type": "text", "text": link.label, "marks": [{ "type": "link", "attrs": { "href": link.url } }]
                }));
                (from, at) = (link.end, link.end);
            }
            None => at = start + 1,
        }
    }
    nodes.extend(text(&clean(&line[from..])));
    nodes
}

/// Without what Jira keeps in no text.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

/// Jira refuses a text of nothing.
fn text(clean: &str) -> Option<Value> {
    (!clean.is_empty()).then(|| json!({ "type": "text", "text": clean }))
}

struct Link<'a> {
    label: &'a str,
    url: &'a str,
    end: usize,
}

/// `[label](https://…)` or `https://…` at `start`, in a word that goes to `word_end`.
fn link_at(line: &str, start: usize, word_end: usize) -> Option<Link<'_>> {
    let rest = &line[start..];
    if let Some(bracketed) = rest.strip_prefix('[') {
        let label_end = bracketed.bytes().take(LABEL_BYTES_MAX).position(|byte| byte == b']')?;
        let (label, rest) = (&bracketed[..label_end], bracketed[label_end..].strip_prefix("](")?);
        let url_end = rest.bytes().take(URL_BYTES_MAX).position(|byte| byte == b')')?;
        let url = &rest[..url_end];
        let fits = !label.trim().is_empty() && url_length(url) == url.len() && has_scheme(url);
        // `[`, `](` and `)` stand around them.
        return fits.then_some(Link { label, url, end: start + label_end + url_end + 4 });
    }
    let begins_a_word = line[..start].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
    if !begins_a_word || !has_scheme(rest) {
        return None;
    }
    let word = &line[start..word_end];
    let url = word.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', ')', ']']);
    (has_scheme(url) && url.len() <= URL_BYTES_MAX).then_some(Link { label: url, url, end: start + url.len() })
}

/// With something after it.
fn has_scheme(text: &str) -> bool {
    let after = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    after.is_some_and(|after| after.starts_with(char::is_alphanumeric))
}

fn url_length(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '`')).unwrap_or(text.len())
}

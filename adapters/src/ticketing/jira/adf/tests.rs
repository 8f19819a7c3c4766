#![allow(clippy::needless_pass_by_value, reason = "documents are written in their place")]

use proptest::prelude::{prop_assert, proptest};
use serde_json::{Value, json};

use super::{document, text};

fn paragraph(content: Value) -> Value {
    json!({ "type": "paragraph", "content": content })
}

fn plain(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn link(label: &str, url: &str) -> Value {
    json!({ "type": "text", "text": label, "marks": [{ "type": "link", "attrs": { "href": url } }] })
}

fn doc(content: Value) -> Value {
    json!({ "type": "doc", "version": 1, "content": content })
}

#[test]
fn text_becomes_paragraphs_lists_and_links() {
    let item = |text: &str| json!({ "type": "listItem", "content": [paragraph(json!([plain(text)]))] });
    let rows = [
        (
            "one\ntwo\r\n\n\nthree",
            doc(json!([
                paragraph(json!([plain("one"), { "type": "hardBreak" }, plain("two")])),
                paragraph(json!([plain("three")])),
            ])),
        ),
        (
            "seen:\n- a\n* b\nafter",
            doc(json!([
                paragraph(json!([plain("seen:")])),
                { "type": "bulletList", "content": [item("a"), item("b")] },
                paragraph(json!([plain("after")])),
            ])),
        ),
        (
            "3. c\n4) d",
            doc(json!([{ "type": "orderedList", "attrs": { "order": 3 }, "content": [item("c"), item("d")] }])),
        ),
        ("2026. No list", doc(json!([paragraph(json!([plain("2026. No list")]))]))),
        (
            "see https://a.example/x?y=1. or [it](http://b.example/), (https://c.example)",
            doc(json!([paragraph(json!([
                plain("see "),
                link("https://a.example/x?y=1", "https://a.example/x?y=1"),
                plain(". or "),
                link("it", "http://b.example/"),
                plain(", ("),
                link("https://c.example", "https://c.example"),
                plain(")"),
            ]))])),
        ),
        (
            "[x](javascript:alert(1)) https:// [ ](https://a.example)",
            doc(json!([paragraph(json!([
                plain("[x](javascript:alert(1)) https:// [ ]("),
                link("https://a.example", "https://a.example"),
                plain(")"),
            ]))])),
        ),
        (
            "so:\n```yaml\na:\n  - b: [x](https://a.example)\n\n  c\n```\n- after",
            doc(json!([
                paragraph(json!([plain("so:")])),
                { "type": "codeBlock", "attrs": { "language": "yaml" }, "content": [plain("a:\n  - b: [x](https://a.example)\n\n  c")] },
                { "type": "bulletList", "content": [item("after")] },
            ])),
        ),
        (
            "```\n```\n```a```\n```\n\tnever closed",
            doc(json!([
                { "type": "codeBlock", "content": [] },
                paragraph(json!([plain("```a```")])),
                { "type": "codeBlock", "content": [plain("\tnever closed")] },
            ])),
        ),
        ("", doc(json!([]))),
    ];
    for (text, wanted) in rows {
        assert_eq!(document(text), wanted, "{text}");
    }
}

#[test]
fn a_document_becomes_text() {
    let task =
        |state: &str, text: &str| json!({ "type": "taskItem", "attrs": { "state": state }, "content": [plain(text)] });
    let cell = |text: &str| json!({ "type": "tableCell", "content": [paragraph(json!([plain(text)]))] });
    let nested = json!({ "type": "bulletList", "content": [
        { "type": "listItem", "content": [
            paragraph(json!([plain("a")])),
            { "type": "orderedList", "attrs": { "order": 2 }, "content": [{ "type": "listItem", "content": [paragraph(json!([plain("b")]))] }] },
        ] },
        { "type": "listItem", "content": [paragraph(json!([plain("c")]))] },
    ] });
    let rows = [
        (
            json!([{ "type": "heading", "attrs": { "level": 2 }, "content": [plain("H")] }, paragraph(json!([plain("p")]))]),
            "## H\n\np",
        ),
        (json!([nested, paragraph(json!([plain("after")]))]), "- a\n  2. b\n- c\n\nafter"),
        (json!([{ "type": "taskList", "content": [task("DONE", "x"), task("TODO", "y")] }]), "- [x] x\n- [ ] y"),
        (json!([{ "type": "codeBlock", "content": [plain("let x;\nx")] }]), "```\nlet x;\nx\n```"),
        (
            json!([{ "type": "blockquote", "content": [paragraph(json!([plain("q")]))] }, { "type": "rule" }]),
            "> q\n\n---",
        ),
        (
            json!([{ "type": "table", "content": [{ "type": "tableRow", "content": [cell("1"), cell("2")] },
            { "type": "tableRow", "content": [cell("3"), cell("4")] }] }]),
            "1 | 2\n3 | 4",
        ),
        (
            json!([paragraph(json!([
                { "type": "mention", "attrs": { "id": "5", "text": "@Ann" } }, plain(" "), { "type": "emoji", "attrs": { "shortName": ":+1:" } },
                plain(" "), { "type": "date", "attrs": { "timestamp": "1763769600000" } }, plain(" "),
                { "type": "inlineCard", "attrs": { "url": "https://a.example" } }, { "type": "hardBreak" }, link("it", "https://b.example"),
            ]))]),
            "@Ann :+1: 2025-11-22 https://a.example\n[it](https://b.example)",
        ),
        (
            json!([{ "type": "mediaSingle", "content": [{ "type": "media", "attrs": { "alt": "screen.png" } }] }]),
            "[attachment: screen.png]",
        ),
        (
            json!([{ "type": "fromTheFuture", "content": [{ "type": "panel", "content": [paragraph(json!([plain("kept")]))] }] }]),
            "kept",
        ),
    ];
    for (content, wanted) in rows {
        assert_eq!(text(&doc(content.clone()).to_string()), wanted, "{content}");
    }
    assert_eq!(text("\"as it was\""), "as it was");
}

#[test]
fn a_document_without_end_costs_neither_stack_nor_time() {
    let deep = format!("{}{}", r#"{"type":"panel","content":["#.repeat(100_000), "]}".repeat(100_000));
    assert!(text(&deep).contains("nested too deeply"));
    let brackets = "[".repeat(32_767);
    assert_eq!(text(&document(&brackets).to_string()), brackets);
    let one_word = "http://a,".repeat(100_000);
    assert_eq!(text(&document(&one_word).to_string()), one_word);
}

proptest! {
    #[test]
    fn text_comes_back_as_it_was_but_for_white_space(lines in proptest::collection::vec("[-*0-9. a-zß\\[\\]()h]{0,20}", 0..8)) {
        let given = lines.join("\n");
        let words = |text: &str| text.split_whitespace().map(|word| word.replace(['*', '-', '.', ')'], "")).collect::<String>();
        let back = text(&document(&given).to_string());
        let digits_aside = |text: String| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        prop_assert!(digits_aside(words(&back)) == digits_aside(words(&given)), "{given:?} became {back:?}");
    }

    #[test]
    fn no_text_makes_a_document_that_jira_refuses(given in ".{0,200}") {
        fn check(node: &Value) -> bool {
            let empty = node["type"] == "text" && node["text"].as_str().is_none_or(str::is_empty);
            !empty && node["content"].as_array().into_iter().flatten().all(check)
        }
        prop_assert!(check(&document(&given)));
    }
}

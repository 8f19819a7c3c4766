//! What a server may write to be hard to part: much around little, very many items, JSON in any form there is.

use adapters::json::Object;
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::{CLOSED, NONE, OPEN, handles};
use crate::pages::{ANSWER_BYTES_MAX, NEXT_PAGE, Parted};

/// What all parts take together, the last of which must say that there is more.
fn bytes_of_what_goes_on(result: &str, characters_max: usize) -> usize {
    let parted = Parted::of(result.as_bytes(), characters_max, OPEN, handles).expect("parts");
    let texts: Vec<&str> =
        parted.rest.iter().map(|(_, part)| std::str::from_utf8(part).expect("a part is text")).collect();
    let (last, before) = texts.split_last().expect("more than one part");
    assert!(last.contains("The rest is too long to be kept"), "{last}");
    assert!(before.iter().all(|part| !part.contains("The rest is too long") && part.contains(NEXT_PAGE)));
    for part in texts.iter().rev().take(3) {
        serde_json::from_str::<Value>(part).expect("a part is JSON");
    }
    texts.iter().map(|text| text.len()).sum()
}

#[test]
fn what_stands_around_the_cuts_does_not_multiply_without_bound() {
    let around = "x".repeat(1_400_000);
    // Each part has all that stands around its rows.
    let rows = json!({ "content": [], "structuredContent": { "about": around, "rows": vec![1; 200_000] } });
    assert!(bytes_of_what_goes_on(&rows.to_string(), 1_401_000) <= ANSWER_BYTES_MAX);
    let text = json!({ "about": around, "rows": vec![1; 200_000] }).to_string();
    let repeated = json!({ "content": [{ "type": "text", "text": text }] });
    assert!(bytes_of_what_goes_on(&repeated.to_string(), 1_401_000) <= ANSWER_BYTES_MAX);
    // Each part has the whole item around its lines.
    let lines = json!({ "content": [{ "type": "text", "text": "a line\n".repeat(20_000), "_meta": { "m": around } }] });
    assert!(bytes_of_what_goes_on(&lines.to_string(), 1000) <= ANSWER_BYTES_MAX);
    let structured = json!({ "rows": vec![1; 20_000] });
    let item = json!({ "type": "text", "text": structured.to_string(), "_meta": { "m": around } });
    let framed = json!({ "content": [item], "structuredContent": structured });
    assert!(bytes_of_what_goes_on(&framed.to_string(), 1000) <= ANSWER_BYTES_MAX);
}

#[test]
fn many_items_are_compared_with_the_structured_content_in_linear_time() {
    // As servers give a list: all of it structured, and each of its items as a text of its own.
    let all: Vec<Value> = (0..20_000).map(|n| json!({ "id": n, "name": "a name" })).collect();
    let content: Vec<Value> = all.iter().map(|item| json!({ "type": "text", "text": item.to_string() })).collect();
    let result = json!({ "content": content, "structuredContent": { "result": all } }).to_string();
    let started = std::time::Instant::now();
    let parts = Parted::of(result.as_bytes(), 20_000, OPEN, handles).expect("parts").rest.len();
    // To read all of it again for each item takes minutes.
    assert!(parts > 10 && started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

/// A text as a server may write it between its quotes.
fn any_raw_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(r"\ud83e".to_owned()),
        Just(r"\udd80".to_owned()),
        Just(r"\u0000".to_owned()),
        Just(r"\u000a".to_owned()),
        Just(r"\n".to_owned()),
        Just(r"\\".to_owned()),
        Just("\\\"".to_owned()),
        Just(r"\/".to_owned()),
        Just("\u{2028}🦀".to_owned()),
        Just(r#"[{\"a\":[1,2,"#.to_owned()),
        Just(r#"}]"#.to_owned()),
        "[a-z{}:,\\[\\] é]{0,300}",
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// JSON as a server may write it: any white space, numbers and escapes, a member twice.
fn any_raw_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any_raw_text().prop_map(|text| format!("\"{text}\"")),
        prop::sample::select(vec!["null", "-0.0", "1E400", "12345678901234567890123", "[ ]", "{ }", "true"])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 120, 12, |inner| {
        let member = ("(a|b|rows|text|truncated|next_page|row_count|type|data|\\\\u0061)", inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..12).prop_map(|items| format!("[ {} ]", items.join(" ,\n"))),
            prop::collection::vec(member.prop_map(|(key, value)| format!("\t\"{key}\" : {value}")), 0..8)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

fn any_raw_item() -> impl Strategy<Value = String> {
    prop_oneof![
        any_raw_text().prop_map(|text| format!(r#"{{ "t\u0079pe":"text","text" : "{text}" ,"_meta":null}}"#)),
        any_raw_json().prop_map(|json| format!(r#"{{"type":"text","text":{}}}"#, json!(json))),
        any_raw_text().prop_map(|text| format!(r#"{{"type":"resource","resource":{{"text":"{text}","uri":"x:y"}}}}"#)),
        any_raw_json(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_a_server_writes_comes_in_parts_that_are_json(
        items in prop::collection::vec(any_raw_item(), 0..12), structured in prop::option::of(any_raw_json()),
        promise in prop::sample::select(vec![OPEN, CLOSED, NONE]), repeats in any::<bool>(), characters_max in 1000..1500_usize,
    ) {
        let mut items = items;
        if let Some(structured) = structured.as_ref().filter(|_| repeats) {
            items.push(format!(r#"{{"type":"text","text":{}}}"#, json!(structured)));
        }
        let structured = structured.map_or_else(String::new, |json| format!(",\"structuredContent\": {json}"));
        let result = format!(r#"{{"content":[{}] {structured}, "x":"\ud83e","_meta":{{"a":"\udd80"}} }}"#, items.join(" , "));
        prop_assert!(serde_json::from_str::<&RawValue>(&result).is_ok(), "{}", result);
        let Some(parted) = Parted::of(result.as_bytes(), characters_max, promise, handles) else { return Ok(()) };
        let rest = parted.rest.iter().map(|(_, part)| part);
        for part in [&parted.first, &parted.first_alone].into_iter().chain(rest) {
            let text = std::str::from_utf8(part).expect("a part is text");
            prop_assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{}", text);
            let part = Object::parse(text).expect("a part is an object");
            prop_assert!(part.get("content").is_some_and(|content| content.starts_with('[')));
        }
    }
}

mod hostile;

use cache::{Handle, PageSettings, Pages};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{NEXT_PAGE, Parted};
use crate::pages::Promise;

const OPEN: Promise = Promise { exists: true, takes_more: true, counts_rows: false };
const CLOSED: Promise = Promise { exists: true, takes_more: false, counts_rows: false };
const NONE: Promise = Promise { exists: false, takes_more: true, counts_rows: false };

fn handles(count: usize) -> Vec<Handle> {
    let settings =
        PageSettings { lifetime: super::LIFETIME, answer_bytes_max: 1, answer_pages_max: 1, local_bytes_max: 1 };
    Pages::new(settings, None, cache::Sealer::new(&[0; 32], &[], 1)).handles(b"", &[], count)
}

/// The parts of a result, each checked to say where the next one is; nothing when it is not parted.
fn parted(result: &str, characters_max: usize, promise: Promise) -> Vec<Value> {
    let Some(parted) = Parted::of(result.as_bytes(), characters_max, promise, handles) else { return Vec::new() };
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("a part is JSON");
    let (handles, rest): (Vec<_>, Vec<_>) = parted.rest.into_iter().unzip();
    let parts: Vec<Value> = std::iter::once(&parted.first).chain(&rest).map(|part| read(part)).collect();
    for (part, next) in parts.iter().zip(handles.iter().map(Some).chain([None])) {
        let counted = &part["_meta"]["weir/truncated"];
        let last = part["content"].as_array().and_then(|content| content.last()).expect("content");
        let sentence = last["text"].as_str().expect("a sentence");
        match next {
            Some(next) => {
                assert_eq!(counted["next"], next.to_string());
                assert!(sentence.contains(&next.to_string()) && sentence.contains(NEXT_PAGE), "{sentence}");
            }
            None if parts.len() == 1 => assert_eq!(counted, &Value::Null),
            None => assert!(counted.get("next").is_none() && sentence.starts_with("This is the last part"), "{part}"),
        }
        assert!(counted["shown"].as_u64() <= counted["total"].as_u64(), "{counted}");
        for read in [characters(part), part.get("structuredContent").map_or(0, |json| json.to_string().chars().count())]
        {
            assert!(read <= characters_max, "{read} characters where {characters_max} are allowed: {part}");
        }
    }
    if let [.., last] = &parts[..]
        && parts.len() > 1
    {
        assert_eq!(last["_meta"]["weir/truncated"]["shown"], last["_meta"]["weir/truncated"]["total"]);
    }
    parts
}

fn texts(part: &Value) -> Vec<&str> {
    part["content"].as_array().expect("content").iter().filter_map(|item| item["text"].as_str()).collect()
}

fn characters(part: &Value) -> usize {
    texts(part).iter().map(|text| text.chars().count()).sum()
}

/// All texts but the sentences of Weir.
fn said(parts: &[Value]) -> String {
    let own = |part: &Value| {
        let texts = texts(part);
        texts[..texts.len() - usize::from(parts.len() > 1)].concat()
    };
    parts.iter().map(own).collect()
}

fn rows(parts: &[Value], of: impl Fn(&Value) -> Value) -> Vec<Value> {
    parts.iter().flat_map(|part| of(part).as_array().cloned().unwrap_or_default()).collect()
}

#[test]
fn what_is_not_too_long_stays() {
    let text = "x".repeat(2000);
    let result = json!({ "content": [{ "type": "text", "text": text }], "structuredContent": { "a": [text] } });
    assert!(parted(&result.to_string(), 2010, OPEN).is_empty());
    let image = json!({ "content": [{ "type": "image", "data": text, "mimeType": "image/png" }] });
    assert!(parted(&image.to_string(), 1000, NONE).is_empty());
}

#[test]
fn rows_are_parted_with_the_text_that_repeats_them() {
    let all: Vec<Value> = (0..200).map(|n| json!({ "n": n, "name": format!("Zoë \"{n}\" 🦀") })).collect();
    let structured = json!({ "rows": all, "row_count": 200, "truncated": false });
    for (text, counts_rows) in
        [(structured.to_string(), true), (serde_json::to_string_pretty(&structured).expect("JSON"), false)]
    {
        let item = json!({ "type": "text", "text": text, "annotations": { "audience": ["user"] } });
        let result = json!({
            "content": [item], "structuredContent": structured, "isError": false, "x": 1, "_meta": { "theirs": 1 },
        });
        let parts = parted(&result.to_string(), 2000, Promise { counts_rows, ..CLOSED });
        assert!(parts.len() > 3);
        assert_eq!(rows(&parts, |part| part["structuredContent"]["rows"].clone()), all);
        for (index, part) in parts.iter().enumerate() {
            let shown = &part["structuredContent"];
            let repeated: Value = serde_json::from_str(texts(part)[0]).expect("JSON");
            assert_eq!(&repeated, shown);
            assert_eq!(part["content"][0]["annotations"], json!({ "audience": ["user"] }));
            assert_eq!(shown["truncated"], index + 1 < parts.len(), "the rows say themselves that there are more");
            let rows = shown["rows"].as_array().expect("rows").len();
            assert_eq!(shown["row_count"], if counts_rows { rows } else { 200 });
            assert!(shown.get("next_page").is_none(), "the schema has no room for it");
            assert_eq!(part["isError"], false);
            assert_eq!((part.get("x").is_some(), part["_meta"]["theirs"] == 1), (index == 0, index == 0));
        }
        assert_eq!(parts[0]["_meta"]["weir/truncated"]["total"], 200);
    }
}

#[test]
fn an_open_schema_is_told_where_it_goes_on() {
    let all: Vec<Value> = (0..300).map(|n| json!({ "id": n })).collect();
    let result = json!({ "content": [], "structuredContent": { "items": all } });
    let parts = parted(&result.to_string(), 1500, OPEN);
    assert_eq!(rows(&parts, |part| part["structuredContent"]["items"].clone()), all);
    let (last, before) = parts.split_last().expect("parts");
    for part in before {
        let next = json!({ "tool": NEXT_PAGE, "arguments": { "handle": part["_meta"]["weir/truncated"]["next"] } });
        assert_eq!(
            (&part["structuredContent"]["truncated"], &part["structuredContent"]["next_page"]),
            (&json!(true), &next)
        );
    }
    assert!(
        last["structuredContent"].get("truncated").is_none() && last["structuredContent"].get("next_page").is_none()
    );
}

#[test]
fn a_list_that_is_repeated_item_by_item_is_parted_in_both() {
    let all: Vec<String> = (0..100).map(|n| format!("item {n} of the list")).collect();
    let content: Vec<Value> = all.iter().map(|text| json!({ "type": "text", "text": text })).collect();
    let result = json!({ "content": content, "structuredContent": { "result": all } });
    let parts = parted(&result.to_string(), 1200, OPEN);
    assert_eq!(said(&parts), all.concat());
    assert_eq!(
        rows(&parts, |part| part["structuredContent"]["result"].clone()),
        all.iter().map(|text| json!(text)).collect::<Vec<_>>()
    );
}

#[test]
fn one_item_that_is_too_long_is_cut_within_its_text() {
    let structured = json!({ "id": 9_007_199_254_740_993_i64, "story": "once ".repeat(600), "labels": ["a"] });
    let result = json!({
        "content": [{ "type": "text", "text": structured.to_string() }], "structuredContent": structured,
    });
    for (promise, has_structured) in [(NONE, false), (OPEN, true)] {
        let parts = parted(&result.to_string(), 1200, promise);
        assert!(parts.len() > 2);
        assert_eq!(said(&parts), structured.to_string());
        assert_eq!(parts[0].get("structuredContent").is_some(), has_structured);
        assert!(parts[1..].iter().all(|part| part.get("structuredContent").is_none()));
        let sentence = texts(&parts[0]).pop().expect("a sentence");
        assert!(sentence.contains("cut within its text"), "{sentence}");
        if has_structured {
            let short = &parts[0]["structuredContent"];
            assert_eq!(
                (&short["id"], &short["labels"], &short["truncated"]),
                (&structured["id"], &structured["labels"], &json!(true))
            );
            assert!(short["story"].as_str().is_some_and(|story| story.starts_with("once once")), "{short}");
        }
    }
    let wide: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("m{n}"), json!(n))).collect();
    let parts = parted(&json!({ "content": [], "structuredContent": wide }).to_string(), 1200, OPEN);
    assert_eq!(said(&parts), json!(wide).to_string());
    assert!(parts[0].get("structuredContent").is_none(), "there is nothing in it to be cut short");
    // What a model could read nowhere else is added as a text.
    let other = json!({ "content": [{ "type": "text", "text": "Found it." }], "structuredContent": structured });
    assert_eq!(said(&parted(&other.to_string(), 1200, NONE)), format!("Found it.{structured}"));
}

#[test]
fn json_in_a_text_is_parted_by_its_items() {
    let all: Vec<Value> = (0..200).map(|n| json!({ "n": n })).collect();
    for (text, at) in [(json!(all), ""), (json!({ "found": { "all": all }, "page": 1 }), "/found/all")] {
        let result = json!({ "content": [{ "type": "text", "text": text.to_string() }] });
        let parts = parted(&result.to_string(), 1000, NONE);
        let read = |part: &Value| {
            let text: Value = serde_json::from_str(texts(part)[0]).expect("each part is JSON");
            text.pointer(at).cloned().expect("the array")
        };
        assert_eq!(rows(&parts, read), all);
        assert_eq!(parts[0]["_meta"]["weir/truncated"]["unit"], "items");
    }
}

#[test]
fn lines_resources_and_what_cannot_be_cut_keep_their_order() {
    let line = |n: usize| format!("line {n}: Grüße, 世界, 🦀\n");
    let text: String = (0..200).map(line).collect();
    let resource = json!({ "type": "resource", "resource": { "uri": "file:///log", "text": text } });
    let image = json!({ "type": "image", "data": "x".repeat(5000), "mimeType": "image/png" });
    let result = json!({ "content": [{ "type": "text", "text": text }, image, resource] });
    let parts = parted(&result.to_string(), 1000, NONE);
    let mut whole = (String::new(), String::new());
    let mut images = 0;
    for part in &parts {
        let content = part["content"].as_array().expect("content");
        for item in &content[..content.len() - 1] {
            if let Some(text) = item["text"].as_str() {
                assert!(text.ends_with('\n') && images == 0, "lines stay whole: {text}");
                whole.0.push_str(text);
            } else if let Some(text) = item["resource"]["text"].as_str() {
                assert!(item["resource"]["uri"] == "file:///log" && images == 1);
                whole.1.push_str(text);
            } else {
                assert_eq!(item, &image);
                images += 1;
            }
        }
    }
    assert_eq!((whole.0.as_str(), whole.1.as_str(), images), (text.as_str(), text.as_str(), 1));
}

#[test]
fn bytes_that_only_json_can_hold_stay() {
    let result = format!(r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#, r"\ud83e half \ud83e\udd80 ".repeat(200));
    let parted = Parted::of(result.as_bytes(), 1000, NONE, handles).expect("parts");
    let all: Vec<String> = std::iter::once(&parted.first)
        .chain(parted.rest.iter().map(|(_, part)| part))
        .map(|part| {
            let text = std::str::from_utf8(part).expect("UTF-8");
            let (_, rest) = text.split_once(r#""text":""#).expect("a text");
            rest.split_once('"').expect("its end").0.to_owned()
        })
        .collect();
    assert_eq!(all.concat(), r"\ud83e half \ud83e\udd80 ".repeat(200));
}

#[test]
fn an_answer_without_end_says_that_its_rest_is_not_kept() {
    let result = json!({ "content": [{ "type": "text", "text": "x".repeat(2_000_000) }] }).to_string();
    let parted = Parted::of(result.as_bytes(), 1000, NONE, handles).expect("parts");
    assert_eq!(parted.rest.len(), super::ANSWER_PAGES_MAX);
    for last in [&parted.rest.last().expect("a last one").1, &parted.first_alone] {
        let last = std::str::from_utf8(last).expect("UTF-8");
        assert!(last.contains("The rest is too long to be kept"), "{last}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "(?s).{0,40}".prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..6).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn all_parts_together_hold_exactly_the_items_of_the_whole(
        all in prop::collection::vec(any_json(), 0..60), more in any_json(), repeats in any::<bool>(), pretty in any::<bool>(),
        characters_max in 1000..3000_usize,
    ) {
        let structured = json!({ "items": all, "more": more });
        let text = if pretty { serde_json::to_string_pretty(&structured).expect("JSON") } else { structured.to_string() };
        let content = if repeats { json!([{ "type": "text", "text": text }]) } else { json!([]) };
        let result = json!({ "content": content, "structuredContent": structured });
        let parts = parted(&result.to_string(), characters_max, OPEN);
        if parts.is_empty() {
            return Ok(());
        }
        let by_items = parts[1..].iter().all(|part| part.get("structuredContent").is_some());
        if !by_items {
            let whole: Value = serde_json::from_str(&said(&parts)).expect("the text as a whole is JSON");
            prop_assert_eq!(whole, structured);
            return Ok(());
        }
        // The longest array is parted, whichever it is; everything else stands in each part.
        let mut joined = parts[0]["structuredContent"].clone();
        for part in &parts {
            let shown = &part["structuredContent"];
            if repeats {
                let repeated: Value = serde_json::from_str(texts(part)[0]).expect("JSON");
                prop_assert_eq!(&repeated, shown);
            }
        }
        for part in &parts[1..] {
            join(&mut joined, &part["structuredContent"]);
        }
        let object = joined.as_object_mut().expect("an object");
        object.remove("truncated");
        object.remove("next_page");
        prop_assert_eq!(joined, structured);
    }

    #[test]
    fn all_texts_together_are_the_text(text in "(?s).{0,300}(\n.{0,300}){0,30}", characters_max in 1000..2000_usize) {
        let result = json!({ "content": [{ "type": "text", "text": text }] });
        let parts = parted(&result.to_string(), characters_max, NONE);
        prop_assert!(parts.is_empty() == (text.chars().count() <= characters_max));
        if !parts.is_empty() {
            prop_assert_eq!(said(&parts), text);
        }
    }
}

/// Adds to the array that was parted what `next` has of it.
fn join(joined: &mut Value, next: &Value) {
    let Value::Object(members) = joined else { return };
    for (name, value) in members {
        match (value, next.get(name)) {
            (Value::Array(items), Some(Value::Array(more))) if name == "items" => items.extend(more.iter().cloned()),
            (value @ Value::Object(_), Some(next)) => join(value, next),
            _ => {}
        }
    }
}

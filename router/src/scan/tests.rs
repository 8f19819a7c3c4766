use proptest::prelude::*;

use super::{Fault, check};

fn twice(name: &str) -> Result<&'static str, Fault> {
    Err(Fault::Twice { name: name.to_owned() })
}

#[test]
fn valid_json_passes_as_it_is() {
    for text in [
        "{}",
        " [ ] ",
        "\"a\\u00e9\\n\\\"\"",
        "\"\\ud83d\\uDE00\"",
        "-0.1e+10",
        "1E400",
        "123456789012345678901234567890",
        "{\"a\":[1,{\"a\":null},true,false]}\n",
        "{\"\":0,\" \":1}",
    ] {
        assert_eq!(check(text.as_bytes()), Ok(text));
    }
}

#[test]
fn what_is_not_json_is_refused_where_it_goes_wrong() {
    for (text, at) in [
        ("", 0),
        ("{", 1),
        ("{\"a\"}", 4),
        ("{\"a\":1,}", 7),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("01", 1),
        ("1.", 2),
        ("1e", 2),
        ("-", 1),
        ("+1", 0),
        ("tru", 0),
        ("NaN", 0),
        ("\"\\x\"", 2),
        ("\"\\u12g4\"", 5),
        ("\"a\nb\"", 2),
        ("\"a", 2),
        ("{} {}", 3),
        ("{'a':1}", 1),
        ("\u{feff}{}", 0),
        ("{\"\\ud800\":1}", 7),
        ("\"\\ude00\"", 6),
        ("\"\\ud83d\\u0041\"", 12),
        ("\"\\ud83d\\n\"", 6),
    ] {
        assert_eq!(check(text.as_bytes()), Err(Fault::Syntax { at }), "{text:?}");
    }
    assert_eq!(check(b"\"\xff\""), Err(Fault::NotUtf8));
}

#[test]
fn a_member_that_stands_twice_is_refused_however_it_is_spelled() {
    assert_eq!(check(br#"{"a":1,"b":2,"a":3}"#), twice("a"));
    assert_eq!(check(br#"{"a":1,"\u0061":2}"#), twice("a"));
    assert_eq!(check(br#"{"x":{"y":{"k":1,"k":1}}}"#), twice("k"));
    assert_eq!(check(br#"{"a":{"a":{"a":1}},"b":{"a":1}}"#), Ok(r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#));
    let many: Vec<String> = (0..40).map(|n| format!("\"k{n}\":{{\"k{n}\":0}}")).collect();
    let distinct = format!("{{{}}}", many.join(","));
    assert!(check(distinct.as_bytes()).is_ok());
    for repeated in [0, 15, 16, 17, 39] {
        let text = format!("{{{},\"k{repeated}\":0}}", many.join(","));
        assert_eq!(check(text.as_bytes()), twice(&format!("k{repeated}")));
    }
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(check(nested(128).as_bytes()).is_ok());
    assert_eq!(check(nested(129).as_bytes()), Err(Fault::TooDeep));
    assert_eq!(check("[".repeat(10_000).as_bytes()), Err(Fault::TooDeep));
    let array = |length: usize| format!("[{}0]", "0,".repeat(length - 1));
    assert!(check(array(99_999).as_bytes()).is_ok());
    assert_eq!(check(array(100_000).as_bytes()), Err(Fault::TooMany));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            proptest::collection::btree_map("\\PC{0,6}", inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_serialiser_writes_passes(value in json()) {
        prop_assert!(check(value.to_string().as_bytes()).is_ok());
        let pretty = serde_json::to_string_pretty(&value).expect("JSON");
        prop_assert!(check(pretty.as_bytes()).is_ok());
    }

    #[test]
    fn whatever_passes_a_strict_parser_reads(text in "[\\[\\]{}:,\"0-9eE.+\\-a-z \\\\]{0,24}") {
        if check(text.as_bytes()).is_ok() {
            prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = check(&bytes);
    }
}

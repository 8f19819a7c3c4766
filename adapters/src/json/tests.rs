use super::{Change, Object, string, unquote};

const ODD: &str = " { \"b\" : 1 , \"a\\u0062\":{\"x\":[1,{\"y\":\"}\\\"\"}]},\"n\":12345678901234567890.10 }";

#[test]
fn members_are_found_with_their_text_as_it_stands() {
    let object = Object::parse(ODD).expect("an object");
    let members: Vec<_> = object.iter().map(|(key, value)| (key.into_owned(), value)).collect();
    assert_eq!(
        members,
        [
            ("b".to_owned(), "1"),
            ("ab".to_owned(), "{\"x\":[1,{\"y\":\"}\\\"\"}]}"),
            ("n".to_owned(), "12345678901234567890.10")
        ]
    );
    assert_eq!(object.get("ab"), Some("{\"x\":[1,{\"y\":\"}\\\"\"}]}"));
    assert_eq!(object.get("x"), None);
}

#[test]
fn what_is_not_changed_keeps_every_byte() {
    let object = Object::parse(ODD).expect("an object");
    assert_eq!(object.rewrite(&[], |_, _| Change::Keep), ODD.trim_start());
}

#[test]
fn members_are_replaced_removed_and_added() {
    let object = Object::parse(ODD).expect("an object");
    let out = object.rewrite(&[("first", "true")], |key, _| match key {
        "b" => Change::Replace("2".to_owned()),
        "ab" => Change::Remove,
        _ => Change::Keep,
    });
    assert_eq!(out, "{\"first\":true, \"b\" : 2 ,\"n\":12345678901234567890.10 }");
    let all_gone = object.rewrite(&[], |_, _| Change::Remove);
    assert_eq!(all_gone, "{}");
    let empty = Object::parse("{ }").expect("an object");
    assert!(empty.is_empty());
    assert_eq!(empty.rewrite(&[("k", "null")], |_, _| Change::Keep), "{\"k\":null}");
}

#[test]
fn what_is_no_object_is_refused() {
    for text in ["", "1", "[]", "\"x\"", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "null"] {
        assert!(Object::parse(text).is_none(), "{text}");
    }
}

#[test]
fn strings_are_quoted_and_unquoted() {
    assert_eq!(string("a\"\n"), "\"a\\\"\\n\"");
    assert_eq!(unquote("\"a\\u00e9\"").as_deref(), Some("aé"));
    assert_eq!(unquote("\"plain\"").as_deref(), Some("plain"));
    assert_eq!(unquote("1"), None);
}

proptest::proptest! {
    #[test]
    fn any_object_is_read_as_serde_reads_it(value in proptest::collection::btree_map(".{0,12}", "[ -~]{0,20}", 0..8)) {
        let text = serde_json::to_string_pretty(&value).expect("JSON");
        let object = Object::parse(&text).expect("an object");
        let read: std::collections::BTreeMap<String, String> = object
            .iter()
            .map(|(key, value)| (key.into_owned(), serde_json::from_str(value).expect("a string")))
            .collect();
        proptest::prop_assert_eq!(read, value);
        proptest::prop_assert_eq!(object.rewrite(&[], |_, _| Change::Keep), text);
    }
}

#[test]
fn the_items_of_an_array_keep_their_bytes() {
    for (text, expected) in [
        ("[]", &[][..]),
        (" [ ] ", &[]),
        (r#"[1.0, "a,]" ,{"b":[1]},null]"#, &["1.0", r#""a,]""#, r#"{"b":[1]}"#, "null"]),
        ("[\n[1,2]\n]", &["[1,2]"]),
    ] {
        assert_eq!(super::items(text).as_deref(), Some(expected), "{text}");
    }
    for text in ["", "1", "{}", "[1", "[1,"] {
        assert_eq!(super::items(text), None, "{text}");
    }
}

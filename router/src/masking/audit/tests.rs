use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::AuditMask;

fn mask() -> AuditMask {
    let config = config::Masking {
        detectors: [("badge".to_owned(), config::masking::Detector { pattern: "EMP-[0-9]{4}".to_owned() })].into(),
        sensitive_names: vec!["Mother-Maiden_Name".to_owned()],
        ..config::Masking::default()
    };
    AuditMask::new(&config)
}

#[test]
fn nothing_secret_is_left_wherever_it_stands() {
    let mask = mask();
    let encoded = STANDARD.encode("hello, I am ada@example.com");
    let twice = STANDARD.encode(STANDARD.encode(r#"{"password":"Zx9-plain"}"#));
    for (json, secret) in [
        (r#"{"a":{"b":[{"password":"Zx9-plain"}]}}"#.to_owned(), "Zx9-plain"),
        (r#"{"dbPassword":{"old":"Zx9-plain","n":12345678}}"#.to_owned(), "12345678"),
        (r#"{"mothersMaidenName":1,"mother_maiden_name":"Zx9-plain"}"#.to_owned(), "Zx9-plain"),
        (r#"{"pin":9137}"#.to_owned(), "9137"),
        (r#"{"sql":"ALTER USER x PASSWORD 'Zx9-plain'"}"#.to_owned(), "Zx9-plain"),
        (r#"{"sql":"select * from t where email = 'ada@example.com'"}"#.to_owned(), "ada@example.com"),
        (r#"{"text":"{\"token\":\"Zx9-plain\"}"}"#.to_owned(), "Zx9-plain"),
        (r#"{"text":"{\"a\":\"{\\\"token\\\":\\\"Zx9-plain\\\"}\"}"}"#.to_owned(), "Zx9-plain"),
        (r#"{"mail":"ada\u0040example.com"}"#.to_owned(), "example.com"),
        (r#"{"ada@example.com":1}"#.to_owned(), "ada@example.com"),
        (r#"{"url":"https://u:Zx9-plain@example.com/?to=ada%40example.com"}"#.to_owned(), "Zx9-plain"),
        (r#"{"badge":"EMP-1234"}"#.to_owned(), "EMP-1234"),
        (r#"{"card":4111111111111111}"#.to_owned(), "4111111111111111"),
        (format!(r#"{{"file":"{encoded}"}}"#), &encoded),
        (format!(r#"{{"file":"data:text/plain;base64,{twice}"}}"#), &twice),
        (r#"{"file":"6164614065786d616d706c652e636f6d2c206164614065782e636f6d"}"#.to_owned(), "6164614065"),
    ] {
        let masked = mask.json(json.as_bytes(), 4096);
        assert!(!masked.get().contains(secret), "{json} became {masked}");
        assert!(masked.get().contains("[redacted]"), "{json} became {masked}");
    }
}

#[test]
fn what_is_not_secret_keeps_every_byte() {
    let json = r#"{ "id":9007199254740993.10, "names":["Zoë","a"], "deep":{"x":null,"y":[true,{}]}, "text":"{ \"a\" : 1.0 }" }"#;
    assert_eq!(mask().json(json.as_bytes(), 4096).get(), json);
    assert_eq!(mask().text("the order 1234 of 2026-11-23"), "the order 1234 of 2026-11-23");
}

#[test]
fn what_is_too_long_or_no_json_is_still_json_afterwards() {
    let mask = mask();
    let long = mask.json(format!(r#"{{"a":"{}"}}"#, "é".repeat(100)).as_bytes(), 20);
    assert_eq!(long.get(), format!(r#"{{"cut":true,"bytes":208,"start":"{{\"a\":\"{}"}}"#, "é".repeat(7)));
    assert_eq!(mask.json(b"{ ada@example.com", 4096).get(), r#""{ [redacted]""#);
    let deep = format!("{}\"ada@example.com\"{}", "[".repeat(1000), "]".repeat(1000));
    assert!(!mask.json(deep.as_bytes(), 4096).get().contains("ada@"));
    assert!(!mask.json(b"\xff ada@example.com", 4096).get().contains("ada@"));
}

#[test]
fn a_value_cut_by_the_bound_was_masked_before() {
    let masked = mask().json(br#"{"mail":"ada@example.com"}"#, 14);
    assert_eq!(masked.get(), r#"{"cut":true,"bytes":21,"start":"{\"mail\":\"[reda"}"#);
}

/// Whoever calls chooses what is nested in texts: it must not take the stack of a thread that serves calls.
#[test]
fn what_nests_deep_in_texts_of_texts_takes_a_bounded_stack() {
    let nested = |inner: &str| format!("{}{}{}", "[".repeat(250), adapters::json::string(inner), "]".repeat(250));
    let text = (0..6).fold("ada@example.com".to_owned(), |text, _| nested(&text));
    let masked = std::thread::Builder::new().stack_size(1 << 20).spawn(move || mask().json(text.as_bytes(), 1 << 20));
    let masked = masked.expect("a thread").join().expect("it has room enough");
    assert!(!masked.get().contains("ada@"));
}

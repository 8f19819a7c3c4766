use super::{Heard, HeardKind, Id, Kind, Malformed, Message};

fn parse(text: &'static str) -> Message {
    Message::parse(text.into()).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

#[test]
fn ids_are_equal_when_they_mean_the_same() {
    let equal = [("1", "1"), ("1", "1.0"), ("1", "1e0"), (r#""a""#, r#""\u0061""#)];
    for (one, other) in equal {
        assert_eq!(Id::new(one), Id::new(other));
    }
    let different = [
        ("1", "2"),
        ("1", r#""1""#),
        ("9007199254740992", "9007199254740993"),
        ("9007199254740993.0", "9007199254740992"),
        (r#""a""#, r#""b""#),
    ];
    for (one, other) in different {
        assert_ne!(Id::new(one), Id::new(other));
    }
}

#[test]
fn the_era_of_a_message_is_in_its_meta() {
    let modern = parse(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"crm__get","_meta":{"progressToken":"t\u0031","io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
    );
    assert_eq!(modern.modern.as_deref(), Some("2026-07-28"));
    let Kind::Request(request) = modern.kind else { panic!("a request") };
    assert_eq!((request.method.as_str(), request.subject.as_deref()), ("tools/call", Some("crm__get")));
    assert_eq!(request.progress_token.as_deref(), Some(r#""t\u0031""#), "the token stays as it was written");
    assert_eq!(
        parse(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{}}}"#).modern,
        None
    );
}

#[test]
fn what_a_request_is_about_follows_its_method() {
    let subject = |text| match parse(text).kind {
        Kind::Request(request) => request.subject,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        subject(r#"{"id":1,"method":"resources/read","params":{"uri":"a:\/\/b","name":"no"}}"#).as_deref(),
        Some("a://b")
    );
    assert_eq!(subject(r#"{"id":1,"method":"tasks/get","params":{"taskId":"7"}}"#).as_deref(), Some("7"));
    assert_eq!(subject(r#"{"id":1,"method":"tools/list","params":{"name":"x"}}"#), None);
    assert_eq!(subject(r#"{"id":1,"method":"tools/call","params":{"name":5}}"#), None);
    assert_eq!(subject(r#"{"id":1,"method":"tools/call"}"#), None);
}

#[test]
fn every_kind_of_message_is_told_from_the_others() {
    assert!(matches!(parse(r#"{"id":"a","result":{}}"#).kind, Kind::Response));
    assert!(matches!(parse(r#"{"id":"a","error":{}}"#).kind, Kind::Response));
    assert!(matches!(
        parse(r#"{"method":"notifications/initialized"}"#).kind,
        Kind::Notification { cancels: None, .. }
    ));
    let cancel = parse(r#"{"method":"notifications/cancelled","params":{"requestId":12}}"#).kind;
    assert!(matches!(cancel, Kind::Notification { cancels: Some(id), .. } if id == Id::new("12")));
    let batch = parse(r#"[{"id":1,"method":"a"},{"method":"b"},{"id":2,"result":{}},{"id":"3","method":"c"}]"#);
    assert_eq!(batch.ids(), [Id::new("1"), Id::new("\"3\"")]);
    // The router shall say what is wrong with it.
    assert!(matches!(parse(r#"{"id":5}"#).kind, Kind::Request(request) if request.method.is_empty()));
}

#[test]
fn what_is_no_message_is_refused() {
    for text in ["{", "{}{}", "nonsense", "{\"a\":\"\u{1}\"}", "[1,]"] {
        assert!(matches!(Message::parse(text.into()), Err(Malformed::NotJson(_))), "{text}");
    }
    assert!(matches!(Message::parse((&b"{\"a\":\"\xff\"}"[..]).into()), Err(Malformed::NotJson(_))));
    for text in ["1", "\"method\"", "null", "{}", "[]", r#"{"jsonrpc":"2.0"}"#] {
        assert_eq!(Message::parse(text.into()).map(|message| message.bytes), Err(Malformed::NotAMessage), "{text}");
    }
    let deep = format!("{{\"id\":1,\"method\":\"m\",\"params\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Message::parse(deep.into()).is_ok(), "depth costs no stack");
}

#[test]
fn pretty_answers_become_one_line_and_nothing_else_changes() {
    let pretty = "{\r\n  \"id\": 1,\n\t\"result\": { \"text\": \"a\\nb  c\" }\n}\n";
    let heard = Heard::parse(pretty.into()).expect("a response");
    assert_eq!(heard.line, "{  \"id\": 1,\t\"result\": { \"text\": \"a\\nb  c\" }}");
    let line = r#"{"id":1, "result":{"z":1,"a":9007199254740993,"z":2}}"#;
    assert_eq!(Heard::parse(line.into()).expect("a response").line, line);
}

#[test]
fn messages_of_the_router_are_recognised() {
    let kind = |text: &'static str| Heard::parse(text.into()).map(|heard| heard.kind);
    assert_eq!(
        kind(r#"{"id":1,"error":{"code":-32020}}"#),
        Some(HeardKind::Response { id: Some(Id::new("1")), code: Some(-32020) })
    );
    assert_eq!(kind(r#"{"id":null,"error":{}}"#), Some(HeardKind::Response { id: None, code: None }));
    let progress =
        kind(r#"{"method":"notifications/progress","params":{"progressToken":1,"progress":2.5,"total":10}}"#);
    assert_eq!(progress, Some(HeardKind::Progress { token: "1".into(), progress: 2.5, total: Some(10.0) }));
    assert_eq!(kind(r#"{"method":"x"}"#), Some(HeardKind::Other { method: "x".into() }));
    assert_eq!(
        kind(r#"[{"id":1,"result":{}},{"id":2,"error":{}}]"#),
        Some(HeardKind::Batch(vec![Id::new("1"), Id::new("2")]))
    );
    for garbage in ["<html>", "{}", "3", "{\"id\":1}", ""] {
        assert_eq!(kind(garbage), None, "{garbage}");
    }
}

use bytes::Bytes;

use super::{Belonging, Incoming, Outcome, read, reply};
use crate::Reply;

#[test]
fn a_message_is_known_by_its_members_in_any_order() {
    let rows = [
        (
            r#"{"result" : {"b":1, "a":2},"id":7}"#,
            Incoming::Answer { id: "7", outcome: Outcome::Result(r#"{"b":1, "a":2}"#) },
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":99999999999999999999,"message":"no"}}"#,
            Incoming::Answer { id: "7", outcome: Outcome::Error(r#"{"code":99999999999999999999,"message":"no"}"#) },
        ),
        (r#"{"id":"x","method":"ping"}"#, Incoming::Question { id: "\"x\"", method: "ping".into() }),
        (
            r#" {"method":"notifications\/progress","params":{}}"#,
            Incoming::Notification { method: "notifications/progress".into(), params: Some("{}") },
        ),
        (r#"[{"id":1},{"id":2}]"#, Incoming::Batch(vec![r#"{"id":1}"#, r#"{"id":2}"#])),
    ];
    for (text, expected) in rows {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn an_answer_that_is_none_still_says_whose_it_was() {
    for text in [
        r#"{"id":7}"#,
        r#"{"id":7,"result":null}"#,
        r#"{"id":7,"result":[]}"#,
        r#"{"id":7,"result":"x"}"#,
        r#"{"id":7,"error":"x"}"#,
        r#"{"id":7,"result":{},"error":{}}"#,
        r#"{"id":7,"result":{"ratio":NaN}}"#,
        r#"{"id":7,"result":{},"result":{}}"#,
    ] {
        assert_eq!(read(text), Incoming::Answer { id: "7", outcome: Outcome::Malformed }, "{text}");
    }
}

#[test]
fn what_is_no_message_is_garbage() {
    for text in
        ["", "x", "null", "7", "\"x\"", "{", "[", "[1", "{}", r#"{"id":null,"error":7}"#, r#"{"method":7}"#, "\u{0}"]
    {
        assert_eq!(read(text), Incoming::Garbage, "{text}");
    }
}

#[test]
fn an_error_that_says_of_no_request_whose_it_is_is_a_complaint() {
    for text in [
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"Method not found"}}"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid request"}}"#,
    ] {
        assert_eq!(read(text), Incoming::Complaint, "{text}");
    }
}

#[test]
fn the_kind_of_a_result_is_its_result_type() {
    let kind = |text: &'static str| reply(Bytes::from_static(text.as_bytes()));
    assert!(matches!(kind(r#"{"content":[]}"#), Some(Reply::Complete(_))));
    assert!(matches!(kind(r#"{"resultType":"complete"}"#), Some(Reply::Complete(_))));
    assert!(matches!(kind(r#"{"a":1,"resultType":"input_required"}"#), Some(Reply::InputRequired(_))));
    assert!(matches!(kind(r#"{"resultType":"task"}"#), Some(Reply::Task(_))));
    assert!(kind(r#"{"resultType":"other"}"#).is_none());
    assert!(kind(r#"{"resultType":7}"#).is_none());
    assert!(kind(r#"{"content":[{"resultType":"task"}]}"#).is_some_and(|reply| matches!(reply, Reply::Complete(_))));
}

#[test]
fn a_notification_says_where_it_belongs() {
    let listen = Belonging::of(Some(r#"{"_meta":{"x":1,"io.modelcontextprotocol/subscriptionId":12}}"#));
    assert_eq!(listen.subscription(), Some(12));
    let progress = Belonging::of(Some(r#"{"progressToken":3,"progress":0.5,"total":1}"#));
    assert_eq!(progress.progress_token.map(serde_json::value::RawValue::get), Some("3"));
    assert_eq!(progress.progress.and_then(|progress| progress.as_f64()), Some(0.5));
    assert!(Belonging::of(Some("[1,2]")).progress_token.is_none());
    assert!(Belonging::of(None).subscription().is_none());
}

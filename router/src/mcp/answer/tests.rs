use std::{sync::Arc, time::Duration};

use adapters::{AdapterError, ErrorClass, Rejection, Reply, Sent};
use bytes::Bytes;
use uuid::Uuid;

use super::{Version, envelope, is_tool_error, of_call};
use crate::{
    call::{Answered, Note},
    error::CallError,
    masking::Unmaskable,
};

fn on_the_wire(answer: crate::call::Answer, version: Version) -> String {
    let wire = of_call(answer, version, Uuid::nil());
    let pieces = envelope(&Bytes::from_static(b"\"a\""), &wire);
    String::from_utf8(pieces.concat()).expect("text")
}

fn complete(text: &'static str) -> crate::call::Answer {
    Ok(Reply::Complete(Bytes::from_static(text.as_bytes())).into())
}

#[test]
fn a_result_keeps_its_bytes_but_for_the_kind_that_each_era_wants() {
    use Version::{V2025_11_25 as LEGACY, V2026_07_28 as MODERN};
    for (result, version, expected) in [
        (r#"{ "x":1.0, "content":[] }"#, LEGACY, r#"{ "x":1.0, "content":[] }"#),
        (r#"{ "x":1.0, "content":[] }"#, MODERN, r#"{"resultType":"complete", "x":1.0, "content":[] }"#),
        (r#"{ }"#, MODERN, r#"{"resultType":"complete" }"#),
        (r#"{"content":[],"resultType":"complete"}"#, MODERN, r#"{"content":[],"resultType":"complete"}"#),
        (r#"{"content":[],"resultType":"complete"}"#, LEGACY, r#"{"content":[]}"#),
        (r#"{"content":["resultType"]}"#, LEGACY, r#"{"content":["resultType"]}"#),
        (r#"{"content":["resultType"]}"#, MODERN, r#"{"resultType":"complete","content":["resultType"]}"#),
    ] {
        assert_eq!(
            on_the_wire(complete(result), version),
            format!(r#"{{"jsonrpc":"2.0","id":"a","result":{expected}}}"#)
        );
    }
}

#[test]
fn an_answer_out_of_the_cache_says_so_in_its_meta() {
    use Version::{V2025_11_25 as LEGACY, V2026_07_28 as MODERN};
    let fresh = Note { state: "fresh", is_stale: false, age_ms: 5, fetched_at_ms: 1_795_338_723_456, reason: None };
    let stale = Note {
        state: "stale_on_error",
        is_stale: true,
        reason: Some("crm is not answering".to_owned()),
        ..fresh.clone()
    };
    let shown = |result: &'static str, note: &Note, version| {
        let reply = Reply::Complete(Bytes::from_static(result.as_bytes()));
        let text =
            on_the_wire(Ok(Answered { reply, note: Some(note.clone()), operation: None, provenance: None }), version);
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
        text
    };
    let lines = [
        shown(r#"{ "content":[], "structuredContent":{"n":1.0} }"#, &fresh, MODERN),
        shown(r#"{ "content":[], "structuredContent":{"n":1.0} }"#, &fresh, LEGACY),
        shown("{}", &fresh, MODERN),
        shown("{ }", &fresh, LEGACY),
        shown(r#"{"_meta":{"a":1},"content":[]}"#, &fresh, MODERN),
        shown(r#"{"content":[],"_m\u0065ta":{}}"#, &fresh, LEGACY),
        shown(r#"{"content":["_meta"]}"#, &fresh, LEGACY),
        shown(r#"{"content":[{"type":"text","text":"1"}],"structuredContent":{"n":1}}"#, &stale, MODERN),
        shown(r#"{"_meta":{"a":1},"content":[]}"#, &stale, LEGACY),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"jsonrpc":"2.0","id":"a","result":{"_meta":{"weir/cache":{"state":"fresh","age_ms":5,"fetched_at":"2026-11-22T09:12:03.456Z"}},"resultType":"complete", "content":[], "structuredContent":{"n":1.0} }}
    {"jsonrpc":"2.0","id":"a","result":{"_meta":{"weir/cache":{"state":"fresh","age_ms":5,"fetched_at":"2026-11-22T09:12:03.456Z"}}, "content":[], "structuredContent":{"n":1.0} }}
    {"jsonrpc":"2.0","id":"a","result":{"_meta":{"weir/cache":{"state":"fresh","age_ms":5,"fetched_at":"2026-11-22T09:12:03.456Z"}},"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","result":{"_meta":{"weir/cache":{"state":"fresh","age_ms":5,"fetched_at":"2026-11-22T09:12:03.456Z"}} }}
    {"jsonrpc":"2.0","id":"a","result":{"resultType":"complete","_meta":{"weir/cache":{"state":"fresh","age_ms":5,"fetched_at":"2026-11-22T09:12:03.456Z"},"a":1},"content":[]}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[],"_m\u0065ta":{"weir/cache":{"state":"fresh","age_ms":5,"fetched_at":"2026-11-22T09:12:03.456Z"}}}}
    {"jsonrpc":"2.0","id":"a","result":{"_meta":{"weir/cache":{"state":"fresh","age_ms":5,"fetched_at":"2026-11-22T09:12:03.456Z"}},"content":["_meta"]}}
    {"jsonrpc":"2.0","id":"a","result":{"_meta":{"weir/cache":{"state":"stale_on_error","age_ms":5,"fetched_at":"2026-11-22T09:12:03.456Z","reason":"crm is not answering"}},"resultType":"complete","content":[{"type":"text","text":"1"},{"type":"text","text":"This is from 09:12 UTC (0 s old): crm is not answering."}],"structuredContent":{"n":1}}}
    {"jsonrpc":"2.0","id":"a","result":{"_meta":{"weir/cache":{"state":"stale_on_error","age_ms":5,"fetched_at":"2026-11-22T09:12:03.456Z","reason":"crm is not answering"},"a":1},"content":[{"type":"text","text":"This is from 09:12 UTC (0 s old): crm is not answering."}]}}
    "#);
}

#[test]
fn every_failure_has_its_form() {
    let tool: Arc<str> = "crm__get".into();
    let downstream =
        |error| CallError::Downstream { tool: tool.clone(), downstream: "crm".to_owned(), error: Box::new(error) };
    let mut paused = AdapterError::not_sent(
        ErrorClass::Unreachable,
        "crm cannot be reached (connection refused). Try again in a minute.",
    );
    paused.retry_after = Some(Duration::from_secs(2));
    let lost = AdapterError::new(ErrorClass::ConnectionLost, Sent::Unknown, "The connection was lost.");
    let rpc = Rejection::Rpc(Bytes::from_static(br#"{"code":-32021,"message":"no sampling","data":{"x":1}}"#));
    let failures = [
        CallError::UnknownTool { name: "crm__nothing".to_owned() },
        CallError::InvalidArguments {
            tool: tool.clone(),
            mistakes: "arguments/id: 5 is not of type \"string\"".to_owned(),
        },
        CallError::NotAllowed { tool: tool.clone() },
        CallError::Unmaskable { tool: tool.clone(), why: Unmaskable::TooMany },
        CallError::NamesGone { tool: tool.clone(), retry_after_ms: 5000 },
        CallError::Unaudited { retry_after_ms: 1000 },
        CallError::Overloaded { limit: "Weir".to_owned(), retry_after_ms: 1000 },
        CallError::Unannounced { tool: tool.clone(), retry_after_ms: 1000 },
        downstream(paused),
        downstream(AdapterError::rejected("said no", Rejection::Text("no such customer".to_owned()))),
        downstream(AdapterError::rejected("said no", rpc)),
        CallError::OutcomeUnknown { tool: tool.clone(), operation_id: "op-1".to_owned(), error: Box::new(lost) },
        CallError::Cancelled,
        CallError::Internal,
    ];
    let table: Vec<String> =
        failures.into_iter().map(|failure| on_the_wire(Err(failure), Version::V2026_07_28)).collect();
    insta::assert_snapshot!(table.join("\n"), @r#"
    {"jsonrpc":"2.0","id":"a","error":{"code":-32602,"message":"Unknown tool: crm__nothing"}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"The arguments do not fit crm__get. arguments/id: 5 is not of type \"string\". Correct them by the tool's input schema and call again."}],"isError":true,"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"Not done: you may use crm__get, but not with these arguments at this time. Nothing was sent. Trying the same again does not help: ask for less, or tell the operator the request id 00000000-0000-0000-0000-000000000000."}],"isError":true,"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"crm__get was carried out, but its answer cannot be shown to you: too much in it must not be seen. Ask for less at once. Do not repeat it for that alone; ask the operator about the masking of this tool (request id 00000000-0000-0000-0000-000000000000)."}],"isError":true,"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"crm__get was not called: what the names in its arguments stand for cannot be looked up now. Nothing was sent. Try again in 5 s."}],"isError":true,"_meta":{"weir/limit":{"name":"redis","retry_after_ms":5000}},"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"Not done: Weir does nothing of which it can write no audit record, and now it cannot. Nothing was sent. Try again in 1 s."}],"isError":true,"_meta":{"weir/limit":{"name":"audit","retry_after_ms":1000}},"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"Not done: Weir is at its limit of calls that run at once. Nothing was sent. Try again in 1 s."}],"isError":true,"_meta":{"weir/limit":{"name":"Weir","retry_after_ms":1000}},"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"Not done: crm__get changes what is cached, and Redis, by which all replicas hear of that, did not confirm it: it cannot be reached, or none of its replicas keeps up. Nothing was sent. Try again in 1 s."}],"isError":true,"_meta":{"weir/limit":{"name":"redis","retry_after_ms":1000}},"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"crm__get gave no result. crm cannot be reached (connection refused). Try again in a minute. crm asks to be left alone for 2 s."}],"isError":true,"_meta":{"weir/limit":{"name":"crm","retry_after_ms":2000}},"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"crm__get was refused: no such customer"}],"isError":true,"resultType":"complete"}}
    {"jsonrpc":"2.0","id":"a","error":{"code":-32021,"message":"no sampling","data":{"x":1}}}
    {"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"The outcome of crm__get is unknown: the request was sent, but no answer came (The connection was lost). It may or may not have been carried out. Do not simply repeat it: look first whether it took effect, or ask weir__operation_status. Operation id: op-1."}],"isError":true,"_meta":{"weir/operation_id":"op-1"},"resultType":"complete"}}

    {"jsonrpc":"2.0","id":"a","error":{"code":-32603,"message":"Internal error of the router; nothing more is known here. Tell the operator the request id 00000000-0000-0000-0000-000000000000."}}
    "#);
    let old = CallError::InvalidArguments { tool, mistakes: "arguments/id: missing".to_owned() };
    assert!(on_the_wire(Err(old), Version::V2025_06_18).contains(r#""error":{"code":-32602"#));
}

#[test]
fn only_the_result_itself_says_that_a_tool_failed() {
    for (result, expected) in [
        (r#"{"isError":true}"#, true),
        (r#"{"content":[],"isError" : true }"#, true),
        (r#"{"isError":false}"#, false),
        (r#"{"content":[{"isError":true}]}"#, false),
        (r#"{"content":[]}"#, false),
    ] {
        assert_eq!(is_tool_error(&Bytes::from_static(result.as_bytes())), expected, "{result}");
    }
}

#[test]
fn an_error_of_the_way_to_a_downstream_becomes_words_and_others_pass_as_they_came() {
    for (code, passes) in [
        (-32602, true),
        (-32600, true),
        (-32603, true),
        (-32021, true),
        (-31000, true),
        (-32700, false),
        (-32601, false),
        (-32020, false),
        (-32022, false),
    ] {
        let object = format!(r#"{{ "code":{code},"message":"said so","data":{{"n":9007199254740993}} }}"#);
        let rejection = Rejection::Rpc(Bytes::from(object.clone()));
        let error = Box::new(AdapterError::rejected("crm refused.", rejection));
        let failure = CallError::Downstream { tool: "crm__get".into(), downstream: "crm".to_owned(), error };
        let answer = on_the_wire(Err(failure), Version::V2026_07_28);
        assert_eq!(answer.contains(&format!("\"error\":{object}")), passes, "{answer}");
        assert_eq!(answer.contains("\"isError\":true"), !passes, "{answer}");
        assert!(answer.contains("said so"), "{answer}");
    }
}

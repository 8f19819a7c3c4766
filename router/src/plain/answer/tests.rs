use std::{sync::Arc, time::Duration};

use adapters::{AdapterError, ErrorClass, Rejection, Reply, Sent};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::Value;
use uuid::Uuid;

use super::of_call;
use crate::{
    auth::StepUp,
    call::{Answer, Answered, Note},
    error::CallError,
    masking::Unmaskable,
};

/// Status, `Retry-After` and body.
async fn on_the_wire(answer: Answer) -> (StatusCode, Option<String>, String) {
    let response = of_call(answer, Uuid::nil());
    let wait = response.headers().get("retry-after").map(|wait| wait.to_str().expect("text").to_owned());
    assert_eq!(response.headers()["cache-control"], "no-store");
    let kind = if response.status() == 200 { "application/json" } else { "application/problem+json" };
    assert_eq!(response.headers()["content-type"], kind);
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, wait, String::from_utf8(body.to_vec()).expect("text"))
}

fn downstream(error: AdapterError) -> CallError {
    CallError::Downstream { tool: "crm__get".into(), downstream: "crm".to_owned(), error: Box::new(error) }
}

#[tokio::test]
async fn a_result_keeps_its_bytes() {
    for (result, kept, status) in [
        (r#"{ "x":1.0, "content":[] }"#, r#"{ "x":1.0, "content":[] }"#, "ok"),
        (r#"{"content":[],"isError":true}"#, r#"{"content":[],"isError":true}"#, "error"),
        (r#"{"content":[],"resultType":"complete"}"#, r#"{"content":[]}"#, "ok"),
    ] {
        let (code, _, body) = on_the_wire(Ok(Reply::Complete(Bytes::from_static(result.as_bytes())).into())).await;
        let expected = format!(
            r#"{{"status":"{status}","result":{kept},"_meta":{{"weir/request_id":"00000000-0000-0000-0000-000000000000"}}}}"#
        );
        assert_eq!((code, body), (StatusCode::OK, expected));
    }
}

#[tokio::test]
async fn an_answer_out_of_the_cache_says_so_beside_the_result() {
    let answered = |note: Note| Answered {
        reply: Reply::Complete(Bytes::from_static(br#"{"content":[]}"#)),
        note: Some(note),
        operation: None,
        provenance: None,
    };
    let stale = Note {
        state: "stale_on_error",
        is_stale: true,
        age_ms: 42_000,
        fetched_at_ms: 1_795_338_723_456,
        reason: Some("crm is not answering".to_owned()),
    };
    let fresh = Note { state: "fresh", is_stale: false, reason: None, ..stale.clone() };
    let (_, _, fresh) = on_the_wire(Ok(answered(fresh))).await;
    let (_, _, stale) = on_the_wire(Ok(answered(stale))).await;
    insta::assert_snapshot!(format!("{fresh}\n{stale}"), @r#"
    {"status":"ok","result":{"content":[]},"_meta":{"weir/request_id":"00000000-0000-0000-0000-000000000000","weir/cache":{"state":"fresh","age_ms":42000,"fetched_at":"2026-11-22T09:12:03.456Z"}}}
    {"status":"ok","result":{"content":[{"type":"text","text":"This is from 09:12 UTC (42 s old): crm is not answering."}]},"_meta":{"weir/request_id":"00000000-0000-0000-0000-000000000000","weir/cache":{"state":"stale_on_error","age_ms":42000,"fetched_at":"2026-11-22T09:12:03.456Z","reason":"crm is not answering"}}}
    "#);
}

#[tokio::test]
async fn every_failure_has_its_form() {
    let mut paused = AdapterError::not_sent(ErrorClass::Busy, "crm takes no more calls now.");
    paused.retry_after = Some(Duration::from_millis(1200));
    let mut told = AdapterError::rejected("no", Rejection::Text("too many; come back in 2 s.".to_owned()));
    told.retry_after = Some(Duration::from_secs(2));
    let plain = |class| downstream(AdapterError::new(class, Sent::Unknown, "It went wrong."));
    let rpc = |code: i64| {
        let object = format!(r#"{{"code":{code},"message":"said so","data":{{"n":1}}}}"#);
        downstream(AdapterError::rejected("crm refused.", Rejection::Rpc(object.into())))
    };
    let lost = AdapterError::new(ErrorClass::ConnectionLost, Sent::Unknown, "The connection was lost.");
    let challenge = r#"Bearer error="insufficient_scope""#.to_owned();
    let needed = Arc::new(StepUp { scopes: "crm:read".to_owned(), challenge });
    let failures: Vec<Answer> = vec![
        Err(CallError::UnknownTool { name: "crm__nothing".to_owned() }),
        Err(CallError::InvalidArguments { tool: "crm__get".into(), mistakes: "arguments/id: missing".to_owned() }),
        Err(CallError::NotAllowed { tool: "crm__get".into() }),
        Err(CallError::InsufficientScope { tool: "crm__get".into(), needed }),
        Err(CallError::Unmaskable { tool: "crm__get".into(), why: Unmaskable::Unseen }),
        Err(CallError::NamesGone { tool: "crm__get".into(), retry_after_ms: 5000 }),
        Err(CallError::Unaudited { retry_after_ms: 1000 }),
        Err(CallError::Overloaded { limit: "Weir".to_owned(), retry_after_ms: 1000 }),
        Err(CallError::Unannounced { tool: "crm__set".into(), retry_after_ms: 1000 }),
        Err(downstream(paused)),
        Err(downstream(told)),
        Err(downstream(AdapterError::rejected("said no", Rejection::Text("no such customer".to_owned())))),
        Err(rpc(-32602)),
        Err(rpc(-32603)),
        Err(plain(ErrorClass::Unreachable)),
        Err(plain(ErrorClass::ConnectionLost)),
        Err(plain(ErrorClass::Timeout)),
        Err(plain(ErrorClass::InvalidArguments)),
        Err(plain(ErrorClass::Protocol)),
        Err(plain(ErrorClass::TooLarge)),
        Err(plain(ErrorClass::Unauthorized)),
        Err(CallError::OutcomeUnknown {
            tool: "crm__put".into(),
            operation_id: "op-1".to_owned(),
            error: Box::new(lost),
        }),
        Err(CallError::Cancelled),
        Err(CallError::Internal),
        Ok(Reply::InputRequired(Bytes::from_static(b"{}")).into()),
        Ok(Reply::Task(Bytes::from_static(b"{}")).into()),
    ];
    let mut table = Vec::new();
    for failure in failures {
        let (status, wait, body) = on_the_wire(failure).await;
        let mut body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["status"], status.as_u16());
        assert_eq!(body["_meta"]["weir/request_id"], Uuid::nil().to_string());
        body["_meta"].as_object_mut().map(|meta| meta.remove("weir/request_id"));
        let (outcome, detail, meta) = (body["outcome"].as_str().unwrap_or_default(), &body["detail"], &body["_meta"]);
        let wait = wait.map(|wait| format!(" after {wait} s")).unwrap_or_default();
        let error = body.get("error").map(|error| format!(" {error}")).unwrap_or_default();
        table.push(format!("{} {outcome}{wait} {meta}{error} {detail}", status.as_u16()));
    }
    insta::assert_snapshot!(table.join("\n"), @r#"
    404 unknown_tool {} "Unknown tool: crm__nothing"
    422 invalid_arguments {} "The arguments do not fit crm__get. arguments/id: missing. Correct them by the tool's input schema and call again."
    403 not_allowed {} "Not done: you may use crm__get, but not with these arguments at this time. Nothing was sent. Trying the same again does not help: ask for less, or tell the operator the request id 00000000-0000-0000-0000-000000000000."
    403 insufficient_scope {} "crm__get was not called: it needs a token with the scope `crm:read`. Nothing was sent. Get such a token from the authorization server and call again."
    502 unmaskable {} "crm__get was carried out, but its answer cannot be shown to you: it has parts that cannot be looked into, such as images, and may only be seen where all of it can. Do not repeat it for that alone; ask the operator about the masking of this tool (request id 00000000-0000-0000-0000-000000000000)."
    503 names_gone {"weir/limit":{"name":"redis","retry_after_ms":5000}} "crm__get was not called: what the names in its arguments stand for cannot be looked up now. Nothing was sent. Try again in 5 s."
    503 unaudited {"weir/limit":{"name":"audit","retry_after_ms":1000}} "Not done: Weir does nothing of which it can write no audit record, and now it cannot. Nothing was sent. Try again in 1 s."
    503 overloaded {"weir/limit":{"name":"Weir","retry_after_ms":1000}} "Not done: Weir is at its limit of calls that run at once. Nothing was sent. Try again in 1 s."
    503 unannounced {"weir/limit":{"name":"redis","retry_after_ms":1000}} "Not done: crm__set changes what is cached, and Redis, by which all replicas hear of that, did not confirm it: it cannot be reached, or none of its replicas keeps up. Nothing was sent. Try again in 1 s."
    503 busy {"weir/limit":{"name":"crm","retry_after_ms":1200}} "crm__get gave no result. crm takes no more calls now. crm asks to be left alone for 2 s."
    422 rejected {"weir/limit":{"name":"crm","retry_after_ms":2000}} "crm__get was refused: too many; come back in 2 s."
    422 rejected {} "crm__get was refused: no such customer"
    422 rejected {} {"code":-32602,"message":"said so","data":{"n":1}} "crm__get gave no result. crm refused. It said: said so"
    502 rejected {} {"code":-32603,"message":"said so","data":{"n":1}} "crm__get gave no result. crm refused. It said: said so"
    503 unreachable {} "crm__get gave no result. It went wrong."
    502 connection_lost {} "crm__get gave no result. It went wrong."
    504 timeout {} "crm__get gave no result. It went wrong."
    422 invalid_arguments {} "The arguments do not fit crm__get. It went wrong."
    502 protocol {} "crm__get gave no result. It went wrong."
    502 too_large {} "crm__get gave no result. It went wrong."
    502 unauthorized {} "crm__get gave no result. It went wrong."
    502 outcome_unknown {"weir/operation_id":"op-1"} "The outcome of crm__put is unknown: the request was sent, but no answer came (The connection was lost). It may or may not have been carried out. Do not simply repeat it: look first whether it took effect, or ask weir__operation_status. Operation id: op-1."
    503 cancelled {} "The call was cancelled."
    500 internal_error {} "Internal error of the router; nothing more is known here. Tell the operator the request id 00000000-0000-0000-0000-000000000000."
    501 input_required {} "The tool asked something back before it would go on, and this API has no way to answer it. Whether it did a part of its work is not known here: look before repeating a write. Use a client that speaks MCP 2026-07-28."
    501 task {} "The tool goes on in the background, and this API has no way to follow it. It may still be carried out: do not simply repeat it, look first whether it took effect. Use a client that speaks MCP 2026-07-28."
    "#);
}

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use config::Effect;
use tokio::sync::mpsc;

use super::{Hop, call_tool, cancelled, initialize, own};
use crate::{CallContext, Caller, Deadline, Method, Request, TraceContext};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn ctx(with_notices: bool) -> CallContext {
    let mut ctx = CallContext::new(Arc::new(Caller::local(&[])), Deadline::after(Duration::from_secs(5)));
    ctx.trace = TraceContext::continued(TRACEPARENT, Some("vendor=1")).expect("a valid traceparent");
    ctx.notices = with_notices.then(|| crate::Notices::new(mpsc::channel(1).0, None));
    ctx
}

fn request(params: &str) -> Request {
    Request {
        method: Method::CallTool,
        local_name: "say \"hi\"".into(),
        params: Bytes::copy_from_slice(params.as_bytes()),
        arguments: None,
        effect: Effect::Read,
    }
}

const HOP: Hop = Hop { id: 7, modern: false, exclusive: false, deadline_ms: 1500, heeds_keys: false };

#[tokio::test]
async fn everything_but_the_name_and_the_hops_own_members_stays_byte_for_byte() {
    let ctx = ctx(true);
    let params = concat!(
        "{ \"x\" : 1.0e2,\n\"arguments\":{\"id\": 9007199254740993 ,\"s\":\"\\u00e9\"} , \"name\" : \"enrich__say\",",
        "\"_meta\" :{\"vendor/a\" : [1, 2],\"progressToken\":\"mine\",\"traceparent\":\"x\",\"tracestate\":\"y\",\"baggage\":\"z\",",
        "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/logLevel\":\"info\",",
        "\"weir/deadline_ms\":1,\"z\":{ }} }"
    );
    let trace = ctx.trace.traceparent();
    let expected = format!(
        concat!(
            "{{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":",
            "{{ \"x\" : 1.0e2,\n\"arguments\":{{\"id\": 9007199254740993 ,\"s\":\"\\u00e9\"}} , \"name\" : \"say \\\"hi\\\"\",",
            "\"_meta\" :{{\"progressToken\":7,\"traceparent\":\"{trace}\",\"tracestate\":\"vendor=1\",\"weir/deadline_ms\":1500,",
            "\"vendor/a\" : [1, 2],\"z\":{{ }}}} }}}}"
        ),
        trace = trace
    );
    assert_eq!(call_tool(HOP, &ctx, &request(params)).expect("an object"), expected);
}

#[tokio::test]
async fn the_modern_era_gets_its_members_and_a_call_without_meta_gets_one() {
    let ctx = ctx(false);
    let text = call_tool(Hop { modern: true, ..HOP }, &ctx, &request(r#"{"name":"a__b"}"#)).expect("an object");
    let message: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let meta = &message["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], serde_json::json!({}));
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "weir");
    assert!(meta.get("progressToken").is_none(), "nobody wants progress");
    assert_ne!(meta["traceparent"], TRACEPARENT, "each hop has a span of its own");
    assert_eq!(message["params"]["name"], "say \"hi\"");
    assert!(message["params"].get("arguments").is_none(), "what the caller left out stays out");
}

#[tokio::test]
async fn a_log_level_is_passed_on_only_where_the_messages_can_be_told_apart() {
    let (ctx, level) = (ctx(true), r#"{"name":"n","_meta":{"io.modelcontextprotocol/logLevel":"info"}}"#);
    let sent = |exclusive| call_tool(Hop { modern: true, exclusive, ..HOP }, &ctx, &request(level)).expect("an object");
    assert!(sent(true).contains("logLevel") && !sent(false).contains("logLevel"));
}

#[tokio::test]
async fn params_that_are_no_object_are_not_sent() {
    for params in ["[]", "1", "null", ""] {
        assert!(call_tool(HOP, &ctx(false), &request(params)).is_none(), "{params}");
    }
}

#[test]
fn requests_of_our_own_are_well_formed() {
    for text in [
        own(1, "server/discover", true, &[]),
        own(2, "tools/list", false, &[("cursor", "\"x\"")]),
        initialize(3, "2025-11-25"),
        cancelled(4, "said \"no\""),
    ] {
        serde_json::from_str::<serde_json::Value>(&text).expect(&text);
    }
    assert_eq!(own(2, "tools/list", false, &[]), r#"{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{}}"#);
}

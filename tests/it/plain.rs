//! The plain JSON API: the same tools and the same decisions as over MCP, in the form that programs expect.

mod decisions;
mod requests;
mod time;
mod tool_loop;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Answer, TestRouter};

/// Sends a body to `/v1/tools/call`.
async fn post(router: &TestRouter, key: Option<&str>, body: impl Into<bytes::Bytes>) -> Result<Answer> {
    let authorization = key.map(|key| format!("Bearer {key}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(authorization.iter().map(|value| ("authorization", value.as_str())));
    router.send(Method::POST, "/v1/tools/call", &headers, body).await
}

/// Calls a tool.
async fn call(router: &TestRouter, tool: &str, arguments: &Value) -> Result<Answer> {
    post(router, None, json!({ "name": tool, "arguments": arguments }).to_string()).await
}

/// The tools of [`server`].
const TOOLS: [&str; 12] = [
    "fine",
    "fails",
    "refuses",
    "misfits",
    "denied",
    "late",
    "nonsense",
    "hang",
    "hang_write",
    "hang_up_write",
    "asks",
    "goes_on",
];

/// A server with a tool for each way in which a call can end.
pub(crate) async fn server() -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
            let tools: Vec<_> = TOOLS.iter().map(|name| json!({ "name": name, "inputSchema": schema })).collect();
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(match message.tool()?.as_str() {
            "fails" => vec![Action::result(message, r#"{"content":[],"isError":true}"#)],
            "refuses" => vec![Action::error(message, -32000, "no")],
            "misfits" => vec![Action::error(message, -32602, "n is too small")],
            "nonsense" => {
                let id = message.id.as_deref().unwrap_or_default();
                vec![Action::Send(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":5}}"))]
            }
            "hang" | "hang_write" | "late" => Vec::new(),
            "hang_up_write" => vec![Action::Drop],
            "asks" => {
                let asked = json!({ "resultType": "input_required", "requestState": "s", "inputRequests": {} });
                vec![Action::result(message, &asked.to_string())]
            }
            "goes_on" => vec![Action::result(
                message,
                r#"{"resultType":"task","taskId":"t","status":"working","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttlMs":null}"#,
            )],
            _ => vec![Action::result(message, r#"{"content":[{"type":"text","text":"9007199254740993"}], "x":1.0}"#)],
        }),
        _ => None,
    })
    .await
}

/// The config of a router in front of it.
pub(crate) fn config(server: &RawServer) -> Value {
    let mut config = tests::open_house(&[("raw", &server.url)]);
    config["policy"]["roles"]["all"]["deny"] = json!(["raw__denied"]);
    config["downstreams"]["raw"]["effects"] =
        json!([{ "match": "*_write", "effect": "write" }, { "match": "*", "effect": "read" }]);
    config["downstreams"]["raw"]["tools"] = json!({ "late": { "deadline": "50ms" } });
    config
}

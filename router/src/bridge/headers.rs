//! The headers that repeat parts of a modern message (MCP 2026-07-28, basic/transports/streamable-http, "Request Metadata").

use adapters::{
    json::Object,
    mirror::{self, Param, encode, params_of},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::message::{Kind, Message};

pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The headers of a modern request that is sent without a bridge. `schema`: the input schema of the tool that it calls.
#[must_use]
pub fn request_headers(message: Bytes, schema: Option<&Value>) -> HeaderMap {
    let Ok(message) = Message::parse(message) else { return HeaderMap::new() };
    // A tool whose annotations break the rules has none that could be followed.
    let params = schema.and_then(|schema| params_of(schema).ok()).unwrap_or_default();
    modern(&message, message.modern.as_deref().unwrap_or_default(), &params)
}

/// The headers of a modern message. `params`: the annotated parameters of the tool that it calls.
pub(super) fn modern(message: &Message, version: &str, params: &[Param]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let method = match &message.kind {
        Kind::Request(request) => Some(&request.method),
        Kind::Notification { method, .. } => Some(method),
        Kind::Response | Kind::Batch(_) => None,
    };
    // Version and method have no encoded form: a text that no header can carry stays away, and the server says that it is missing.
    for (name, value) in [(PROTOCOL_VERSION, Some(version)), (METHOD, method.map(String::as_str))] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    if let Kind::Request(request) = &message.kind
        && let Some(subject) = &request.subject
    {
        headers.insert(NAME, encode(subject));
    }
    let arguments = std::str::from_utf8(&message.bytes).ok().and_then(Object::parse);
    let arguments = arguments.and_then(|message| Object::parse(message.get("params")?)?.get("arguments"));
    for param in params {
        if let Some(value) = arguments.and_then(|arguments| mirror::value_of(arguments, param)) {
            headers.insert(param.header.clone(), value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::modern;
    use crate::bridge::{annotations::Annotations, message::Message};

    /// The headers as lines, sorted.
    fn headers_of(tools: &str, message: &str) -> Vec<String> {
        let message = Message::parse(message.to_owned().into()).expect("a message");
        let annotations = Annotations::default();
        annotations.learn(&super::super::message::Heard::parse(tools.to_owned().into()).expect("a list"), true);
        let headers = modern(&message, message.modern.as_deref().expect("modern"), &annotations.of("query"));
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII"))).collect();
        lines.sort();
        lines
    }

    fn call(arguments: &str) -> String {
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"query",{meta},"arguments":{arguments}}}}}"#
        )
    }

    #[test]
    fn a_call_repeats_version_method_name_and_annotated_arguments() {
        let tools = r#"{"id":1,"result":{"tools":[{"name":"query","inputSchema":{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "filter":{"type":"object","properties":{"dry":{"type":"boolean","x-mcp-header":"Dry-Run"}}},
            "limit":{"type":"integer","x-mcp-header":"Limit"},
            "sql":{"type":"string"}}}}]}}"#;
        let all = call(r#"{"sql":"x","region":"Zürich","filter":{"dry":true},"limit":5}"#);
        insta::assert_debug_snapshot!(headers_of(tools, &all), @r#"
        [
            "mcp-method: tools/call",
            "mcp-name: query",
            "mcp-param-dry-run: true",
            "mcp-param-limit: 5",
            "mcp-param-region: =?base64?WsO8cmljaA==?=",
            "mcp-protocol-version: 2026-07-28",
        ]
        "#);
        let few = headers_of(tools, &call(r#"{"region":null,"filter":3,"limit":[1]}"#));
        assert!(!few.iter().any(|line| line.starts_with("mcp-param")), "{few:?}");
    }

    #[test]
    fn what_no_header_can_carry_stays_away_or_is_encoded() {
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"a\nb"}"#;
        let message =
            format!(r#"{{"id":1,"method":"tools/call","params":{{"name":"name with\r\nX-Evil: 1",{meta}}}}}"#);
        let lines = headers_of(r#"{"id":1,"result":{"tools":[]}}"#, &message);
        assert_eq!(lines, ["mcp-method: tools/call", "mcp-name: =?base64?bmFtZSB3aXRoDQpYLUV2aWw6IDE=?="]);
    }
}

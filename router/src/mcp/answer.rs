//! The form of every answer on the wire: results as their bytes stand, failures by the table in `docs/errors.md`.

use adapters::{
    Rejection, Reply,
    json::{self, Change, Object},
};
use bytes::Bytes;
use http::{Response, StatusCode};
use memchr::memmem;
use serde_json::json;
use uuid::Uuid;

use super::{Version, json_response, message::text_of, provenance::PROVENANCE};
use crate::{call::Answer, error::CallError, scan::Fault, server::Body};

/// What a legacy caller hears of an answer that its revision has no form for.
const NOT_FOR_LEGACY: &str = "The tool wants to ask something back or to go on in the background, which this client's protocol revision cannot express. \
     Nothing more is known of its outcome. Use a client that speaks MCP 2026-07-28.";

/// The code for a call that a token with more scopes could make; beside those that JSON-RPC and MCP keep for themselves.
const INSUFFICIENT_SCOPE: i64 = 403;

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    code: i64,
    message: String,
    data: Option<Box<serde_json::Value>>,
}

/// The answer to a request, ready for its envelope.
#[derive(Debug)]
pub(super) enum Wire {
    /// The pieces of the `result` object.
    Result(Vec<Bytes>),
    /// The `error` object, and the HTTP status that belongs to it in the modern era.
    Error(Bytes, StatusCode),
    /// The caller cancelled the request and expects no answer.
    Silent,
}

impl RpcError {
    pub(super) fn invalid_request(what: &str) -> Self {
        Self::new(-32600, format!("Invalid request: {what}"))
    }

    pub(super) fn invalid_params(what: &str) -> Self {
        Self::new(-32602, format!("Invalid params: {what}"))
    }

    pub(super) fn method_not_found(method: &str) -> Self {
        let short: String = method.chars().take(64).collect();
        Self::new(-32601, format!("Method not found: {short}"))
    }

    pub(super) fn header_mismatch(what: &str) -> Self {
        Self::new(-32020, format!("Header mismatch: {what}"))
    }

    pub(super) fn unsupported_version(requested: &str) -> Self {
        let supported: Vec<_> = Version::ALL.iter().map(|version| version.as_str()).collect();
        let requested: String = requested.chars().take(64).collect();
        let data = json!({ "supported": supported, "requested": requested });
        Self { data: Some(Box::new(data)), ..Self::new(-32022, "Unsupported protocol version".to_owned()) }
    }

    fn new(code: i64, message: String) -> Self {
        Self { code, message, data: None }
    }

    /// The HTTP status of a modern answer with this error (MCP 2026-07-28, basic/transports/streamable-http).
    fn status(&self) -> StatusCode {
        status_of(self.code)
    }

    pub(super) fn wire(&self) -> Wire {
        Wire::Error(self.object(), self.status())
    }

    fn object(&self) -> Bytes {
        let mut object = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            object["data"] = (**data).clone();
        }
        object.to_string().into()
    }

    /// A whole HTTP answer with this error. An id that is not known is left out (MCP 2026-07-28, schema, `JSONRPCErrorResponse`).
    pub(super) fn respond(&self, id: Option<&Bytes>, status: StatusCode) -> Response<Body> {
        match id {
            Some(id) => json_response(status, envelope(id, &Wire::Error(self.object(), status))),
            None => json_response(
                status,
                [Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"error\":"), self.object(), Bytes::from_static(b"}")],
            ),
        }
    }
}

impl From<Fault> for RpcError {
    fn from(fault: Fault) -> Self {
        let text = fault.text();
        match fault {
            Fault::NotUtf8 | Fault::Syntax { .. } => Self::new(-32700, format!("Parse error: {text}")),
            Fault::TooDeep | Fault::TooMany | Fault::Twice { .. } => Self::invalid_request(&text),
        }
    }
}

fn status_of(code: i64) -> StatusCode {
    match code {
        -32601 => StatusCode::NOT_FOUND,
        -32700 | -32600 | -32022..=-32020 => StatusCode::BAD_REQUEST,
        -32603 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    }
}

/// The whole JSON-RPC message, in pieces. Nothing for [`Wire::Silent`].
pub(super) fn envelope(id: &Bytes, wire: &Wire) -> Vec<Bytes> {
    let opening = Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"id\":");
    let closing = Bytes::from_static(b"}");
    match wire {
        Wire::Result(pieces) => {
            let mut message = vec![opening, id.clone(), Bytes::from_static(b",\"result\":")];
            message.extend(pieces.iter().cloned());
            message.push(closing);
            message
        }
        Wire::Error(object, _) => {
            vec![opening, id.clone(), Bytes::from_static(b",\"error\":"), object.clone(), closing]
        }
        Wire::Silent => Vec::new(),
    }
}

/// What a call came to, in the form that `version` has for it.
pub(super) fn of_call(answer: Answer, version: Version, request_id: Uuid) -> Wire {
    match answer {
        Ok(answered) => {
            let in_our_words =
                !version.is_modern() && matches!(answered.reply, Reply::InputRequired(_) | Reply::Task(_));
            let mut meta = answered.meta();
            meta.retain(|(name, _)| !in_our_words || *name != PROVENANCE);
            let meta: Vec<(&str, String)> = meta.into_iter().map(|(name, value)| (name, value.into_owned())).collect();
            let reply = match (answered.reply, answered.note) {
                _ if in_our_words => Reply::Complete(
                    json!({ "content": [{ "type": "text", "text": NOT_FOR_LEGACY }], "isError": true })
                        .to_string()
                        .into(),
                ),
                (Reply::Complete(bytes) | Reply::NotFound(bytes), Some(note)) => Reply::Complete(note.told_in(bytes)),
                (reply, _) => reply,
            };
            Wire::Result(if meta.is_empty() {
                result_pieces(reply, version)
            } else {
                noted_pieces(reply, &meta, version)
            })
        }
        Err(error) => of_error(&error, version, request_id),
    }
}

fn of_error(error: &CallError, version: Version, request_id: Uuid) -> Wire {
    let text = error.text(request_id);
    match error {
        CallError::Cancelled => Wire::Silent,
        CallError::UnknownTool { .. } => RpcError::new(-32602, text).wire(),
        // SEP-1303: a model can mend what it is told; older revisions know only the protocol error.
        CallError::InvalidArguments { .. } if version < Version::V2025_11_25 => RpcError::new(-32602, text).wire(),
        // MCP 2026-07-28, basic/authorization, "Scope Challenge Handling": the header has what clients act on.
        CallError::InsufficientScope { .. } => {
            Wire::Error(RpcError::new(INSUFFICIENT_SCOPE, text).object(), StatusCode::FORBIDDEN)
        }
        CallError::Internal => RpcError::new(-32603, text).wire(),
        CallError::Downstream { error, .. } if let Some(Rejection::Rpc(object)) = &error.rejection => {
            of_downstream(object, &text, version)
        }
        CallError::InvalidArguments { .. }
        | CallError::NotAllowed { .. }
        | CallError::Limited { .. }
        | CallError::Uncounted { .. }
        | CallError::LeftAlone { .. }
        | CallError::Queued { .. }
        | CallError::KeyReused { .. }
        | CallError::KeysGone { .. }
        | CallError::Unmaskable { .. }
        | CallError::NamesGone { .. }
        | CallError::Withheld { .. }
        | CallError::Overloaded { .. }
        | CallError::Unannounced { .. }
        | CallError::Unaudited { .. }
        | CallError::Downstream { .. }
        | CallError::OutcomeUnknown { .. } => Wire::Result(vec![failed_result(&text, error.meta(), version)]),
    }
}

/// An error in a downstream's own words. One that speaks of the hop between Weir and the downstream would mislead the caller's client, which
/// acts on such codes by itself; so it becomes words.
fn of_downstream(object: &Bytes, text: &str, version: Version) -> Wire {
    let parsed = Object::parse(text_of(Some(object)));
    let code = parsed.as_ref().and_then(|object| object.get("code")?.parse::<i64>().ok());
    match code {
        Some(-32700 | -32601 | -32020 | -32022) => {
            let said = parsed.and_then(|object| object.get("message").and_then(json::unquote)).unwrap_or_default();
            let said: String = said.chars().take(300).collect();
            Wire::Result(vec![failed_result(&format!("{text} It said: {said}"), serde_json::Map::new(), version)])
        }
        Some(code @ -32021) => Wire::Error(object.clone(), status_of(code)),
        _ => Wire::Error(object.clone(), StatusCode::OK),
    }
}

/// A failure as a result, so that it reaches the model and does not die in the client's transport.
fn failed_result(text: &str, meta: serde_json::Map<String, serde_json::Value>, version: Version) -> Bytes {
    let mut result = json!({ "content": [{ "type": "text", "text": text }], "isError": true });
    if !meta.is_empty() {
        result["_meta"] = meta.into();
    }
    if version.is_modern() {
        result["resultType"] = json!("complete");
    }
    result.to_string().into()
}

/// The bytes of a result, with `resultType` where the caller's era has it and without where it has not. All else stays.
pub(crate) fn result_pieces(reply: Reply, version: Version) -> Vec<Bytes> {
    let (bytes, kind) = match reply {
        Reply::Complete(bytes) | Reply::NotFound(bytes) => (bytes, "complete"),
        Reply::InputRequired(bytes) => (bytes, "input_required"),
        Reply::Task(bytes) => (bytes, "task"),
    };
    let named = member(&bytes, "resultType").is_some();
    match (version.is_modern(), named) {
        (true, true) | (false, false) => vec![bytes],
        (true, false) => led_by(&result_type(kind), bytes),
        (false, true) => {
            let object = Object::parse(text_of(Some(&bytes))).expect("it was just looked into");
            let change = |key: &str, _: &str| if key == "resultType" { Change::Remove } else { Change::Keep };
            vec![object.rewrite(&[], change).into()]
        }
    }
}

/// The same with members in its `_meta` that Weir has to say. Nearly no result has a `_meta` of its own.
fn noted_pieces(mut reply: Reply, said: &[(&str, String)], version: Version) -> Vec<Bytes> {
    let (Reply::Complete(bytes) | Reply::NotFound(bytes) | Reply::InputRequired(bytes) | Reply::Task(bytes)) =
        &mut reply;
    if member(bytes, "_meta").is_some() {
        let said: Vec<(&str, &str)> = said.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let object = Object::parse(text_of(Some(bytes))).expect("it was just looked into");
        let rewritten = object.rewrite(&[], |key, value| match (key, Object::parse(value)) {
            ("_meta", Some(meta)) => Change::Replace(meta.rewrite(&said, |_, _| Change::Keep)),
            _ => Change::Keep,
        });
        *bytes = rewritten.into();
        return result_pieces(reply, version);
    }
    let mut pieces = result_pieces(reply, version).into_iter();
    let said: Vec<String> = said.iter().map(|(name, value)| format!("{}:{value}", json::string(name))).collect();
    let led = |first| led_by(&format!("\"_meta\":{{{}}}", said.join(",")), first);
    pieces.next().map(led).into_iter().flatten().chain(pieces).collect()
}

fn result_type(kind: &str) -> String {
    format!("\"resultType\":{}", json::string(kind))
}

/// The object with these members first, without a copy of the rest.
fn led_by(members: &str, object: Bytes) -> Vec<Bytes> {
    let Some(brace) = memchr::memchr(b'{', &object) else { return vec![object] };
    let rest = object.slice(brace + 1..);
    let comma = if rest.trim_ascii_start().starts_with(b"}") { "" } else { "," };
    vec![format!("{{{members}{comma}").into(), rest]
}

/// Whether a result says that the tool itself failed.
#[must_use]
pub fn is_tool_error(result: &Bytes) -> bool {
    member(result, "isError") == Some("true")
}

/// The text of one member of an object, found without parsing where the name is nowhere in it, in whatever spelling.
pub(crate) fn member<'a>(object: &'a Bytes, name: &str) -> Option<&'a str> {
    let holds = |needle: &[u8]| memmem::find(object, needle).is_some();
    if holds(name.as_bytes()) || holds(b"\\u00") { Object::parse(text_of(Some(object)))?.get(name) } else { None }
}

#[cfg(test)]
mod tests;

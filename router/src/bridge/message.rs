//! A look at JSON-RPC messages: what the bridge must know to send them on. The bytes stay as they came.

use std::fmt;

use adapters::json::{Object, unquote};
use bytes::Bytes;
use serde::de::IgnoredAny;

/// The key in `params._meta` that only messages of the modern era have (MCP 2026-07-28, basic/index, "`_meta`").
pub(super) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// The id of a request: its text for answers, and what it stands for, because `"\u0061"` and `"a"` are the same id.
#[derive(Clone)]
pub(super) struct Id {
    text: String,
    meaning: String,
}

impl Id {
    fn new(text: &str) -> Self {
        let meaning = match unquote(text) {
            Some(string) => format!("\"{string}"),
            None if text.parse::<i64>().is_ok() => text.to_owned(),
            // A peer may write 1 as 1.0; beyond 2^53 a double could make two ids one, so there the text counts.
            None => match text.parse::<f64>() {
                Ok(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => format!("{number:.0}"),
                _ => text.to_owned(),
            },
        };
        Self { text: text.to_owned(), meaning }
    }

    /// The id as JSON, as the client wrote it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.meaning == other.meaning
    }
}

impl Eq for Id {}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One message of the client.
#[derive(Debug)]
pub(super) struct Message {
    /// Every byte as it came: this becomes the body of the POST.
    pub(super) bytes: Bytes,
    pub(super) kind: Kind,
    /// The protocol version in `_meta`, which makes the message one of the modern era.
    pub(super) modern: Option<String>,
}

/// What a message of the client is.
#[derive(Debug)]
pub(super) enum Kind {
    Request(Request),
    /// `cancels`: the request that `notifications/cancelled` is about.
    Notification {
        method: String,
        cancels: Option<Id>,
    },
    /// The answer to a request of the server (legacy).
    Response,
    /// The ids of the requests in a batch (2025-03-26 and before).
    Batch(Vec<Id>),
}

/// What the bridge knows of a request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: Id,
    pub(super) method: String,
    /// What it is about: the name of a tool or prompt, the URI of a resource, the id of a task.
    pub(super) subject: Option<String>,
    /// `_meta.progressToken` as JSON.
    pub(super) progress_token: Option<String>,
}

/// Why a line of the client cannot be sent on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Not JSON, or not UTF-8.
    NotJson(String),
    /// JSON, but no message.
    NotAMessage,
}

impl Message {
    pub(super) fn parse(bytes: Bytes) -> Result<Self, Malformed> {
        let text = valid_json(&bytes).map_err(Malformed::NotJson)?;
        if text.trim_start().starts_with('[') {
            let ids = requests_in_batch(text).ok_or(Malformed::NotAMessage)?;
            return Ok(Self { kind: Kind::Batch(ids), modern: None, bytes });
        }
        let object = Object::parse(text).ok_or(Malformed::NotAMessage)?;
        let params = object.get("params").and_then(Object::parse);
        let meta = params.as_ref().and_then(|params| Object::parse(params.get("_meta")?));
        let modern = meta.as_ref().and_then(|meta| unquote(meta.get(VERSION_KEY)?)).map(String::from);
        let method = object.get("method").and_then(unquote);
        let kind = match (object.get("id"), method) {
            (Some(_), None) if is_response(&object) => Kind::Response,
            (Some(id), method) => {
                let method = method.unwrap_or_default().into_owned();
                let subject =
                    params.as_ref().and_then(|params| unquote(params.get(subject_key(&method)?)?)).map(String::from);
                let progress_token =
                    meta.as_ref().and_then(|meta| meta.get("progressToken")).filter(|token| *token != "null");
                Kind::Request(Request {
                    id: Id::new(id),
                    method,
                    subject,
                    progress_token: progress_token.map(str::to_owned),
                })
            }
            (None, Some(method)) => {
                let cancels = (method == "notifications/cancelled")
                    .then(|| params.as_ref()?.get("requestId").map(Id::new))
                    .flatten();
                Kind::Notification { method: method.into_owned(), cancels }
            }
            (None, None) if is_response(&object) => Kind::Response,
            (None, None) => return Err(Malformed::NotAMessage),
        };
        Ok(Self { kind, modern, bytes })
    }

    /// The text of one of its parameters.
    pub(super) fn param(&self, key: &str) -> Option<&str> {
        Object::parse(Object::parse(std::str::from_utf8(&self.bytes).ok()?)?.get("params")?)?.get(key)
    }

    /// The ids of the requests in it: those who wait for an answer.
    pub(super) fn ids(&self) -> Vec<Id> {
        match &self.kind {
            Kind::Request(request) => vec![request.id.clone()],
            Kind::Batch(ids) => ids.clone(),
            Kind::Notification { .. } | Kind::Response => Vec::new(),
        }
    }
}

/// Which member of `params` names what a request is about: the same that `Mcp-Name` carries (MCP 2026-07-28,
/// basic/transports/streamable-http, "Standard Request Headers"; SEP-2663 for tasks).
fn subject_key(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

fn is_response(object: &Object<'_>) -> bool {
    object.get("result").is_some() || object.get("error").is_some()
}

fn requests_in_batch(text: &str) -> Option<Vec<Id>> {
    let members: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
    let ids = members.iter().filter_map(|member| {
        let object = Object::parse(member.get())?;
        object.get("method")?;
        object.get("id").map(Id::new)
    });
    (!members.is_empty()).then(|| ids.collect())
}

fn valid_json(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to()))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// One message of the router, ready to be written as a line.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) line: Bytes,
    pub(super) kind: HeardKind,
}

/// What a message of the router is.
#[derive(Debug, PartialEq)]
pub(super) enum HeardKind {
    /// `id` is `None` when the error could not be attributed. `code` is that of an error.
    Response {
        id: Option<Id>,
        code: Option<i64>,
    },
    Progress {
        token: String,
        progress: f64,
        total: Option<f64>,
    },
    /// Another notification, or a request of the server (legacy).
    Other {
        method: String,
    },
    /// The ids that a batch answers.
    Batch(Vec<Id>),
}

impl Heard {
    /// Looks at a message; `None` when the bytes are no JSON-RPC message and must not reach the client.
    pub(super) fn parse(bytes: Bytes) -> Option<Self> {
        let line = one_line(bytes);
        let text = valid_json(&line).ok()?;
        let kind = if text.trim_start().starts_with('[') {
            let members: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
            HeardKind::Batch(
                members.iter().filter_map(|member| Object::parse(member.get())?.get("id").map(Id::new)).collect(),
            )
        } else {
            let object = Object::parse(text)?;
            match object.get("method").and_then(unquote) {
                Some(method) => look_at_method(&object, &method),
                None if is_response(&object) => HeardKind::Response {
                    id: object.get("id").filter(|id| *id != "null").map(Id::new),
                    code: object.get("error").and_then(|error| Object::parse(error)?.get("code")?.parse().ok()),
                },
                None => return None,
            }
        };
        Some(Self { line, kind })
    }

    /// The text of one of its members.
    pub(super) fn member(&self, key: &str) -> Option<&str> {
        Object::parse(std::str::from_utf8(&self.line).ok()?)?.get(key)
    }
}

fn look_at_method(object: &Object<'_>, method: &str) -> HeardKind {
    let progress = || {
        let params = Object::parse(object.get("params")?)?;
        Some(HeardKind::Progress {
            token: params.get("progressToken")?.to_owned(),
            progress: params.get("progress")?.parse().ok()?,
            total: params.get("total").and_then(|total| total.parse().ok()),
        })
    };
    let other = || HeardKind::Other { method: method.to_owned() };
    if method == "notifications/progress" { progress().unwrap_or_else(other) } else { other() }
}

/// The message without line breaks. JSON has none inside strings, so all of them are white space between tokens.
fn one_line(bytes: Bytes) -> Bytes {
    if bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect::<Vec<u8>>().into()
    } else {
        bytes
    }
}

#[cfg(test)]
mod tests;

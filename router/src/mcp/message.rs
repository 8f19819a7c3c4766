//! The envelope of a JSON-RPC message: its few members that the router must know, as slices of the body.

use adapters::json::{self, Object};
use bytes::Bytes;

use super::answer::RpcError;

/// One JSON-RPC message. Values are slices of the body, not copies.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// The `params` object, if there is one.
    pub(super) params: Option<Bytes>,
}

/// What kind of message it is.
#[derive(Debug)]
pub(super) enum Kind {
    Request {
        id: Bytes,
        method: String,
    },
    Notification {
        method: String,
    },
    /// An answer to a question that was never asked: the router asks none.
    Response,
}

/// A message that cannot be understood, with its id as far as that is readable.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) id: Option<Bytes>,
    pub(super) error: RpcError,
}

impl Message {
    /// Reads the envelope of `text`, which is a part of `body` and has passed the scan.
    pub(super) fn parse(body: &Bytes, text: &str) -> Result<Self, Broken> {
        let broken =
            |id: Option<&Bytes>, what: &str| Broken { id: id.cloned(), error: RpcError::invalid_request(what) };
        let Some(envelope) = Object::parse(text) else {
            return Err(broken(None, "a message is a JSON object"));
        };
        let slice = |value: &str| body.slice_ref(value.as_bytes());
        let id = envelope.get("id").filter(|id| is_id(id)).map(slice);
        if envelope.get("jsonrpc").and_then(json::unquote).as_deref() != Some("2.0") {
            return Err(broken(id.as_ref(), "`jsonrpc` must be \"2.0\""));
        }
        if id.is_none() && envelope.get("id").is_some() {
            return Err(broken(None, "`id` must be a string or an integer"));
        }
        let params = match envelope.get("params") {
            None => None,
            Some(params) if params.starts_with('{') => Some(slice(params)),
            Some(_) => {
                return Err(Broken { id, error: RpcError::invalid_params("`params` must be an object") });
            }
        };
        let kind = match (envelope.get("method").map(json::unquote), id) {
            (Some(Some(method)), Some(id)) => Kind::Request { id, method: method.into_owned() },
            (Some(Some(method)), None) => Kind::Notification { method: method.into_owned() },
            (Some(None), id) => return Err(broken(id.as_ref(), "`method` must be a string")),
            (None, _) if envelope.get("result").is_some() || envelope.get("error").is_some() => Kind::Response,
            (None, id) => return Err(broken(id.as_ref(), "`method` is missing")),
        };
        Ok(Self { kind, params })
    }

    /// The params as text; `{}` where there are none.
    pub(super) fn params_text(&self) -> &str {
        text_of(self.params.as_ref())
    }
}

/// The text of a slice that was cut from a checked body at token borders.
pub(super) fn text_of(slice: Option<&Bytes>) -> &str {
    slice.map_or("{}", |slice| std::str::from_utf8(slice).expect("a slice of text at token borders is text"))
}

/// MCP's ids are strings and integers; never null (basic/index, "Requests").
fn is_id(raw: &str) -> bool {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    raw.starts_with('"') || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

//! The `_meta` of a request, as far as the router reads it.

use adapters::{
    TraceContext,
    json::{self, Object},
};
use http::HeaderMap;

use crate::front::trace_of;

pub(super) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
pub(super) const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// How long the caller waits, in milliseconds; the name under which Weir tells its downstreams the same (docs/websocket.md).
pub(super) const DEADLINE: &str = "weir/deadline_ms";
/// Makes a caller's repeats of a call one.
pub(super) const IDEMPOTENCY_KEY: &str = "weir/idempotency_key";
pub(super) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The longest name of a caller's program that is kept, in characters.
const CLIENT_CHARACTERS_MAX: usize = 100;

/// The `_meta` of a request, as slices of it.
#[derive(Debug, Clone)]
pub(super) struct Meta<'a> {
    object: Option<Object<'a>>,
}

impl<'a> Meta<'a> {
    /// The `_meta` in a `params` object.
    pub(super) fn of(params: &Object<'a>) -> Self {
        Self { object: params.get("_meta").and_then(Object::parse) }
    }

    pub(super) fn exists(&self) -> bool {
        self.object.is_some()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.object.as_ref()?.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(json::unquote).map(std::borrow::Cow::into_owned)
    }

    /// The progress token as it stands: a string or an integer.
    pub(super) fn progress_token(&self) -> Option<&'a str> {
        self.get("progressToken")
            .filter(|token| token.starts_with(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']))
    }

    /// What a modern caller's program calls itself.
    pub(super) fn client(&self) -> Option<String> {
        client_name(self.get(CLIENT_INFO)?)
    }

    /// The trace of the request: `_meta` counts before HTTP headers (SEP-414).
    pub(super) fn trace(&self, headers: &HeaderMap) -> TraceContext {
        let own = || TraceContext::continued(&self.text("traceparent")?, self.text("tracestate").as_deref());
        own().unwrap_or_else(|| trace_of(headers))
    }
}

/// `name version` of a `clientInfo` object, bounded and in printable characters.
pub(super) fn client_name(client_info: &str) -> Option<String> {
    let info = Object::parse(client_info)?;
    let part = |key| info.get(key).and_then(json::unquote);
    let full = format!("{} {}", part("name")?, part("version").unwrap_or_default());
    Some(full.trim().chars().filter(|c| !c.is_control()).take(CLIENT_CHARACTERS_MAX).collect())
}

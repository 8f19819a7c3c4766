//! What Weir sends: the caller's own bytes, with the few members changed that belong to one hop.

use std::borrow::Cow;

use crate::{
    CallContext, Request,
    json::{self, Change, Object},
};

/// The one version of the modern era that is spoken.
pub(super) const MODERN_VERSION: &str = "2026-07-28";
/// What Weir says it is.
const CLIENT_INFO: &str = concat!(r#"{"name":"weir","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);
/// On a connection that several calls share, a question of the server names no call: so Weir offers to answer none.
const CLIENT_CAPABILITIES: &str = "{}";
/// Members of `_meta` with this prefix belong to one hop of the protocol.
const RESERVED_PREFIX: &str = "io.modelcontextprotocol/";
/// Members of `_meta` with this prefix are said between a caller and Weir.
const OWN_PREFIX: &str = "weir/";
/// Members of `_meta` without a prefix that belong to one hop: our own take their place.
const PER_HOP: [&str; 4] = ["progressToken", "traceparent", "tracestate", "baggage"];
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// How many milliseconds are left for the answer (docs/websocket.md).
const DEADLINE: &str = "weir/deadline_ms";
/// Makes repeats of a write one (docs/websocket.md).
const IDEMPOTENCY_KEY: &str = "weir/idempotency_key";

/// What a `tools/call` needs to know of the connection it leaves on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hop {
    /// The id of the request, which is also its progress token.
    pub(super) id: u64,
    /// Whether the modern era is spoken.
    pub(super) modern: bool,
    /// Whether the connection is this call's alone, so that log messages can be told to belong to it.
    pub(super) exclusive: bool,
    /// How many milliseconds are left.
    pub(super) deadline_ms: u64,
    /// Whether the server heeds idempotency keys.
    pub(super) heeds_keys: bool,
}

/// A `tools/call` with the caller's `params`: its local name put in, its `_meta` rewritten, every other byte as it came.
/// `None` when `params` is no object.
pub(super) fn call_tool(hop: Hop, ctx: &CallContext, request: &Request) -> Option<String> {
    let params = Object::parse(std::str::from_utf8(&request.params).ok()?)?;
    let meta = meta(hop, ctx, params.get("_meta"));
    let name = json::string(&request.local_name);
    let has_meta = params.get("_meta").is_some();
    let added: &[(&str, &str)] = if has_meta { &[] } else { &[("_meta", &meta)] };
    let params = params.rewrite(added, |key, _| match key {
        "name" => Change::Replace(name.clone()),
        "_meta" => Change::Replace(meta.clone()),
        _ => Change::Keep,
    });
    Some(envelope(hop.id, "tools/call", &params))
}

fn meta(hop: Hop, ctx: &CallContext, of_caller: Option<&str>) -> String {
    let (traceparent, deadline_ms) = (json::string(&ctx.trace.traceparent()), hop.deadline_ms.to_string());
    let tracestate = ctx.trace.tracestate().map(json::string);
    let token = ctx.notices.as_ref().map(|_| hop.id.to_string());
    let mut added = Vec::with_capacity(8);
    if hop.modern {
        added.extend(modern_members());
    }
    added.extend(token.as_deref().map(|token| ("progressToken", token)));
    added.push(("traceparent", &traceparent));
    added.extend(tracestate.as_deref().map(|state| ("tracestate", state)));
    added.push((DEADLINE, &deadline_ms));
    let key = ctx.write.as_ref().filter(|_| hop.heeds_keys).map(|write| json::string(write.passed_key()));
    added.extend(key.as_deref().map(|key| (IDEMPOTENCY_KEY, key)));
    let wants_log = hop.exclusive && hop.modern && ctx.notices.is_some();
    Object::parse(of_caller.unwrap_or("{}")).unwrap_or_else(|| Object::parse("{}").expect("an object")).rewrite(
        &added,
        |key, _| match key {
            LOG_LEVEL if wants_log => Change::Keep,
            key if key.starts_with(RESERVED_PREFIX) || key.starts_with(OWN_PREFIX) => Change::Remove,
            key if PER_HOP.contains(&key) => Change::Remove,
            _ => Change::Keep,
        },
    )
}

/// MCP 2026-07-28, "General fields": what every request carries.
fn modern_members() -> [(&'static str, &'static str); 3] {
    [
        ("io.modelcontextprotocol/protocolVersion", "\"2026-07-28\""),
        ("io.modelcontextprotocol/clientInfo", CLIENT_INFO),
        ("io.modelcontextprotocol/clientCapabilities", CLIENT_CAPABILITIES),
    ]
}

/// A request of Weir's own with these members in its `params`.
pub(super) fn own(id: u64, method: &str, modern: bool, members: &[(&str, &str)]) -> String {
    let empty = Object::parse("{}").expect("an object");
    let mut members: Vec<(&str, Cow<'_, str>)> = members.iter().map(|&(key, value)| (key, value.into())).collect();
    if modern {
        members.push(("_meta", empty.rewrite(&modern_members(), |_, _| Change::Keep).into()));
    }
    let members: Vec<(&str, &str)> = members.iter().map(|(key, value)| (*key, value.as_ref())).collect();
    envelope(id, method, &empty.rewrite(&members, |_, _| Change::Keep))
}

/// The legacy era's `initialize`.
pub(super) fn initialize(id: u64, version: &str) -> String {
    let version = json::string(version);
    let members = [("protocolVersion", &*version), ("capabilities", CLIENT_CAPABILITIES), ("clientInfo", CLIENT_INFO)];
    own(id, "initialize", false, &members)
}

/// The legacy era's end of the handshake.
pub(super) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Withdraws the request with this id.
pub(super) fn cancelled(id: u64, reason: &str) -> String {
    let reason = json::string(reason);
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":{reason}}}}}"#)
}

/// Answers a server's `ping`.
pub(super) fn pong(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

/// Answers any other question of a server.
pub(super) fn not_offered(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"Not offered on a shared connection"}}}}"#)
}

fn envelope(id: u64, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

#[cfg(test)]
mod tests;

//! The modern era (MCP 2026-07-28): no handshake, no session; every request says its version and capabilities.

use std::borrow::Cow;

use adapters::json::{self, Object};
use http::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::{
    Post, Version,
    answer::{RpcError, Wire, envelope},
    empty_response,
    exchange::{self, Exchange},
    headers, json_response, list,
    message::{Kind, Message},
    meta::{CLIENT_CAPABILITIES, Meta, PROTOCOL_VERSION, SERVER_INFO},
};
use crate::{
    front::text_header,
    policy::{Asker, NamedView},
    server::Body,
};

/// What Weir tells about itself. The text reaches the model.
const INSTRUCTIONS: &str = "Tools of several systems behind one endpoint. A tool's name starts with the system it belongs to, as in \
    `system__tool`. A refusal says what to do next; an unknown outcome of a write must be looked into before the write is repeated.";

/// The same, and what a view says of itself.
pub(super) fn instructions(view: Option<&NamedView>) -> Cow<'static, str> {
    match view.and_then(|view| view.instructions.as_deref()) {
        Some(own) => format!("{own}\n\n{INSTRUCTIONS}").into(),
        None => INSTRUCTIONS.into(),
    }
}

/// Whether a message belongs to the modern era.
pub(super) fn is_modern(message: &Message, headers: &HeaderMap) -> bool {
    let by_header =
        text_header(headers, "mcp-protocol-version").and_then(Version::parse).is_some_and(Version::is_modern);
    let by_method = matches!(&message.kind, Kind::Request { method, .. } if method == "server/discover");
    by_header
        || by_method
        || Object::parse(message.params_text()).is_some_and(|params| Meta::of(&params).get(PROTOCOL_VERSION).is_some())
}

/// Answers a modern message.
pub(super) async fn handle(post: &Post<'_>, message: Message) -> Response<Body> {
    let (id, method) = match &message.kind {
        Kind::Request { id, method } => (id.clone(), method.as_str()),
        // The revision defines no notification from clients over HTTP; closing the stream is the cancellation.
        Kind::Notification { .. } => return empty_response(StatusCode::ACCEPTED),
        Kind::Response => {
            return RpcError::invalid_request("an answer was sent, but the router asks nothing")
                .respond(None, StatusCode::BAD_REQUEST);
        }
    };
    let Some(params) = Object::parse(message.params_text()) else {
        return RpcError::invalid_params("`params` must be an object").respond(Some(&id), StatusCode::BAD_REQUEST);
    };
    if let Err(error) = check_request(post, &params, method).await {
        return error.respond(Some(&id), StatusCode::BAD_REQUEST);
    }
    let version = Version::V2026_07_28;
    let wire = match method {
        "server/discover" => discover(post.view.as_deref()),
        "tools/list" => list::tools(post, &params, version).await,
        "tools/call" => {
            let exchange = Exchange { id, version, session: None };
            return exchange::call_tool(post, &message, exchange).await;
        }
        _ => RpcError::method_not_found(method).wire(),
    };
    let status = if let Wire::Error(_, status) = &wire { *status } else { StatusCode::OK };
    json_response(status, envelope(&id, &wire))
}

/// The duties of every modern request: `_meta` first, then headers against body, then the version itself.
async fn check_request(post: &Post<'_>, params: &Object<'_>, method: &str) -> Result<(), RpcError> {
    let meta = Meta::of(params);
    let missing = |key: &str| RpcError::invalid_params(&format!("`_meta` must hold \"{key}\""));
    if !meta.exists() {
        return Err(RpcError::invalid_params(
            "`_meta` is missing: every request carries its protocol version and capabilities",
        ));
    }
    let version = meta.text(PROTOCOL_VERSION).ok_or_else(|| missing(PROTOCOL_VERSION))?;
    if !meta.get(CLIENT_CAPABILITIES).is_some_and(|capabilities| capabilities.starts_with('{')) {
        return Err(missing(CLIENT_CAPABILITIES));
    }
    headers::check_version(&post.parts.headers, &version)?;
    if !Version::parse(&version).is_some_and(Version::is_modern) {
        return Err(RpcError::unsupported_version(&version));
    }
    let named_by = match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        _ => None,
    };
    let name = named_by.and_then(|member| params.get(member)).and_then(json::unquote);
    headers::check_names(&post.parts.headers, method, name.as_deref())?;
    match name {
        Some(name) if method == "tools/call" => check_mirrored(post, &name, params.get("arguments")).await,
        _ => Ok(()),
    }
}

/// A tool that the caller may not use mirrors nothing, so that it still looks like an unknown one.
async fn check_mirrored(post: &Post<'_>, name: &str, arguments: Option<&str>) -> Result<(), RpcError> {
    let view = post.router.catalog.view_for(name).await;
    match view.resolve(name) {
        Some((index, tool)) if !tool.mirrored().is_empty() => {
            let asker = Asker { caller: &post.caller, now: Timestamp::now() };
            let may_use = view.judge(index, &post.router.policy, asker, post.view.as_deref()).grant.is_some();
            if may_use { headers::check_mirrored(&post.parts.headers, tool.mirrored(), arguments) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

fn discover(view: Option<&NamedView>) -> Wire {
    let versions: Vec<_> = Version::ALL.iter().map(|version| version.as_str()).collect();
    let result = json!({
        "supportedVersions": versions,
        "capabilities": { "tools": {} },
        "instructions": instructions(view),
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": { SERVER_INFO: server_info() },
    });
    Wire::Result(vec![result.to_string().into()])
}

/// Name and version of this server.
pub(super) fn server_info() -> serde_json::Value {
    json!({ "name": "weir", "title": "Weir", "version": env!("CARGO_PKG_VERSION") })
}

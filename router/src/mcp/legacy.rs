//! The legacy era (MCP 2025-11-25 back to 2024-11-05): `initialize`, sealed session ids, a stream for what nobody asked for.

use std::sync::Arc;

use adapters::{
    Caller,
    json::{self, Object},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::{
    Post, Version,
    answer::{RpcError, Wire, envelope},
    empty_response,
    exchange::{self, Exchange},
    json_response, list,
    message::{Kind, Message},
    meta::client_name,
    modern::{instructions, server_info},
    session::Session,
    streams,
};
use crate::{
    Live, Router,
    front::{accepts, problem},
    policy::NamedView,
    server::Body,
};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const SESSION_UNKNOWN: &str = "This session is not known or has ended: start a new one with `initialize`.";

/// Answers a legacy message.
pub(super) async fn handle(post: &Post<'_>, message: Message) -> Response<Body> {
    if let Kind::Request { id, method } = &message.kind
        && method == "initialize"
    {
        return initialize(post, &message, id);
    }
    let id = if let Kind::Request { id, .. } = &message.kind { Some(id) } else { None };
    let (session, version) = match speaker(post, id) {
        Ok(speaker) => speaker,
        Err(refused) => return *refused,
    };
    match &message.kind {
        Kind::Request { id, method } if method == "tools/call" => {
            let exchange = Exchange { id: id.clone(), version, session };
            exchange::call_tool(post, &message, exchange).await
        }
        Kind::Request { id, method } => {
            json_response(StatusCode::OK, envelope(id, &simple(post, &message, method, version).await))
        }
        Kind::Notification { method } => {
            if method == "notifications/cancelled" {
                cancel(post.router, session.as_ref(), &message);
            }
            empty_response(StatusCode::ACCEPTED)
        }
        Kind::Response => empty_response(StatusCode::ACCEPTED),
    }
}

/// What is answered at once, from memory.
pub(super) async fn simple(post: &Post<'_>, message: &Message, method: &str, version: Version) -> Wire {
    match (method, Object::parse(message.params_text())) {
        ("ping", _) => Wire::Result(vec![Bytes::from_static(b"{}")]),
        ("tools/list", Some(params)) => list::tools(post, &params, version).await,
        _ => RpcError::method_not_found(method).wire(),
    }
}

/// Withdraws the request that a `notifications/cancelled` of the same session names.
pub(super) fn cancel(router: &Router, session: Option<&Session>, message: &Message) {
    let request_id = Object::parse(message.params_text()).and_then(|params| params.get("requestId"));
    if let (Some(session), Some(request_id)) = (session, request_id) {
        router.sessions.cancel(session, request_id);
    }
}

/// The session and revision that a message belongs to. A session is optional: without one a client is served, and told nothing unasked.
pub(super) fn speaker(post: &Post<'_>, id: Option<&Bytes>) -> Result<(Option<Session>, Version), Box<Response<Body>>> {
    let headers = &post.parts.headers;
    let session = match session_of(post.router, &post.caller, post.view.as_deref(), headers) {
        Ok(session) => session,
        Err(()) => return Err(Box::new(problem(StatusCode::NOT_FOUND, SESSION_UNKNOWN))),
    };
    let refuse = |error: RpcError| Err(Box::new(error.respond(id, StatusCode::BAD_REQUEST)));
    let mut stated_names = headers.get_all("mcp-protocol-version").iter().map(|name| name.to_str().unwrap_or_default());
    let stated = match (stated_names.next(), stated_names.next()) {
        (None, _) => None,
        // Two say two things, and whoever reads the other one takes the message for another revision's.
        (Some(_), Some(_)) => return refuse(RpcError::invalid_request("MCP-Protocol-Version stands twice")),
        (Some(name), None) => match Version::parse(name) {
            Some(version) => Some(version),
            None => return refuse(RpcError::unsupported_version(name)),
        },
    };
    let version = session.as_ref().map(|session| session.version).or(stated).unwrap_or(Version::ASSUMED);
    Ok((session, version))
}

fn initialize(post: &Post<'_>, message: &Message, id: &Bytes) -> Response<Body> {
    let params = Object::parse(message.params_text());
    let asked = params.as_ref().and_then(|params| params.get("protocolVersion")).and_then(json::unquote);
    let (Some(params), Some(asked)) = (&params, asked) else {
        let error = RpcError::invalid_params("`initialize` needs `protocolVersion`");
        return json_response(StatusCode::OK, envelope(id, &error.wire()));
    };
    let version = Version::parse(&asked).filter(|version| !version.is_modern()).unwrap_or(Version::NEWEST_LEGACY);
    let result = json!({
        "protocolVersion": version.as_str(),
        "capabilities": { "tools": { "listChanged": true } },
        "serverInfo": server_info(),
        "instructions": instructions(post.view.as_deref()),
    });
    let client = params.get("clientInfo").and_then(client_name);
    let session_id =
        post.router.sessions.begin(&post.caller.principal, post.view.as_deref(), version, client.as_deref());
    let mut response = json_response(StatusCode::OK, envelope(id, &Wire::Result(vec![result.to_string().into()])));
    let session_id = HeaderValue::from_str(&session_id).expect("a sealed session id is visible ASCII");
    response.headers_mut().insert(SESSION_ID, session_id);
    response
}

/// The stream of a session, on which the router tells that the list of tools changed.
pub(super) fn listen(
    live: &Arc<Live>,
    router: &Arc<Router>,
    caller: &Arc<Caller>,
    view: Option<&NamedView>,
    headers: &HeaderMap,
) -> Response<Body> {
    if !accepts(headers, "text/event-stream") {
        return problem(StatusCode::NOT_ACCEPTABLE, "Send `Accept: text/event-stream`.");
    }
    match session_of(router, caller, view, headers) {
        Err(()) => problem(StatusCode::NOT_FOUND, SESSION_UNKNOWN),
        // A client without a session has no stream, and a modern one none of this kind (405 by either revision).
        Ok(None) => method_not_allowed(),
        Ok(Some(session)) => streams::list_changes(live, router, caller, view, &session),
    }
}

/// Ends a session: no replica of this process knows it any longer.
pub(super) fn end_session(
    router: &Router,
    caller: &Arc<Caller>,
    view: Option<&NamedView>,
    headers: &HeaderMap,
) -> Response<Body> {
    match session_of(router, caller, view, headers) {
        Err(()) => problem(StatusCode::NOT_FOUND, SESSION_UNKNOWN),
        Ok(None) => method_not_allowed(),
        Ok(Some(session)) => {
            router.sessions.end(&session);
            empty_response(StatusCode::NO_CONTENT)
        }
    }
}

fn method_not_allowed() -> Response<Body> {
    let mut response =
        problem(StatusCode::METHOD_NOT_ALLOWED, "GET and DELETE belong to a session: send its Mcp-Session-Id.");
    response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("POST"));
    response
}

/// The session that the request names, if any. An id that is not this caller's, or of another view, is as good as unknown.
fn session_of(
    router: &Router,
    caller: &Caller,
    view: Option<&NamedView>,
    headers: &HeaderMap,
) -> Result<Option<Session>, ()> {
    let Some(id) = headers.get(SESSION_ID) else { return Ok(None) };
    let session = id.to_str().ok().and_then(|id| router.sessions.open(id, &caller.principal, view));
    session.map(Some).ok_or(())
}

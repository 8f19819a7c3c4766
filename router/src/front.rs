//! The front door of the caller listener: which host and origin, from which address, to which surface.

mod gatekeeper;
pub(crate) mod intake;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use adapters::TraceContext;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;

use crate::{
    Live, Router,
    audit::{Reason, Tally},
    auth::{self, Refused, certificate::Shown, metadata, signature::ACCEPT_SIGNATURE},
    error::seconds,
    invalidate::{self, Webhook},
    mcp, plain,
    server::Body,
    telemetry,
};

use gatekeeper::Gate;
pub use gatekeeper::Gatekeeper;
use intake::Unread;

/// The media type of RFC 9457.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A socket, and the certificate that was shown on it, if one was; the listener has checked who vouches for it.
    Remote(SocketAddr, Option<Arc<Shown>>),
    /// This process itself: the stdio bridge with `--config`.
    InProcess,
}

/// Answers one request on the caller listener, and sees to it that it is counted once.
pub async fn respond(live: &Arc<Live>, peer: &Peer, mut request: Request<Incoming>) -> Response<Body> {
    let router = live.router();
    let Some(tally) = Tally::begin(&router.audit, caller_address(&router, peer, request.headers())) else {
        return answer(live, &router, peer, request).await;
    };
    request.extensions_mut().insert(tally.claim());
    let response = answer(live, &router, peer, request).await;
    tally.ended(&response);
    response
}

async fn answer(live: &Arc<Live>, router: &Arc<Router>, peer: &Peer, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if let Peer::Remote(..) = peer
        && let Some(refused) = refuse_strangers(&router.gatekeeper, &parts.uri, &parts.headers)
    {
        return refused;
    }
    let (path, asked_view) = view_in(parts.uri.path());
    let Some(surface) = Surface::at(path, router) else { return nothing_here() };
    if let Surface::Hook(webhook) = surface {
        // Whoever signs the message is no caller.
        return match parts.method {
            Method::POST => invalidate::receive(router, webhook, &parts.headers, body).await,
            _ => method_not_allowed("Use POST.", "POST"),
        };
    }
    if let Surface::Metadata(resource) = surface {
        return match parts.method {
            Method::GET => metadata::respond(router.authenticator.tokens(), resource),
            _ => method_not_allowed("Use GET.", "GET"),
        };
    }
    let address = caller_address(router, peer, &parts.headers);
    let (caller, body) = match auth::authenticate(router, peer, address, &parts).await {
        Ok((caller, unproven)) => (Arc::new(caller), Unread::new(body, unproven)),
        Err(refused) => return refuse(router, address, parts.uri.path(), &refused).await,
    };
    let body = match body.awaited_of(&parts.method, router).await {
        Ok(body) => body,
        Err(refused) => return *refused,
    };
    // Only callers hear which views there are.
    let view = match asked_view.map(|name| router.policy.view(name).cloned()) {
        Some(None) => return nothing_here(),
        view => view.flatten(),
    };
    match (surface, &parts.method) {
        (Surface::Mcp, &Method::POST) => mcp::post(router, caller, view, &parts, body).await,
        (Surface::Mcp, &Method::GET) => mcp::get(live, router, &caller, view.as_deref(), &parts.headers),
        (Surface::Mcp, &Method::DELETE) => mcp::delete(router, &caller, view.as_deref(), &parts.headers),
        (Surface::Mcp, _) => method_not_allowed("Use POST; GET and DELETE belong to sessions.", "POST, GET, DELETE"),
        (Surface::Tools, &Method::GET) => plain::tools(router, &caller, view.as_deref(), parts.uri.query()).await,
        (Surface::Tools, _) => method_not_allowed("Use GET.", "GET"),
        (Surface::Call, &Method::POST) => plain::call(router, caller, view, &parts, body).await,
        (Surface::Call | Surface::Hook(_) | Surface::Metadata(_), _) => method_not_allowed("Use POST.", "POST"),
    }
}

fn nothing_here() -> Response<Body> {
    problem(
        StatusCode::NOT_FOUND,
        "There is nothing here: the MCP endpoint is /mcp, the plain JSON API /v1/tools and /v1/tools/call.",
    )
}

/// The path without a view, and the name of the view that it names: `/mcp/<view>`, `/v1/views/<view>/tools`. A name is its bytes as they
/// stand: nothing is decoded, so no name has two spellings.
fn view_in(path: &str) -> (&str, Option<&str>) {
    if let Some(name) = path.strip_prefix("/mcp/").filter(|name| !name.is_empty() && !name.contains('/')) {
        return ("/mcp", Some(name));
    }
    match path.strip_prefix("/v1/views/").and_then(|rest| rest.split_once('/')) {
        Some((name, "tools")) if !name.is_empty() => ("/v1/tools", Some(name)),
        Some((name, "tools/call")) if !name.is_empty() => ("/v1/tools/call", Some(name)),
        _ => (path, None),
    }
}

/// What is served at a path.
#[derive(Debug, Clone, Copy)]
enum Surface<'a> {
    Mcp,
    Tools,
    Call,
    /// Only where the config has it.
    Hook(&'a Webhook),
    /// What clients of authorization servers read first, of the resource at this path.
    Metadata(&'a str),
}

impl<'a> Surface<'a> {
    fn at(path: &'a str, router: &'a Router) -> Option<Self> {
        match path {
            "/mcp" => Some(Self::Mcp),
            "/v1/tools" => Some(Self::Tools),
            "/v1/tools/call" => Some(Self::Call),
            "/hooks/cache" => router.webhook.as_ref().map(Self::Hook),
            _ => metadata::resource_at(path).map(Self::Metadata),
        }
    }
}

/// The caller's own address: what trusted proxies say of it, read from the nearest one outwards.
pub(crate) fn caller_address(router: &Router, peer: &Peer, headers: &HeaderMap) -> Option<IpAddr> {
    let nearest = peer.address()?.ip();
    if !router.gatekeeper.trusts(nearest) {
        return Some(nearest);
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().rev().map(|value| value.to_str().unwrap_or("not text"));
    let hops = forwarded.flat_map(|value| value.rsplit(',')).map(|hop| hop.trim().parse::<IpAddr>());
    let mut caller = nearest;
    for hop in hops {
        // What an untrusted hop wrote, or garbage, says nothing about what stands before it.
        let Ok(hop) = hop else { break };
        caller = hop;
        if !router.gatekeeper.trusts(hop) {
            break;
        }
    }
    Some(caller)
}

/// The answer to a request with a Host or an Origin that is none of ours.
pub(crate) fn refuse_strangers(gatekeeper: &Gatekeeper, uri: &Uri, headers: &HeaderMap) -> Option<Response<Body>> {
    let (reason, mut response) = match gatekeeper.judge(uri, headers) {
        Gate::Open => return None,
        Gate::Malformed(why) => ("malformed", problem(StatusCode::BAD_REQUEST, why)),
        Gate::Closed(why) => ("host_or_origin", problem(StatusCode::FORBIDDEN, why)),
    };
    if response.status() == StatusCode::BAD_REQUEST {
        // Whoever reads such a request in another way may also see another end of it.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    telemetry::refused_before_auth(reason);
    response.extensions_mut().insert(Reason(reason));
    Some(response)
}

/// The answer to a method that a path does not have.
pub(crate) fn method_not_allowed(text: &str, allowed: &'static str) -> Response<Body> {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, text);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The answer to who is not let in: 401, or 429 where too many wrong credentials came from the same address.
async fn refuse(router: &Router, address: Option<IpAddr>, path: &str, refused: &Refused) -> Response<Body> {
    if refused.is_wrong
        && let Some(too_many) = too_many_wrong(router, address).await
    {
        return too_many;
    }
    telemetry::refused_before_auth(refused.reason);
    let mut response = problem(refused.status, refused.text);
    response.extensions_mut().insert(Reason(refused.reason));
    if refused.status == StatusCode::SERVICE_UNAVAILABLE {
        // No other credential would do better.
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        return response;
    }
    let challenge = HeaderValue::from_str(&router.authenticator.challenge(refused, path));
    let challenge = challenge.expect("a challenge is made of visible characters");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    if router.authenticator.takes_signatures() {
        response.headers_mut().insert("accept-signature", HeaderValue::from_static(ACCEPT_SIGNATURE));
    }
    response
}

/// Counts a wrong credential from this address. The answer is for the one that was too many.
pub(crate) async fn too_many_wrong(router: &Router, address: Option<IpAddr>) -> Option<Response<Body>> {
    let too_many = router.limits.failed_login(address).await.err()?;
    telemetry::refused_before_auth("failed_logins");
    let retry_after_ms = too_many.retry_after_ms();
    let text = format!(
        "Too many wrong credentials came from this address. Try again in {} s; a right one is let in at any time.",
        seconds(retry_after_ms)
    );
    let limit = serde_json::json!({ "weir/limit": { "name": too_many.limit(), "retry_after_ms": retry_after_ms } });
    let members = serde_json::Map::from_iter([("_meta".to_owned(), limit)]);
    let mut response = problem_with(StatusCode::TOO_MANY_REQUESTS, &text, members);
    response.extensions_mut().insert(Reason("failed_logins"));
    response.headers_mut().extend(too_many.head());
    Some(response)
}

/// An answer by RFC 9457 for what is refused before the protocol's own errors apply.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    problem_with(status, detail, serde_json::Map::new())
}

/// An answer by RFC 9457 with members of our own.
pub(crate) fn problem_with(
    status: StatusCode,
    detail: &str,
    members: serde_json::Map<String, serde_json::Value>,
) -> Response<Body> {
    let mut response = Response::new(Body::from(problem_json(status, detail, members)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The body of such an answer.
pub(crate) fn problem_json(
    status: StatusCode,
    detail: &str,
    members: serde_json::Map<String, serde_json::Value>,
) -> String {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut body =
        serde_json::json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    body.as_object_mut().expect("it was made as an object").extend(members);
    body.to_string()
}

/// An answer in JSON.
pub(crate) fn json_answer(value: &impl serde::Serialize) -> Response<Body> {
    let text = serde_json::to_string(value).expect("the answers of Weir's own have a JSON form");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// One header's value as text; `None` when it is absent or not visible ASCII.
pub(crate) fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The trace that a request's headers name, or a new one.
pub(crate) fn trace_of(headers: &HeaderMap) -> TraceContext {
    let named = || TraceContext::continued(text_header(headers, "traceparent")?, text_header(headers, "tracestate"));
    named().unwrap_or_else(TraceContext::new_root)
}

/// Whether the client accepts `kind`, such as `text/event-stream`. No `Accept` at all accepts everything (RFC 9110, section 12.5.1).
pub(crate) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let family = kind.split('/').next().unwrap_or_default();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let mut parameters = range.split(';').map(str::trim);
        let media = parameters.next().unwrap_or_default();
        let refused =
            parameters.any(|parameter| parameter.strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0_f32));
        let matches = media == "*/*"
            || media.eq_ignore_ascii_case(kind)
            || media.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(family));
        matches && !refused
    })
}

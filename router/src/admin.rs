//! The operator's listener: probes and metrics for everybody on it, the rest for who has the token.

mod config;
mod definitions;
mod explain;
mod keys;
mod purge;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use ::config::name::RESERVED;
use adapters::Health;
use aws_lc_rs::constant_time;
use cache::redis::LinkState;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    Live, Router,
    front::{self, Peer, intake, json_answer, problem},
    scan,
    server::{Body, Paced, Strict},
    start::Readiness,
    telemetry,
};

/// How many operators' connections are open at once.
const CONNECTIONS_MAX: usize = 256;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many audit records are given where the operator does not say.
const RECORDS_DEFAULT: usize = 100;
/// The largest body of an operator's request: a call's arguments may be as large.
const BODY_BYTES_MAX: usize = 1 << 20;
const NOTHING_HERE: &str = "There is nothing here: /healthz, /readyz, /metrics, /admin/downstreams, /admin/tools, /admin/audit, /admin/cache, /admin/config, \
    /admin/keys, /admin/definitions, and by POST /admin/cache/purge, /admin/explain, /admin/keys/revoke and /admin/definitions/approve.";

/// What the operator's listener serves.
#[derive(Debug)]
pub(crate) struct Operator {
    live: Arc<Live>,
    readiness: Arc<Readiness>,
    token: Option<SecretString>,
    /// Whether metrics need no token: on loopback.
    open_to_all: bool,
}

impl Operator {
    pub(crate) fn new(
        live: Arc<Live>,
        readiness: Arc<Readiness>,
        token: Option<SecretString>,
        address: SocketAddr,
    ) -> Arc<Self> {
        Arc::new(Self { live, readiness, token, open_to_all: address.ip().is_loopback() })
    }

    async fn respond(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let router = &self.live.router();
        if let Some(refused) = front::refuse_strangers(&router.operators_gate, &parts.uri, &parts.headers) {
            return refused;
        }
        match (parts.uri.path(), &parts.method) {
            (path, &Method::POST) if path.starts_with("/admin/") => {
                match self.refuse_without_token(router, peer, &parts.headers).await {
                    Some(refused) => refused,
                    None => posted(router, path, &parts.headers, body).await,
                }
            }
            (path @ ("/admin/cache/purge" | "/admin/explain"), &Method::GET) => {
                front::method_not_allowed(&format!("Use POST for {path}."), "POST")
            }
            (path, &Method::GET) => self.get(router, peer, path, &parts).await,
            _ => front::method_not_allowed("Use GET; /admin/cache/purge and /admin/explain take POST.", "GET, POST"),
        }
    }

    async fn get(&self, router: &Router, peer: SocketAddr, path: &str, request: &Parts) -> Response<Body> {
        let needs_token = path.starts_with("/admin/") || (path == "/metrics" && !self.open_to_all);
        if needs_token && let Some(refused) = self.refuse_without_token(router, peer, &request.headers).await {
            return refused;
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.readyz(router),
            "/metrics" => metrics(router),
            "/admin/config" => json_answer(&config::state(&self.live)),
            "/admin/keys" => keys::list(router).await,
            _ if path.starts_with("/admin/") => admin(router, path, request.uri.query()),
            _ => problem(StatusCode::NOT_FOUND, NOTHING_HERE),
        }
    }

    /// Ready as long as it serves; what is degraded is named.
    fn readyz(&self, router: &Router) -> Response<Body> {
        if self.readiness.is_draining() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
        }
        let mut lines = String::from("ready\n");
        for downstream in router.downstreams() {
            let condition = downstream.condition();
            if condition.word == Health::Up.as_str() {
                continue;
            }
            let reason = condition.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            lines.push_str(&format!("{} is {}{reason}\n", downstream.name, condition.word));
        }
        for (name, redis) in router.redis() {
            let link = redis.link();
            if link.state != LinkState::Up {
                let reason = link.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                lines.push_str(&format!("{name} is {}{reason}\n", word(link.state)));
            }
            if redis.evicts() {
                lines
                    .push_str(&format!("{name} may evict what must be kept: its maxmemory-policy is not noeviction\n"));
            }
        }
        if router.audit.lag().is_some_and(|lag| lag.failing) {
            lines.push_str("audit records cannot be written: writes are refused\n");
        }
        if router.audit.anchor_is_behind() {
            lines.push_str("checkpoints of the audit log do not reach audit.anchor\n");
        }
        lines.push_str(&definitions::lines(router));
        lines.push_str(&config::lines(&self.live));
        text(StatusCode::OK, lines)
    }

    /// The answer for who does not show the token.
    async fn refuse_without_token(
        &self,
        router: &Router,
        peer: SocketAddr,
        headers: &HeaderMap,
    ) -> Option<Response<Body>> {
        let Some(token) = &self.token else {
            return Some(problem(StatusCode::FORBIDDEN, "Off: start Weir with WEIR_ADMIN_TOKEN set."));
        };
        let mut credentials = headers.get_all(header::AUTHORIZATION).iter();
        let only = credentials.next().filter(|_| credentials.next().is_none());
        let shown = only.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let right = |shown: &str| {
            constant_time::verify_slices_are_equal(shown.as_bytes(), token.expose_secret().as_bytes()).is_ok()
        };
        if shown.is_some_and(right) {
            return None;
        }
        if headers.contains_key(header::AUTHORIZATION) {
            let address = front::caller_address(router, &Peer::Remote(peer, None), headers);
            let too_many = front::too_many_wrong(router, address).await;
            router.audit.count(address, if too_many.is_some() { "failed_logins" } else { "bad_admin_token" });
            if too_many.is_some() {
                return too_many;
            }
        }
        telemetry::refused_before_auth("bad_admin_token");
        let text = "Send `Authorization: Bearer` with the value of WEIR_ADMIN_TOKEN.";
        let mut response = problem(StatusCode::UNAUTHORIZED, text);
        let challenge = HeaderValue::from_static("Bearer realm=\"weir admin\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        Some(response)
    }
}

/// Serves operators until told to stop.
pub(crate) async fn serve(operator: Arc<Operator>, listener: TcpListener, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let Some(Ok(permit)) = stop.run_until_cancelled(connections.clone().acquire_owned()).await else { break };
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let operator = operator.clone();
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let operator = operator.clone();
                async move { Ok::<_, Infallible>(operator.respond(peer, request).await) }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            let stream = Strict::new(Paced::new(stream, WRITE_TIMEOUT));
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(error = %error, "an operator's connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// What an operator asks with a body.
async fn posted(router: &Router, path: &str, headers: &HeaderMap, body: Incoming) -> Response<Body> {
    if !matches!(path, "/admin/cache/purge" | "/admin/explain" | "/admin/keys/revoke" | "/admin/definitions/approve") {
        return problem(StatusCode::NOT_FOUND, NOTHING_HERE);
    }
    if let Some(refused) = intake::refuse_by_headers(headers) {
        return refused;
    }
    let taken = match intake::read_up_to(router, body, BODY_BYTES_MAX).await {
        Ok(taken) => taken,
        Err(answer) => return *answer,
    };
    if let Err(fault) = scan::check(&taken.body) {
        return problem(StatusCode::BAD_REQUEST, &format!("The request cannot be read: {}.", fault.text()));
    }
    match path {
        "/admin/explain" => explain::answer(router, &taken.body).await,
        "/admin/definitions/approve" => definitions::approve(router, &taken.body).await,
        "/admin/keys/revoke" => keys::revoke(router, &taken.body).await,
        _ => purge::answer(router, &taken.body).await,
    }
}

fn metrics(router: &Router) -> Response<Body> {
    telemetry::cache_figures(&router.cache.figures());
    telemetry::calls_running(router.calls.taken(), router.calls.share());
    for downstream in router.downstreams() {
        telemetry::line_figures(downstream.name.as_str(), downstream.line.figures());
        let held = router.definitions().held_count(&downstream.name);
        telemetry::definitions_held(downstream.name.as_str(), held);
    }
    router.cache.redis().iter().for_each(|redis| telemetry::redis_up(redis.is_up()));
    router.audit.lag().into_iter().for_each(telemetry::audit_lag);
    let is_downstream =
        |name: &str| name == RESERVED || router.downstreams().iter().any(|own| own.name.as_str() == name);
    text(StatusCode::OK, telemetry::render(is_downstream))
}

fn admin(router: &Router, path: &str, query: Option<&str>) -> Response<Body> {
    match path {
        "/admin/downstreams" => json_answer(&downstreams(router)),
        "/admin/tools" => json_answer(&json!({ "tools": router.tools() })),
        "/admin/audit" => audit(router, query),
        "/admin/cache" => json_answer(&cache(router)),
        "/admin/definitions" => definitions::told(router, query),
        "/admin/definitions/lock" => json_answer(&json!({ "lock": router.definitions().exported().to_text() })),
        _ => problem(StatusCode::NOT_FOUND, NOTHING_HERE),
    }
}

fn downstreams(router: &Router) -> Value {
    let one = |downstream: &Arc<crate::Downstream>| {
        let (condition, offer) = (downstream.condition(), downstream.offer());
        let left_out: Vec<Value> = offer
            .iter()
            .flat_map(|offer| &offer.left_out)
            .map(|tool| json!({ "local_name": tool.local_name, "reason": tool.reason }))
            .collect();
        json!({
            "name": downstream.name, "kind": downstream.kind(), "health": condition.word,
            "reason": condition.reason, "since": condition.since, "guard": downstream.guard.told(None),
            "tools": offer.as_ref().map_or(0, |offer| offer.tools.len()), "left_out": left_out,
            "held": router.definitions().held_count(&downstream.name),
        })
    };
    json!({ "downstreams": router.downstreams().iter().map(one).collect::<Vec<_>>() })
}

/// What the cache holds and does, in this process since its start.
fn cache(router: &Router) -> Value {
    let figures = router.cache.figures();
    let damaged: u64 = figures.damaged.iter().map(|(_, count)| count).sum();
    let redis = router.cache.redis().map(|redis| {
        let link = redis.link();
        let since = Timestamp::try_from(link.since).ok();
        json!({ "state": word(link.state), "reason": link.reason, "since": since })
    });
    json!({
        "redis": redis,
        "local": { "entries": figures.local.entries, "bytes": figures.local.bytes, "evictions": figures.local.evictions },
        "fetches_running": figures.fetches_running, "waiters": figures.waiters, "refreshes": figures.refreshes,
        "lone_fetches": figures.lone_fetches, "lease_waits": figures.lease_waits, "take_overs": figures.take_overs,
        "refused_commits": figures.refused_commits, "damaged": damaged,
    })
}

fn audit(router: &Router, query: Option<&str>) -> Response<Body> {
    let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("last="));
    let Some(most) = asked.map_or(Some(RECORDS_DEFAULT), |text| text.parse().ok()) else {
        return problem(StatusCode::BAD_REQUEST, "`last` is a whole number, as in /admin/audit?last=20.");
    };
    let records = router.audit().recent(most);
    let records: Vec<_> = records.iter().map(|record| &**record).collect();
    json_answer(&json!({ "records": records }))
}

fn word(link: LinkState) -> &'static str {
    match link {
        LinkState::Connecting => "starting",
        LinkState::Up => "up",
        LinkState::Down => "down",
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

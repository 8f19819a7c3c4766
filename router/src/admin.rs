//! The operator's listener: probes and metrics for everybody on it, the rest for who has the token.

mod explain;
mod purge;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use adapters::Health;
use aws_lc_rs::constant_time;
use cache::redis::{LinkState, Redis};
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
    Router,
    front::{self, intake, json_answer, problem},
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
const NOTHING_HERE: &str = "There is nothing here: /healthz, /readyz, /metrics, /admin/downstreams, /admin/tools, /admin/audit, /admin/cache, \
    and by POST /admin/cache/purge and /admin/explain.";

/// What the operator's listener serves.
#[derive(Debug)]
pub(crate) struct Operator {
    router: Arc<Router>,
    readiness: Arc<Readiness>,
    token: Option<SecretString>,
    gatekeeper: front::Gatekeeper,
    /// Whether metrics need no token: on loopback.
    open_to_all: bool,
}

impl Operator {
    pub(crate) fn new(
        router: Arc<Router>,
        readiness: Arc<Readiness>,
        token: Option<SecretString>,
        address: SocketAddr,
    ) -> Arc<Self> {
        let gatekeeper = front::Gatekeeper::new(&router.config.server);
        gatekeeper.listens_on(address);
        Arc::new(Self { router, readiness, token, gatekeeper, open_to_all: address.ip().is_loopback() })
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Some(refused) = front::refuse_strangers(&self.gatekeeper, &parts.uri, &parts.headers) {
            return refused;
        }
        match (parts.uri.path(), &parts.method) {
            (path, &Method::POST) if path.starts_with("/admin/") => match self.refuse_without_token(&parts.headers) {
                Some(refused) => refused,
                None => self.posted(path, &parts.headers, body).await,
            },
            (path @ ("/admin/cache/purge" | "/admin/explain"), &Method::GET) => {
                front::method_not_allowed(&format!("Use POST for {path}."), "POST")
            }
            (path, &Method::GET) => self.get(path, &parts),
            _ => front::method_not_allowed("Use GET; /admin/cache/purge and /admin/explain take POST.", "GET, POST"),
        }
    }

    fn get(&self, path: &str, request: &Parts) -> Response<Body> {
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.readyz(),
            "/metrics" if self.open_to_all => self.metrics(),
            "/metrics" => self.refuse_without_token(&request.headers).unwrap_or_else(|| self.metrics()),
            _ if path.starts_with("/admin/") => {
                self.refuse_without_token(&request.headers).unwrap_or_else(|| self.admin(path, request.uri.query()))
            }
            _ => problem(StatusCode::NOT_FOUND, NOTHING_HERE),
        }
    }

    /// What an operator asks with a body.
    async fn posted(&self, path: &str, headers: &HeaderMap, body: Incoming) -> Response<Body> {
        if !matches!(path, "/admin/cache/purge" | "/admin/explain") {
            return problem(StatusCode::NOT_FOUND, NOTHING_HERE);
        }
        if let Some(refused) = intake::refuse_by_headers(headers) {
            return refused;
        }
        let taken = match intake::read_up_to(&self.router, body, BODY_BYTES_MAX).await {
            Ok(taken) => taken,
            Err(answer) => return *answer,
        };
        if let Err(fault) = scan::check(&taken.body) {
            return problem(StatusCode::BAD_REQUEST, &format!("The request cannot be read: {}.", fault.text()));
        }
        match path {
            "/admin/explain" => explain::answer(&self.router, &taken.body).await,
            _ => purge::answer(&self.router, &taken.body).await,
        }
    }

    /// Ready as long as it serves; what is degraded is named.
    fn readyz(&self) -> Response<Body> {
        if self.readiness.is_draining() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
        }
        let not_up = self.router.downstreams().iter().filter(|downstream| downstream.state().health != Health::Up);
        let mut lines = String::from("ready\n");
        for downstream in not_up {
            let state = downstream.state();
            let reason = state.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            lines.push_str(&format!("{} is {}{reason}\n", downstream.name, state.health.as_str()));
        }
        if let Some(link) = self.router.cache.redis().map(Redis::link).filter(|link| link.state != LinkState::Up) {
            let reason = link.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            lines.push_str(&format!("Redis is {}{reason}\n", word(link.state)));
        }
        text(StatusCode::OK, lines)
    }

    /// The answer for who does not show the token.
    fn metrics(&self) -> Response<Body> {
        telemetry::cache_figures(&self.router.cache.figures());
        self.router.cache.redis().iter().for_each(|redis| telemetry::redis_up(redis.is_up()));
        text(StatusCode::OK, telemetry::recorder().render())
    }

    fn refuse_without_token(&self, headers: &HeaderMap) -> Option<Response<Body>> {
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
        telemetry::refused_before_auth("bad_admin_token");
        let text = "Send `Authorization: Bearer` with the value of WEIR_ADMIN_TOKEN.";
        let mut response = problem(StatusCode::UNAUTHORIZED, text);
        let challenge = HeaderValue::from_static("Bearer realm=\"weir admin\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        Some(response)
    }

    fn admin(&self, path: &str, query: Option<&str>) -> Response<Body> {
        match path {
            "/admin/downstreams" => json_answer(&self.downstreams()),
            "/admin/tools" => json_answer(&json!({ "tools": self.router.tools() })),
            "/admin/audit" => self.audit(query),
            "/admin/cache" => json_answer(&self.cache()),
            _ => problem(StatusCode::NOT_FOUND, NOTHING_HERE),
        }
    }

    fn downstreams(&self) -> Value {
        let one = |downstream: &Arc<crate::Downstream>| {
            let (state, offer) = (downstream.state(), downstream.offer());
            let left_out: Vec<Value> = offer
                .iter()
                .flat_map(|offer| &offer.left_out)
                .map(|tool| json!({ "local_name": tool.local_name, "reason": tool.reason }))
                .collect();
            json!({
                "name": downstream.name, "kind": downstream.kind(), "health": state.health.as_str(),
                "reason": state.reason, "since": state.since,
                "tools": offer.as_ref().map_or(0, |offer| offer.tools.len()), "left_out": left_out,
            })
        };
        json!({ "downstreams": self.router.downstreams().iter().map(one).collect::<Vec<_>>() })
    }

    /// What the cache holds and does, in this process since its start.
    fn cache(&self) -> Value {
        let figures = self.router.cache.figures();
        let damaged: u64 = figures.damaged.iter().map(|(_, count)| count).sum();
        let redis = self.router.cache.redis().map(|redis| {
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

    fn audit(&self, query: Option<&str>) -> Response<Body> {
        let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("last="));
        let Some(most) = asked.map_or(Some(RECORDS_DEFAULT), |text| text.parse().ok()) else {
            return problem(StatusCode::BAD_REQUEST, "`last` is a whole number, as in /admin/audit?last=20.");
        };
        let records = self.router.audit().recent(most);
        let records: Vec<_> = records.iter().map(|record| &**record).collect();
        json_answer(&json!({ "records": records }))
    }
}

/// Serves operators until told to stop.
pub(crate) async fn serve(operator: Arc<Operator>, listener: TcpListener, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let Some(Ok(permit)) = stop.run_until_cancelled(connections.clone().acquire_owned()).await else { break };
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let operator = operator.clone();
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let operator = operator.clone();
                async move { Ok::<_, Infallible>(operator.respond(request).await) }
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

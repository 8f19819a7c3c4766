//! The operator's listener: probes and metrics for everybody on it, the rest for who has the token.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use adapters::Health;
use aws_lc_rs::constant_time;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    Router,
    front::{self, problem},
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

    fn respond(&self, request: &Request<Incoming>) -> Response<Body> {
        let (parts, path) = (request, request.uri().path());
        if let Some(refused) = front::refuse_strangers(&self.gatekeeper, parts.uri(), parts.headers()) {
            return refused;
        }
        if request.method() != Method::GET {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "Use GET.");
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.readyz(),
            "/metrics" if self.open_to_all => metrics(),
            "/metrics" => self.with_token(request, metrics),
            _ if path.starts_with("/admin/") => self.with_token(request, || self.admin(request, path)),
            _ => problem(
                StatusCode::NOT_FOUND,
                "There is nothing here: /healthz, /readyz, /metrics, /admin/downstreams, /admin/tools, /admin/audit.",
            ),
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
        text(StatusCode::OK, lines)
    }

    /// The answer for who shows the token.
    fn with_token(&self, request: &Request<Incoming>, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
        let Some(token) = &self.token else {
            return problem(StatusCode::FORBIDDEN, "Off: start Weir with WEIR_ADMIN_TOKEN set.");
        };
        let mut credentials = request.headers().get_all(header::AUTHORIZATION).iter();
        let only = credentials.next().filter(|_| credentials.next().is_none());
        let shown = only.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let right = |shown: &str| {
            constant_time::verify_slices_are_equal(shown.as_bytes(), token.expose_secret().as_bytes()).is_ok()
        };
        if shown.is_some_and(right) {
            return answer();
        }
        telemetry::refused_before_auth("bad_admin_token");
        let text = "Send `Authorization: Bearer` with the value of WEIR_ADMIN_TOKEN.";
        let mut response = problem(StatusCode::UNAUTHORIZED, text);
        let challenge = HeaderValue::from_static("Bearer realm=\"weir admin\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        response
    }

    fn admin(&self, request: &Request<Incoming>, path: &str) -> Response<Body> {
        match path {
            "/admin/downstreams" => json_answer(&self.downstreams()),
            "/admin/tools" => json_answer(&json!({ "tools": self.router.tools() })),
            "/admin/audit" => self.audit(request.uri().query()),
            _ => {
                problem(StatusCode::NOT_FOUND, "There is nothing here: /admin/downstreams, /admin/tools, /admin/audit.")
            }
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
                let response = operator.respond(&request);
                async move { Ok::<_, Infallible>(response) }
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

fn metrics() -> Response<Body> {
    text(StatusCode::OK, telemetry::recorder().render())
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json_answer(value: &impl serde::Serialize) -> Response<Body> {
    let text = serde_json::to_string(value).expect("the operator's answers have a JSON form");
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

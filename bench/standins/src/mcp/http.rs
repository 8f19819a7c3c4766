//! MCP over streamable HTTP, by rmcp's own service.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::model::ProtocolVersion;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::handler::Handler;
use super::{McpServer, Running};
use crate::listener::listen;

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

type Service = StreamableHttpService<Handler, LocalSessionManager>;
type Answer = Response<BoxBody<Bytes, Infallible>>;

pub(super) async fn serve(server: McpServer, bind: &str) -> Result<Running> {
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_legacy_session_mode(server.0.options.era.speaks_legacy())
        .enforce_origin_validation();
    let handler = Handler::new(server.clone(), None);
    let service = Service::new(move || Ok(handler.clone()), Arc::default(), config);
    listen(bind, "http", move |stream, hang_up| connection(server.clone(), service.clone(), stream, hang_up)).await
}

async fn connection(server: McpServer, service: Service, stream: TcpStream, hang_up: CancellationToken) {
    server.0.observed.update(|seen| {
        seen.connections_open += 1;
        seen.connections_total += 1;
    });
    let observed = server.clone();
    let answer = service_fn(move |request| {
        let (server, service) = (server.clone(), service.clone());
        async move { Ok::<_, Infallible>(answer(&server, &service, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    if let Some(Err(error)) = hang_up.run_until_cancelled(served).await {
        tracing::debug!(%error, "a connection broke");
    }
    observed.0.observed.update(|seen| seen.connections_open -= 1);
}

async fn answer(server: &McpServer, service: &Service, request: Request<Incoming>) -> Answer {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if request.uri().path() != "/mcp" {
        return refuse(StatusCode::NOT_FOUND, -32_600, "The endpoint is /mcp.");
    }
    if !server.admits(header(AUTHORIZATION.as_str())) {
        return refuse(StatusCode::UNAUTHORIZED, -32_600, "A bearer token is needed.");
    }
    // What a server of that time does with a version that it has never heard of (MCP 2025-11-25, basic/transports,
    // "Protocol Version Header").
    let too_new = header("mcp-protocol-version")
        .is_some_and(|version| version > ProtocolVersion::LATEST_WITH_INITIALIZE.as_str());
    if too_new && !server.0.options.era.speaks_modern() {
        return refuse(StatusCode::BAD_REQUEST, -32_600, "This version of the protocol is not known here.");
    }
    service.handle(request).await
}

fn refuse(status: StatusCode, code: i32, message: &str) -> Answer {
    let body = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": code, "message": message } });
    let mut answer = Response::new(Full::from(body.to_string()).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}

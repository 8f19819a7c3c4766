//! MCP over WebSockets: one JSON-RPC message in one text message, with the subprotocol `mcp`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::{RoleServer, ServiceExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::handler::Handler;
use super::{McpServer, Running};
use crate::listener::listen;

const SUBPROTOCOL: &str = "mcp";
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn serve(server: McpServer, bind: &str) -> Result<Running> {
    listen(bind, "ws", move |stream, hang_up| connection(server.clone(), stream, hang_up)).await
}

#[allow(clippy::result_large_err, reason = "the type that the handshake asks for")]
async fn connection(server: McpServer, stream: TcpStream, hang_up: CancellationToken) {
    let mut authorization = None;
    let upgrade = tokio_tungstenite::accept_hdr_async(stream, |request: &Request, response: Response| {
        authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        judge(&server, request, authorization.as_deref(), response)
    });
    let upgraded = tokio::select! {
        upgraded = tokio::time::timeout(UPGRADE_TIMEOUT, upgrade) => upgraded,
        () = hang_up.cancelled() => return,
    };
    let Ok(Ok(socket)) = upgraded else {
        tracing::debug!("no WebSocket came of a connection");
        return;
    };
    server.0.observed.update(|seen| {
        seen.connections_open += 1;
        seen.connections_total += 1;
    });
    let (sink, stream) = socket.split();
    let socket = Socket { sink: Arc::new(Mutex::new(sink)), stream, server: server.clone(), hang_up: hang_up.clone() };
    let handler = Handler::new(server.clone(), authorization);
    match handler.serve_with_ct(Gate::new(socket, server.0.options.era), hang_up).await {
        Ok(service) => {
            let _ = service.waiting().await;
        }
        Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
    }
    server.0.observed.update(|seen| seen.connections_open -= 1);
}

#[allow(clippy::result_large_err, reason = "the type that the handshake asks for")]
fn judge(
    server: &McpServer,
    request: &Request,
    authorization: Option<&str>,
    mut response: Response,
) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let offers_mcp = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL);
    let refused = if request.uri().path() != "/mcp" {
        Some((StatusCode::NOT_FOUND, "The endpoint is /mcp."))
    } else if !server.admits(authorization) {
        Some((StatusCode::UNAUTHORIZED, "A bearer token is needed."))
    } else if !offers_mcp {
        Some((StatusCode::BAD_REQUEST, "The subprotocol has to be mcp."))
    } else {
        None
    };
    if let Some((status, text)) = refused {
        let mut response = ErrorResponse::new(Some(text.to_owned()));
        *response.status_mut() = status;
        return Err(response);
    }
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

struct Socket {
    sink: Arc<Mutex<SplitSink<WebSocketStream<TcpStream>, Message>>>,
    stream: SplitStream<WebSocketStream<TcpStream>>,
    server: McpServer,
    hang_up: CancellationToken,
}

impl Transport<RoleServer> for Socket {
    type Error = Error;

    fn send(&mut self, item: ServerJsonRpcMessage) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let sink = self.sink.clone();
        let hang_up = self.hang_up.clone();
        async move {
            let text = serde_json::to_string(&item).expect("rmcp's messages are JSON");
            // After `drop_connections` not even the answers of cancelled calls may leave.
            let sent = hang_up.run_until_cancelled(async { sink.lock().await.send(Message::text(text)).await });
            sent.await.unwrap_or(Err(Error::ConnectionClosed))
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let next = self.hang_up.run_until_cancelled(self.stream.next()).await.flatten();
            let text = match next {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Ping(_))) => {
                    self.server.0.observed.update(|seen| seen.pings += 1);
                    continue;
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => {
                    // The caller is gone and with it every reason to go on with its calls.
                    self.hang_up.cancel();
                    return None;
                }
            };
            match serde_json::from_str(&text) {
                Ok(message) => return Some(message),
                Err(error) => {
                    let error = ErrorData::new(ErrorCode::PARSE_ERROR, format!("Not a message of MCP: {error}"), None);
                    tokio::spawn(self.send(ServerJsonRpcMessage::error(error, None)));
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        if self.hang_up.is_cancelled() { Ok(()) } else { self.sink.lock().await.close().await }
    }
}

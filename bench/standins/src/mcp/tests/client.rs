//! A client that speaks raw JSON, so that it shares no mistake with the server's library.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::mcp::{McpServer, stdio};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(super) struct Client {
    wire: Wire,
    next_id: u64,
}

enum Wire {
    WebSocket(Box<WebSocket>),
    Http(Box<Http>),
    Lines(Lines<BufReader<ReadHalf<DuplexStream>>>, WriteHalf<DuplexStream>),
}

struct Http {
    addr: SocketAddr,
    sender: SendRequest<Full<bytes::Bytes>>,
    session: Option<HeaderValue>,
    status: StatusCode,
    answer: Option<Value>,
}

pub(super) fn modern_meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "raw", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

pub(super) fn initialize() -> Value {
    json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "raw", "version": "1" } })
}

#[allow(clippy::result_large_err, reason = "the error of the library, which the test looks into")]
pub(super) async fn upgrade(url: &str, headers: &[(&'static str, &'static str)]) -> Result<WebSocket, Error> {
    let mut request = url.into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let (socket, response) = tokio_tungstenite::connect_async(request).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], "mcp");
    Ok(socket)
}

impl Client {
    pub(super) fn over(socket: WebSocket) -> Self {
        Self { wire: Wire::WebSocket(Box::new(socket)), next_id: 0 }
    }

    pub(super) async fn websocket(url: &str) -> Self {
        Self::over(upgrade(url, &[("sec-websocket-protocol", "mcp")]).await.expect("an upgrade"))
    }

    pub(super) async fn http(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("it listens");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let http = Http { addr, sender, session: None, status: StatusCode::OK, answer: None };
        Self { wire: Wire::Http(Box::new(http)), next_id: 0 }
    }

    pub(super) fn lines(server: McpServer) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (input, output) = tokio::io::split(theirs);
        tokio::spawn(stdio::serve(server, input, output));
        let (input, output) = tokio::io::split(ours);
        Self { wire: Wire::Lines(BufReader::new(input).lines(), output), next_id: 0 }
    }

    /// The status of the last HTTP answer.
    pub(super) fn status(&self) -> u16 {
        let Wire::Http(http) = &self.wire else { panic!("not HTTP") };
        http.status.as_u16()
    }

    pub(super) async fn initialize(&mut self) {
        let answer = self.ask("initialize", initialize()).await;
        assert!(answer["result"].is_object(), "{answer}");
        self.tell("notifications/initialized", json!({})).await;
    }

    /// The result of a tool.
    pub(super) async fn call(&mut self, name: &str, arguments: Value) -> Value {
        let mut answer = self.ask("tools/call", json!({ "name": name, "arguments": arguments })).await;
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].take()
    }

    /// Sends a request and returns the next message, which has to answer it.
    pub(super) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        let answer = self.next().await.expect("an answer");
        if answer["error"].is_null() {
            assert_eq!(answer["id"], id, "{answer}");
        }
        answer
    }

    /// Sends a request and returns its id.
    pub(super) async fn send(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = json!(self.next_id);
        self.write(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        id
    }

    pub(super) async fn tell(&mut self, method: &str, params: Value) {
        self.write(json!({ "jsonrpc": "2.0", "method": method, "params": params })).await;
    }

    /// The next message, or nothing where the other side hung up without a word.
    pub(super) async fn next(&mut self) -> Option<Value> {
        let next = async {
            match &mut self.wire {
                Wire::WebSocket(socket) => match socket.next().await {
                    Some(Ok(Message::Text(text))) => Some(serde_json::from_str(&text).expect("JSON")),
                    Some(Ok(other)) => panic!("{other:?}"),
                    Some(Err(_)) | None => None,
                },
                Wire::Http(http) => http.answer.take(),
                Wire::Lines(lines, _) => {
                    lines.next_line().await.expect("text").map(|line| serde_json::from_str(&line).expect("JSON"))
                }
            }
        };
        tokio::time::timeout(ANSWER_TIMEOUT, next).await.expect("in time")
    }

    async fn write(&mut self, message: Value) {
        match &mut self.wire {
            Wire::WebSocket(socket) => socket.send(Message::text(message.to_string())).await.expect("sent"),
            Wire::Http(http) => http.post(&message).await,
            Wire::Lines(_, output) => output.write_all(format!("{message}\n").as_bytes()).await.expect("sent"),
        }
    }
}

impl Http {
    async fn post(&mut self, message: &Value) {
        let mut request = Request::post("/mcp")
            .header(HOST, self.addr.to_string())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        if let Some(version) = message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str() {
            request = request
                .header("mcp-protocol-version", version)
                .header("mcp-method", message["method"].as_str().expect("a method"));
        }
        if let Some(name) = message["params"]["name"].as_str() {
            request = request.header("mcp-name", name);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let request = request.body(Full::from(message.to_string())).expect("a request");
        let answer = self.sender.send_request(request).await.expect("an answer");
        self.status = answer.status();
        self.session = answer.headers().get("mcp-session-id").cloned().or(self.session.take());
        let events = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        let text = std::str::from_utf8(&body).expect("text");
        // Of a stream of events only the last one matters here: it is the answer.
        let json =
            if events { text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back() } else { Some(text) };
        self.answer = json.filter(|json| !json.is_empty()).map(|json| serde_json::from_str(json).expect("JSON"));
    }
}

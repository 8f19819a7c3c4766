//! Asking a router, or a downstream itself, over HTTP/1.1, and telling what came: a right answer, a refusal, or something wrong.

mod closed;
mod paced;
mod samples;

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

pub(crate) use closed::{Load, Seen};
pub(crate) use paced::Paced;
pub(crate) use samples::{Kind, Samples};

/// The member of `_meta` by which every refusal of the router names what is full.
const REFUSAL: &[u8] = b"\"weir/limit\"";

/// What is asked, and what a right answer holds.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    authority: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    expected: Box<str>,
}

impl Target {
    /// A modern request for `method` to the endpoint `url`; a right answer holds the text `expected`.
    pub(crate) fn new(url: &str, method: &str, mut params: Value, expected: &str) -> Result<Self> {
        let uri: Uri = url.parse()?;
        let version = "2026-07-28";
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": { "name": "weir-bench", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let mut headers = vec![("mcp-protocol-version", version.to_owned()), ("mcp-method", method.to_owned())];
        if let Some(name) = params["name"].as_str() {
            headers.push(("mcp-name", name.to_owned()));
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string().into();
        Ok(Self {
            authority: uri.authority().context("no host in the URL")?.to_string(),
            headers,
            body,
            expected: expected.into(),
        })
    }

    /// A call of a tool.
    pub(crate) fn call(url: &str, tool: &str, arguments: &Value, expected: &str) -> Result<Self> {
        Self::new(url, "tools/call", json!({ "name": tool, "arguments": arguments }), expected)
    }

    /// The same for whoever has this API key.
    pub(crate) fn with_key(mut self, key: &str) -> Self {
        self.headers.push(("authorization", format!("Bearer {key}")));
        self
    }

    /// Opens a connection of its own.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender, target: self.clone() })
    }
}

/// One connection to a target.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    target: Target,
}

/// One answer, told apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) kind: Kind,
    /// What `Retry-After` says.
    pub(crate) retry_after: Option<Duration>,
}

impl Connection {
    /// Asks once and gives the answer's body.
    pub(crate) async fn ask(&mut self) -> Result<Bytes> {
        Ok(self.send().await?.into_body())
    }

    /// Asks once and tells what came.
    pub(crate) async fn hear(&mut self) -> Result<Heard> {
        let answer = self.send().await?;
        let kind = if self.is_right(answer.body()) {
            Kind::Right
        } else if answer.body().windows(REFUSAL.len()).any(|window| window == REFUSAL) {
            Kind::Refused
        } else {
            Kind::Wrong
        };
        let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Heard { kind, retry_after: retry_after.map(Duration::from_secs) })
    }

    pub(crate) fn is_right(&self, answer: &[u8]) -> bool {
        let expected = self.target.expected.as_bytes();
        answer.windows(expected.len()).any(|window| window == expected)
    }

    async fn send(&mut self) -> Result<Response<Bytes>> {
        let request = Request::post("/mcp")
            .header("host", &self.target.authority)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        let request = self.target.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(self.target.body.clone()))?).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}

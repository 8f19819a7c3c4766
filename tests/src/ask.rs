//! Requests of both eras, built up step by step, and answers read event by event.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    TestRouter,
    canary::{self, Holder},
    harness::{self, Answer, PATIENCE},
};

/// The config of a router in which everybody on loopback may use everything, with these MCP downstreams (name, URL), all of it reads.
pub fn open_house(downstreams: &[(&str, &str)]) -> Value {
    let one = |&(name, url): &(&str, &str)| {
        let settings = json!({
            "mcp": { "websocket": { "url": url } },
            "effects": [{ "match": "*", "effect": "read" }],
        });
        (name.to_owned(), settings)
    };
    json!({
        "identity": { "local": { "roles": ["all"] } },
        "policy": { "roles": { "all": { "allow": ["*"] } } },
        "downstreams": downstreams.iter().map(one).collect::<serde_json::Map<_, _>>(),
    })
}

/// Makes `keys.yaml` in a folder, with a key for each of these subjects and roles, and gives the keys.
pub fn keys(folder: &Path, holders: &[(&str, &[&str])]) -> Result<Vec<String>> {
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    for (subject, roles) in holders {
        let made = router::auth::new_key();
        records.push(json!({ "id": made.id, "hash": made.hash, "subject": subject, "roles": roles }));
        let key = made.key.expose_secret();
        // Its first part is its id, which everybody may see.
        canary::register("API key", Holder::Weir, key.splitn(3, '_').last().unwrap_or(key));
        keys.push(key.to_owned());
    }
    write_keys(folder, &records)?;
    Ok(keys)
}

/// Writes `keys.yaml` in a folder, readable by its owner alone.
pub fn write_keys(folder: &Path, records: &[Value]) -> Result<()> {
    crate::private_file(folder.join("keys.yaml"), json!({ "keys": records }).to_string())
}

/// One message to the endpoint.
#[derive(Debug, Clone)]
pub struct Ask {
    headers: Vec<(String, String)>,
    body: String,
}

impl Ask {
    /// A modern request with everything that the era asks for.
    pub fn modern(method: &str, params: Value) -> Self {
        let (headers, body) = harness::modern_request(None, method, params);
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { headers, body }.accept("application/json, text/event-stream").header("content-type", "application/json")
    }

    /// A legacy request outside of any session.
    pub fn legacy(method: &str, params: &Value) -> Self {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        Self::text(&body.to_string())
    }

    /// These very bytes.
    pub fn text(body: &str) -> Self {
        Self { headers: Vec::new(), body: body.to_owned() }
            .accept("application/json, text/event-stream")
            .header("content-type", "application/json")
    }

    /// A modern call of a tool.
    #[allow(clippy::needless_pass_by_value, reason = "a test writes the arguments in their place")]
    pub fn call(tool: &str, arguments: Value) -> Self {
        Self::modern("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// A legacy call of a tool.
    pub fn legacy_call(tool: &str, arguments: &Value) -> Self {
        Self::legacy("tools/call", &json!({ "name": tool, "arguments": arguments }))
    }

    /// A legacy notification.
    pub fn notification(method: &str, params: &Value) -> Self {
        Self::text(&json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string())
    }

    /// With one more header, also when there is one of this name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| given != name);
        self
    }

    /// With this header in the place of the one it has.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    /// With this `Accept`.
    pub fn accept(self, value: &str) -> Self {
        self.with("accept", value)
    }

    /// In this session.
    pub fn session(self, id: &str) -> Self {
        self.with("mcp-session-id", id)
    }

    /// With this API key.
    pub fn key(self, key: &str) -> Self {
        self.with("authorization", &format!("Bearer {key}"))
    }

    /// With this id.
    pub fn id(self, id: impl Into<Value>) -> Self {
        let id = id.into();
        self.change(|body| body["id"] = id)
    }

    /// With this progress token.
    pub fn token(self, token: impl Into<Value>) -> Self {
        let token = token.into();
        self.change(|body| body["params"]["_meta"]["progressToken"] = token)
    }

    /// With another body.
    pub fn change(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut body = serde_json::from_str(&self.body).expect("the body is JSON");
        change(&mut body);
        self.body = body.to_string();
        self
    }

    /// With a body of these very bytes.
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// With one text in the place of another in the body.
    pub fn replaced(mut self, from: &str, to: &str) -> Self {
        self.body = self.body.replace(from, to);
        self
    }

    /// The request as HTTP/1.1 has it on the wire.
    pub fn wire(&self, authority: &str) -> Vec<u8> {
        let mut head = format!("POST /mcp HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {}\r\n", self.body.len());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        [head.as_bytes(), b"\r\n", self.body.as_bytes()].concat()
    }
}

impl TestRouter {
    /// Sends a message and reads the answer to its end.
    pub async fn ask(&self, ask: &Ask) -> Result<Answer> {
        harness::read(self.begin(ask).await?).await
    }

    /// Sends a message to another path than `/mcp` and reads the answer to its end.
    pub async fn ask_at(&self, path: &str, ask: &Ask) -> Result<Answer> {
        let headers: Vec<_> = ask.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.send(Method::POST, path, &headers, ask.body.clone()).await
    }

    /// Sends a message and gives the answer as it begins.
    pub async fn begin(&self, ask: &Ask) -> Result<Response<Incoming>> {
        let headers: Vec<_> = ask.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.raw_post(&headers, Bytes::from(ask.body.clone())).await
    }

    /// The stream of a session.
    pub async fn listen(&self, session: &str) -> Result<Response<Incoming>> {
        self.raw_get(&[("accept", "text/event-stream"), ("mcp-session-id", session)]).await
    }

    /// Sends a message on a connection of its own, without waiting for an answer.
    pub async fn knock(&self, ask: &Ask) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.running().callers).await?;
        stream.write_all(&ask.wire(&self.authority())).await?;
        Ok(stream)
    }
}

/// Ends our side of the connection, and waits until the router has ended the other.
pub async fn hang_up(mut stream: TcpStream) -> Result<()> {
    stream.shutdown().await?;
    let mut rest = Vec::new();
    // A reset says the same.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.context("the router did not notice")?;
    ensure!(rest.is_empty(), "an answer came: {}", String::from_utf8_lossy(&rest));
    Ok(())
}

/// Sends bytes to an address and gives what comes back until the end, or until nothing more comes after one whole answer.
pub async fn speak(address: SocketAddr, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // Who is refused early cannot send the rest.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ =
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("the connection stays open")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The messages of an event stream, whole.
pub fn events(text: &str) -> Result<Vec<Value>> {
    let data = |event: &str| -> Option<String> {
        let lines: Vec<_> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    let messages = text.split("\n\n").filter_map(data);
    messages.map(|data| serde_json::from_str(&data).with_context(|| format!("not JSON: {data}"))).collect()
}

/// An event stream, read as it comes.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    /// The events of an answer that is a stream.
    pub fn of(response: Response<Incoming>) -> Result<Self> {
        ensure!(response.status() == StatusCode::OK, "{response:?}");
        let kind = response.headers().get("content-type").context("a content type")?;
        ensure!(kind == "text/event-stream", "{response:?}");
        Ok(Self { body: response.into_body(), text: String::new() })
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        tokio::time::timeout(PATIENCE, self.read()).await.context("no event came")?
    }

    async fn read(&mut self) -> Result<Option<Value>> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let message = events(event)?.pop();
                self.text = rest.to_owned();
                if message.is_some() {
                    return Ok(message);
                }
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.text.push_str(std::str::from_utf8(&data)?);
            }
        }
    }
}

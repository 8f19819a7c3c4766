//! A router on free ports with a config text, and a client that speaks plain HTTP to it.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::canary;

/// The token of the operator's listener of every [`TestRouter`].
pub const ADMIN_TOKEN: &str = "admin-token-of-the-tests";
/// No wait of a test lasts longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Writes a file that its owner alone can read, as Weir asks of secrets.
pub fn private_file(path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    canary::register_file(path.as_ref(), text.as_ref());
    std::fs::write(&path, text)?;
    Ok(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?)
}

/// A router that listens on free ports of loopback.
#[derive(Debug)]
pub struct TestRouter {
    running: Option<router::Running>,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Looked through when it ends, which is after the router and before the folder is removed.
    _left: canary::Folder,
    /// The folder that relative paths of the config start from.
    pub dir: TempDir,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl TestRouter {
    /// Starts a router with the config in `yaml`; its addresses are replaced by free ports of loopback.
    pub async fn start(yaml: &str) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, yaml).await
    }

    /// Starts a router whose config refers to files in `dir`.
    pub async fn start_in(dir: TempDir, yaml: &str) -> Result<Self> {
        Self::of(parse(yaml, dir.path())?, dir).await
    }

    /// Starts a router with a config that was read already, with free ports of loopback as its addresses.
    pub async fn of(mut loaded: config::Loaded, dir: TempDir) -> Result<Self> {
        canary::watch();
        let loopback = "127.0.0.1:0".parse().context("an address")?;
        (loaded.config.server.listen, loaded.config.server.admin) = (loopback, loopback);
        let mut surroundings = loaded.surroundings().map_err(|problems| anyhow::anyhow!("{problems}"))?;
        surroundings.admin_token = Some(SecretString::from(ADMIN_TOKEN));
        // On the heap: it is large, and every test holds it.
        let running = Box::pin(router::start(loaded, surroundings)).await?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { running: Some(running), client, _left: canary::Folder(dir.path().to_owned()), dir })
    }

    /// Starts a router and waits until every downstream has been listed.
    pub async fn ready(yaml: &str) -> Result<Self> {
        Self::ready_in(tempfile::tempdir()?, yaml).await
    }

    /// Starts a router whose config refers to files in `dir`, and waits until every downstream has been listed.
    pub async fn ready_in(dir: TempDir, yaml: &str) -> Result<Self> {
        let router = Self::start_in(dir, yaml).await?;
        anyhow::ensure!(router.running().catalog_ready(PATIENCE).await, "not every downstream was listed in time");
        Ok(router)
    }

    /// Writes the config in `yaml` to the file that the router was started with, and has it read again.
    pub async fn change(&self, yaml: &str) -> Result<(), Arc<router::Refused>> {
        let path = self.dir.path().join("weir.yaml");
        std::fs::write(&path, yaml).expect("the folder is the test's own");
        self.running().read_again(&path).await
    }

    /// The running router.
    pub fn running(&self) -> &router::Running {
        self.running.as_ref().expect("it runs until it is dropped")
    }

    /// Where callers are served, as `host:port`.
    pub fn authority(&self) -> String {
        self.running().callers.to_string()
    }

    /// The MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.running().callers)
    }

    /// Sends one request to the caller listener.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let request = request(method, &format!("http://{}{path}", self.running().callers), headers, body)?;
        read(self.client.request(request).await?).await
    }

    /// A GET on the MCP endpoint with these headers alone; gives the answer as it begins.
    pub async fn raw_get(&self, headers: &[(&str, &str)]) -> Result<http::Response<Incoming>> {
        Ok(self.client.request(request(Method::GET, &self.url(), headers, "")?).await?)
    }

    /// Sends a message to the MCP endpoint and gives the answer as it begins, so that a stream can be read piece by piece.
    pub async fn open(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<http::Response<Incoming>> {
        let standard = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        let headers: Vec<_> = standard.iter().chain(headers).copied().collect();
        Ok(self.client.request(request(Method::POST, &self.url(), &headers, body)?).await?)
    }

    /// Sends bytes to the MCP endpoint with these headers alone, and gives the answer as it begins.
    pub async fn raw_post(&self, headers: &[(&str, &str)], body: Bytes) -> Result<http::Response<Incoming>> {
        Ok(self.client.request(request(Method::POST, &self.url(), headers, body)?).await?)
    }

    /// Sends a message to the MCP endpoint with the headers that every message has.
    pub async fn post(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Answer> {
        read(self.open(headers, body).await?).await
    }

    /// A modern request, with everything that the era asks for.
    pub async fn modern(&self, key: Option<&str>, method: &str, params: Value) -> Result<Answer> {
        let (headers, body) = modern_request(key, method, params);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.post(&headers, body).await
    }

    /// Calls a tool in the modern era.
    pub async fn call(&self, key: Option<&str>, tool: &str, arguments: Value) -> Result<Answer> {
        self.modern(key, "tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Begins a legacy session and gives its id.
    pub async fn session(&self, key: Option<&str>, version: &str) -> Result<String> {
        let params =
            json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let authorization = key.map(|key| format!("Bearer {key}"));
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        let answer = self.post(&headers, body.to_string()).await?;
        let id = answer.headers.get("mcp-session-id").with_context(|| format!("no session id: {}", answer.text))?;
        Ok(id.to_str()?.to_owned())
    }

    /// A GET on the operator's listener, with the token.
    pub async fn admin(&self, path: &str) -> Result<Answer> {
        let authorization = format!("Bearer {ADMIN_TOKEN}");
        let url = format!("http://{}{path}", self.running().admin);
        read(self.client.request(request(Method::GET, &url, &[("authorization", &authorization)], "")?).await?).await
    }

    /// A POST of JSON on the operator's listener, with the token.
    pub async fn admin_post(&self, path: &str, body: Value) -> Result<Answer> {
        let authorization = format!("Bearer {ADMIN_TOKEN}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let url = format!("http://{}{path}", self.running().admin);
        read(self.client.request(request(Method::POST, &url, &headers, body.to_string())?).await?).await
    }

    /// The audit records, the newest first.
    pub async fn records(&self) -> Result<Vec<Value>> {
        let answer = self.admin("/admin/audit?last=1000").await?;
        Ok(answer.json()?["records"].as_array().context("records")?.clone())
    }

    /// Waits until `holds` says yes of the operator's list of downstreams.
    pub async fn downstreams_until(&self, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        until("the downstreams are as awaited", async || {
            let answer = self.admin("/admin/downstreams").await?.json()?;
            Ok(holds(&answer["downstreams"]).then(|| answer["downstreams"].clone()))
        })
        .await
    }

    /// Ends the router as SIGTERM does: with its grace and its drain.
    pub async fn drain(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Ends the router without a grace.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop_now().await;
        }
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.text).with_context(|| format!("not JSON: {}", self.text))
    }

    /// The `result` of a JSON-RPC answer; an `error` fails with its text.
    pub fn result(&self) -> Result<Value> {
        let mut answer = self.json()?;
        anyhow::ensure!(answer.get("result").is_some(), "no result: {}", self.text);
        Ok(answer["result"].take())
    }

    /// The code of a JSON-RPC error.
    pub fn error_code(&self) -> Option<i64> {
        self.json().ok()?["error"]["code"].as_i64()
    }
}

/// Headers and body of a modern request.
pub fn modern_request(key: Option<&str>, method: &str, mut params: Value) -> (Vec<(&'static str, String)>, String) {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let given = params["_meta"].as_object().cloned().unwrap_or_default();
    params["_meta"] = meta;
    for (name, value) in given {
        params["_meta"][name] = value;
    }
    let mut headers = vec![("mcp-protocol-version", "2026-07-28".to_owned()), ("mcp-method", method.to_owned())];
    if let Some(name) = params["name"].as_str() {
        headers.push(("mcp-name", name.to_owned()));
    }
    if let Some(key) = key {
        headers.push(("authorization", format!("Bearer {key}")));
    }
    (headers, json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string())
}

/// Asks again and again until there is an answer, for at most [`PATIENCE`].
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let asking = async {
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.with_context(|| format!("waited in vain until {what}"))?
}

/// A config from its text, relative paths starting from `base`.
pub fn parse(yaml: &str, base: &Path) -> Result<config::Loaded> {
    config::parse(yaml, "weir.yaml", base).map_err(|problems| anyhow::anyhow!("{problems}"))
}

/// Reads an answer to its end.
pub async fn read(response: http::Response<Incoming>) -> Result<Answer> {
    let (parts, body) = response.into_parts();
    let bytes = tokio::time::timeout(PATIENCE, body.collect()).await.context("the answer has no end")??.to_bytes();
    canary::look("an answer", &bytes);
    canary::look("the head of an answer", format!("{:?}", parts.headers).as_bytes());
    Ok(Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec())? })
}

pub(crate) fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(url);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Ok(request.body(Full::new(body.into()))?)
}

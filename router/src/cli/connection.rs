//! Weir from a caller's side: requests of MCP 2026-07-28 over one HTTP connection, in memory or over the network.

use std::{net::IpAddr, sync::Arc, time::Duration};

use adapters::json;
use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use http::{
    Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::ConfigBuilderExt as _;
use hyper_util::rt::TokioIo;
use router::Router;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

const PROTOCOL_VERSION: &str = "2026-07-28";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any deadline that a config usually allows: the router ends a call, not its caller.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(660);
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How many bytes may wait on the way to a router in this process.
pub(super) const IN_MEMORY_BYTES: usize = 64 << 10;
/// A list that goes on longer than this never ends.
const PAGES_MAX: usize = 1_000;

/// One connection to an MCP endpoint.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    requests_sent: u64,
}

/// What an endpoint refused or could not do, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
}

/// One tool as callers see it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedTool {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) input_schema: Value,
}

/// The result of a tool: its bytes as they came, and the parts that people read.
#[derive(Debug)]
pub(crate) struct ToolResult {
    pub(crate) raw: Box<RawValue>,
    pub(crate) is_error: bool,
    pub(crate) content: Vec<Value>,
    pub(crate) structured: Option<Value>,
}

impl Connection {
    /// Connects to the endpoint at `url`, `http://127.0.0.1:8080/mcp`.
    ///
    /// # Errors
    /// When the URL is none, or nobody answers there.
    pub(crate) async fn to_url(url: &str, key: Option<&str>) -> anyhow::Result<Self> {
        let form = || format!("`{url}` is not a URL such as http://127.0.0.1:8080/mcp");
        let uri: Uri = url.parse().with_context(form)?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => bail!(form()),
        };
        let host = uri.host().with_context(form)?.trim_matches(['[', ']']).to_owned();
        if key.is_some() && !secure && !is_loopback(&host) {
            bail!("the key of WEIR_API_KEY must not travel to {host} over plain http: use https, or unset it");
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authorization = key.map(bearer).transpose()?;
        let connecting = async {
            let tcp = TcpStream::connect((host.as_str(), port)).await?;
            tcp.set_nodelay(true)?;
            if !secure {
                return Self::over(tcp, uri, authorization).await;
            }
            let tls = rustls::ClientConfig::builder().with_native_roots()?.with_no_client_auth();
            let stream = TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(host.clone())?, tcp).await?;
            Self::over(stream, uri, authorization).await
        };
        let connected = timeout(CONNECT_TIMEOUT, connecting).await;
        let connected =
            connected.unwrap_or_else(|_| Err(anyhow!("no connection within {} s", CONNECT_TIMEOUT.as_secs())));
        connected.with_context(|| format!("nobody answers at {url}: start `weir serve`, or correct the URL"))
    }

    /// Speaks to a router in this process, as the caller `local`.
    pub(crate) async fn to_router(router: Arc<Router>) -> anyhow::Result<Self> {
        let (ours, theirs) = tokio::io::duplex(IN_MEMORY_BYTES);
        tokio::spawn(router::serve_io(router, theirs));
        Self::over(ours, Uri::from_static("http://localhost/mcp"), None).await
    }

    async fn over<I>(io: I, uri: Uri, authorization: Option<HeaderValue>) -> anyhow::Result<Self>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        // A connection that breaks shows in the request that needed it.
        tokio::spawn(connection);
        Ok(Self { sender, uri, authorization, requests_sent: 0 })
    }

    /// Every tool that the caller sees.
    pub(crate) async fn list_tools(&mut self) -> anyhow::Result<Vec<ListedTool>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            tools: Vec<ListedTool>,
            next_cursor: Option<String>,
        }
        let (mut tools, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let params = cursor.map(|cursor| format!("\"cursor\":{},", json::string(&cursor))).unwrap_or_default();
            let result = self.request("tools/list", None, &params).await?;
            let page: Page = serde_json::from_str(result.get()).context("the answer to tools/list is not one")?;
            tools.extend(page.tools);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(tools),
            }
        }
        bail!("the list of tools does not end")
    }

    /// Calls the tool `name` with these arguments, byte for byte. A result that says `isError` is a result; an `Err` means that there is none.
    pub(crate) async fn call_tool(&mut self, name: &str, arguments: &RawValue) -> anyhow::Result<ToolResult> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Parts {
            #[serde(default)]
            is_error: bool,
            #[serde(default)]
            content: Vec<Value>,
            structured_content: Option<Value>,
        }
        let params = format!("\"name\":{},\"arguments\":{},", json::string(name), arguments.get());
        let raw = self.request("tools/call", Some(name), &params).await?;
        let parts: Parts = serde_json::from_str(raw.get()).context("the answer to tools/call is not one")?;
        Ok(ToolResult { raw, is_error: parts.is_error, content: parts.content, structured: parts.structured_content })
    }

    /// `params`: members, each with a comma behind it.
    async fn request(&mut self, method: &str, name: Option<&str>, params: &str) -> anyhow::Result<Box<RawValue>> {
        // MCP 2026-07-28, basic: every request carries version and capabilities.
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
            "io.modelcontextprotocol/clientInfo": { "name": "weir", "version": env!("CARGO_PKG_VERSION") },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        self.requests_sent += 1;
        let id = self.requests_sent;
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}"_meta":{meta}}}}}"#);
        timeout(ANSWER_TIMEOUT, self.exchange(method, name, body))
            .await
            .map_err(|_| anyhow!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))?
    }

    async fn exchange(&mut self, method: &str, name: Option<&str>, body: String) -> anyhow::Result<Box<RawValue>> {
        let authority = self.uri.authority().context("the endpoint has no host")?.as_str();
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::post(path)
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", PROTOCOL_VERSION)
            .header("mcp-method", method);
        if let Some(name) = name {
            request = request.header("mcp-name", header_value(name));
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.sender.ready().await.context("the connection was closed")?;
        let answer = self
            .sender
            .send_request(request.body(Full::from(body))?)
            .await
            .context("the connection broke before an answer came")?;
        let status = answer.status();
        let is_stream =
            answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let bytes = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| anyhow!("the answer broke off: {error}"))?;
        read_answer(status, is_stream, &bytes.to_bytes())
    }
}

impl ToolResult {
    /// The text of the result; of other content, what it is.
    pub(crate) fn text(&self) -> String {
        let parts: Vec<String> = self.content.iter().map(content_text).collect();
        match &self.structured {
            Some(structured) if parts.is_empty() => format!("{structured:#}"),
            _ => parts.join("\n"),
        }
    }
}

fn content_text(content: &Value) -> String {
    let kind = content["type"].as_str().unwrap_or("unknown");
    match (kind, content["text"].as_str()) {
        ("text", Some(text)) => text.to_owned(),
        _ => format!("[{kind} content; --json shows it]"),
    }
}

fn read_answer(status: StatusCode, is_stream: bool, body: &[u8]) -> anyhow::Result<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Answer {
        result: Option<Box<RawValue>>,
        error: Option<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        code: i64,
        message: String,
    }
    if status == StatusCode::UNAUTHORIZED {
        bail!(
            "the endpoint does not accept the API key, or wants one: set WEIR_API_KEY to a key that is in its key file and has not expired"
        );
    }
    let text = std::str::from_utf8(body).context("the answer is not UTF-8")?;
    let message = if is_stream { last_event(text) } else { text.to_owned() };
    let Ok(answer) = serde_json::from_str::<Answer>(&message) else {
        ensure!(status.is_success(), "the endpoint answers {status}: {}", super::output::first_line(text));
        bail!("what the endpoint answers is not MCP; does its URL end in /mcp?");
    };
    match (answer.result, answer.error) {
        (_, Some(Error { code, message })) => Err(RpcError { code, message }.into()),
        (Some(result), None) => Ok(result),
        (None, None) => bail!("the endpoint's answer holds neither result nor error"),
    }
}

/// The data of the last event of a finished stream: the answer, after whatever was told on the way.
fn last_event(stream: &str) -> String {
    let stream = stream.replace("\r\n", "\n");
    let data = |event: &str| {
        event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect::<Vec<_>>().join("\n")
    };
    stream.rsplit("\n\n").map(data).find(|data| !data.is_empty()).unwrap_or_default()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bearer(key: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_| anyhow!("the API key holds characters that no key has; copy it again"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A name as a header carries it: MCP 2026-07-28, streamable HTTP, "Value Encoding": what is not plain ASCII goes as base64.
fn header_value(name: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic()) && !name.starts_with("=?base64?");
    if plain { name.to_owned() } else { format!("=?base64?{}?=", BASE64_STANDARD.encode(name)) }
}

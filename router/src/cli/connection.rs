//! Weir from a caller's side: requests of MCP 2026-07-28 over one HTTP connection, in memory or over the network.

use std::{sync::Arc, time::Duration};

use adapters::{json, sse};
use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use http::{
    Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
    uri::Scheme,
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::ConfigBuilderExt as _;
use hyper_util::rt::TokioIo;
use router::{
    Router,
    bridge::{self, BridgeError},
};
use rustls::pki_types::ServerName;
use secrecy::SecretString;
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
    /// When the URL is none, the key must not go there, or nobody answers.
    pub(crate) async fn to_url(url: &str, key: Option<&SecretString>) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().map_err(|_| BridgeError::UrlForm)?;
        let authorization = bridge::authorization(&uri, key)?;
        let sender = dial(&uri).await;
        let sender =
            sender.with_context(|| format!("nobody answers at {url}: start `weir serve`, or correct the URL"))?;
        Ok(Self { sender, uri, authorization, requests_sent: 0 })
    }

    /// Speaks to a router in this process, as the caller `local`.
    pub(crate) async fn to_router(router: Arc<Router>) -> anyhow::Result<Self> {
        let (ours, theirs) = tokio::io::duplex(IN_MEMORY_BYTES);
        tokio::spawn(router::serve_io(router, theirs));
        let uri = Uri::from_static("http://localhost/mcp");
        Ok(Self { sender: over(ours).await?, uri, authorization: None, requests_sent: 0 })
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
            let result = self.request("tools/list", &params, None).await?;
            let page: Page = serde_json::from_str(result.get()).context("the answer to tools/list is not one")?;
            tools.extend(page.tools);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(tools),
            }
        }
        bail!("the list of tools does not end")
    }

    /// Calls the tool `name` with these arguments, byte for byte. `schema`: its input schema, where it is known. A result that says `isError` is a result; an `Err` means that there is none.
    pub(crate) async fn call_tool(
        &mut self,
        name: &str,
        arguments: &RawValue,
        schema: Option<&Value>,
    ) -> anyhow::Result<ToolResult> {
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
        let raw = self.request("tools/call", &params, schema).await?;
        let parts: Parts = serde_json::from_str(raw.get()).context("the answer to tools/call is not one")?;
        Ok(ToolResult { raw, is_error: parts.is_error, content: parts.content, structured: parts.structured_content })
    }

    /// `params`: members, each with a comma behind it.
    async fn request(&mut self, method: &str, params: &str, schema: Option<&Value>) -> anyhow::Result<Box<RawValue>> {
        // MCP 2026-07-28, basic: every request carries version and capabilities.
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
            "io.modelcontextprotocol/clientInfo": { "name": "weir", "version": env!("CARGO_PKG_VERSION") },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        self.requests_sent += 1;
        let id = self.requests_sent;
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}"_meta":{meta}}}}}"#);
        timeout(ANSWER_TIMEOUT, self.exchange(body.into(), schema))
            .await
            .map_err(|_| anyhow!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))?
    }

    async fn exchange(&mut self, body: Bytes, schema: Option<&Value>) -> anyhow::Result<Box<RawValue>> {
        let authority = self.uri.authority().context("the endpoint has no host")?.as_str();
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::post(path)
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(Full::from(body.clone()))?;
        request.headers_mut().extend(bridge::request_headers(body, schema));
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.sender.ready().await.context("the connection was closed")?;
        let answer = self.sender.send_request(request).await.context("the connection broke before an answer came")?;
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

/// Connects to the host of `uri`.
pub(super) async fn dial(uri: &Uri) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let secure = uri.scheme() == Some(&Scheme::HTTPS);
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let connecting = async {
        let tcp = TcpStream::connect((host.as_str(), port)).await?;
        tcp.set_nodelay(true)?;
        if !secure {
            return over(tcp).await;
        }
        let tls = rustls::ClientConfig::builder().with_native_roots()?.with_no_client_auth();
        let stream = TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(host.clone())?, tcp).await?;
        over(stream).await
    };
    let connected = timeout(CONNECT_TIMEOUT, connecting).await;
    connected.unwrap_or_else(|_| Err(anyhow!("no connection within {} s", CONNECT_TIMEOUT.as_secs())))
}

async fn over<I>(io: I) -> anyhow::Result<SendRequest<Full<Bytes>>>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    // A connection that breaks shows in the request that needed it.
    tokio::spawn(connection);
    Ok(sender)
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
    let last = if is_stream { sse::last_event(body) } else { None };
    let Ok(answer) = serde_json::from_slice::<Answer>(last.as_deref().unwrap_or(body)) else {
        ensure!(status.is_success(), "the endpoint answers {status}: {}", super::output::first_line(text));
        bail!("what the endpoint answers is not MCP; does its URL end in /mcp?");
    };
    match (answer.result, answer.error) {
        (_, Some(Error { code, message })) => Err(RpcError { code, message }.into()),
        (Some(result), None) => Ok(result),
        (None, None) => bail!("the endpoint's answer holds neither result nor error"),
    }
}

//! Another MCP server.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientCertificate, Credential};
use crate::{ByteSize, Period, SecretRef};

/// Another MCP server. Exactly one of `websocket`, `http` and `stdio` says how it is reached.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["websocket"] }, { "required": ["http"] }, { "required": ["stdio"] }]))]
pub struct Mcp {
    /// The server's WebSocket endpoint.
    #[serde(default)]
    pub websocket: Option<WebSocket>,
    /// The server's streamable HTTP endpoint.
    #[serde(default)]
    pub http: Option<McpHttp>,
    /// A program that speaks MCP on its standard input and output.
    #[serde(default)]
    pub stdio: Option<Stdio>,
    /// Who shares a connection.
    #[serde(default)]
    pub sharing: Sharing,
    /// Which era of the protocol is spoken with it.
    #[serde(default)]
    pub era: Era,
    /// Whether it heeds `_meta["weir/idempotency_key"]`, as another Weir does: then writes carry a key, made from the caller and its key, so that
    /// those of two callers never are the same.
    #[serde(default)]
    pub idempotency_keys: bool,
    /// How long one attempt may take, within the deadline of the call.
    #[serde(default = "Mcp::attempt_timeout")]
    pub attempt_timeout: Period,
    /// How old the list of its tools may become before it is asked for again, where the server says nothing.
    #[serde(default = "Mcp::list_refresh")]
    pub list_refresh: Period,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, Copy)]
pub enum Transport<'a> {
    /// Over a WebSocket.
    WebSocket(&'a WebSocket),
    /// Over streamable HTTP.
    Http(&'a McpHttp),
    /// As a child process.
    Stdio(&'a Stdio),
}

impl Mcp {
    /// How it is reached; `None` where the config names none or several ways, which `check` refuses.
    #[must_use]
    pub fn transport(&self) -> Option<Transport<'_>> {
        match (&self.websocket, &self.http, &self.stdio) {
            (Some(websocket), None, None) => Some(Transport::WebSocket(websocket)),
            (None, Some(http), None) => Some(Transport::Http(http)),
            (None, None, Some(stdio)) => Some(Transport::Stdio(stdio)),
            _ => None,
        }
    }

    /// What Weir shows the server, where it shows anything.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        let websocket = self.websocket.as_ref().and_then(|websocket| websocket.credential.as_ref());
        websocket.or_else(|| self.http.as_ref().and_then(|http| http.credential.as_ref()))
    }

    fn attempt_timeout() -> Period {
        Period::s(30)
    }

    fn list_refresh() -> Period {
        Period::s(60)
    }
}

/// A WebSocket endpoint, subprotocol `mcp`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebSocket {
    /// `wss://host/path`; `ws://` is for hosts you trust the way to.
    pub url: String,
    /// What Weir shows the server to be let in.
    #[serde(default)]
    pub credential: Option<Credential>,
    /// Certificates of the authorities that vouch for it, PEM. Not stated: those that the system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The certificate that Weir shows it (TLS client authentication).
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
    /// How long connecting may take, with TLS and the opening handshake.
    #[serde(default = "WebSocket::connect_timeout")]
    pub connect_timeout: Period,
    /// How often a silent connection is asked for a sign of life; one that gives none by the next time is closed.
    #[serde(default = "WebSocket::ping_every")]
    pub ping_every: Period,
    /// The largest message that is accepted from the server; a larger one ends the connection.
    #[serde(default = "WebSocket::message_bytes_max")]
    pub message_bytes_max: ByteSize,
    /// With `sharing: per_caller` or `per_call`: the most connections that are open at once.
    #[serde(default = "WebSocket::connections_max")]
    pub connections_max: usize,
}

impl WebSocket {
    fn connect_timeout() -> Period {
        Period::s(1)
    }

    fn ping_every() -> Period {
        Period::s(8)
    }

    fn message_bytes_max() -> ByteSize {
        ByteSize::mib(16)
    }

    fn connections_max() -> usize {
        64
    }
}

/// A streamable HTTP endpoint.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McpHttp {
    /// `https://host/path`; `http://` is for hosts you trust the way to.
    pub url: String,
    /// What Weir shows the server to be let in.
    #[serde(default)]
    pub credential: Option<Credential>,
    /// Certificates of the authorities that vouch for it, PEM. Not stated: those that the system trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The certificate that Weir shows it (TLS client authentication).
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
    /// How long connecting may take, with TLS.
    #[serde(default = "McpHttp::connect_timeout")]
    pub connect_timeout: Period,
    /// The longest silence within an answer that has begun; keep-alive comments of an event stream end it.
    #[serde(default = "McpHttp::idle_timeout")]
    pub idle_timeout: Period,
    /// The largest message that is accepted from the server.
    #[serde(default = "McpHttp::message_bytes_max")]
    pub message_bytes_max: ByteSize,
    /// The most connections that are open at once.
    #[serde(default = "McpHttp::connections_max")]
    pub connections_max: usize,
}

impl McpHttp {
    fn connect_timeout() -> Period {
        Period::s(1)
    }

    fn idle_timeout() -> Period {
        Period::s(30)
    }

    fn message_bytes_max() -> ByteSize {
        ByteSize::mib(16)
    }

    fn connections_max() -> usize {
        64
    }
}

/// A program that speaks MCP on its standard input and output. Weir starts it, and starts it again when it ends.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stdio {
    /// The program and its arguments; no shell reads them. A name is looked for on the `PATH` that the program gets, a relative path
    /// begins at the folder of the config file.
    pub command: Vec<String>,
    /// Secrets that the program gets as environment variables. They are taken out of what it writes to the log.
    #[serde(default)]
    pub secrets: IndexMap<String, SecretRef>,
    /// Environment variables with these values.
    #[serde(default)]
    pub env: IndexMap<String, String>,
    /// Variables of Weir's own environment that are passed on, as far as they are set; no others are.
    #[serde(default = "Stdio::pass_env")]
    pub pass_env: Vec<String>,
    /// Where it runs; the folder of the config file where nothing is said.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// How long it may take to start and shake hands.
    #[serde(default = "Stdio::start_timeout")]
    pub start_timeout: Period,
    /// How long it is left alone after it failed five times within a minute.
    #[serde(default = "Stdio::quarantine")]
    pub quarantine: Period,
    /// How long it may take to end after its standard input was closed, before it gets SIGTERM; SIGKILL follows a second later.
    #[serde(default = "Stdio::stop_timeout")]
    pub stop_timeout: Period,
    /// The longest line that is accepted from it; a longer one ends it.
    #[serde(default = "Stdio::message_bytes_max")]
    pub message_bytes_max: ByteSize,
    /// With `sharing: per_caller` or `per_call`: the most processes at once, besides the one that lists the tools.
    #[serde(default = "Stdio::processes_max")]
    pub processes_max: usize,
}

impl Stdio {
    fn pass_env() -> Vec<String> {
        ["PATH", "HOME", "LANG", "TZ", "TMPDIR"].map(str::to_owned).to_vec()
    }

    fn start_timeout() -> Period {
        Period::s(10)
    }

    fn quarantine() -> Period {
        Period::s(60)
    }

    fn stop_timeout() -> Period {
        Period::s(2)
    }

    fn message_bytes_max() -> ByteSize {
        ByteSize::mib(16)
    }

    fn processes_max() -> usize {
        8
    }
}

/// Who shares a connection to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// All callers share one connection, told apart by ids of Weir's own. Where the credential is another one for each caller, this is `per_caller`.
    #[default]
    Shared,
    /// Each caller has a connection, for servers that keep state per connection.
    PerCaller,
    /// Each call has a connection of its own.
    PerCall,
}

impl Sharing {
    /// Who shares one with a server that is shown who calls: nobody with anybody.
    #[must_use]
    pub fn told(self, is_shown_who_calls: bool) -> Self {
        if is_shown_who_calls && self == Self::Shared { Self::PerCaller } else { self }
    }
}

/// Which era of MCP is spoken with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// Asks `server/discover` first and falls back to `initialize`.
    #[default]
    Auto,
    /// 2026-07-28 and later: no handshake.
    Modern,
    /// 2025-11-25 and before: `initialize`.
    Legacy,
}

//! Another MCP server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, Period, SecretRef};

/// Another MCP server, over WebSocket.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mcp {
    /// The server's WebSocket endpoint.
    pub websocket: WebSocket,
    /// Who shares a connection.
    #[serde(default)]
    pub sharing: Sharing,
    /// Which era of the protocol is spoken with it.
    #[serde(default)]
    pub era: Era,
    /// How long one attempt may take, within the deadline of the call.
    #[serde(default = "Mcp::attempt_timeout")]
    pub attempt_timeout: Period,
    /// How old the list of its tools may become before it is asked for again, where the server says nothing.
    #[serde(default = "Mcp::list_refresh")]
    pub list_refresh: Period,
}

impl Mcp {
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

/// What Weir shows a downstream to be let in. Never the caller's own credential.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Credential {
    /// Sent as `Authorization: Bearer …`.
    Bearer(SecretRef),
}

/// Who shares a connection to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// All callers share one connection, told apart by ids of Weir's own.
    #[default]
    Shared,
    /// Each caller has a connection, for servers that keep state per connection.
    PerCaller,
    /// Each call has a connection of its own.
    PerCall,
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

//! What a server answers before it comes to its own tools.

use serde_json::{Value, json};

use super::{Action, Incoming};
use crate::Era;

const MODERN: &str = "2026-07-28";
const LEGACY: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

pub(super) fn answer(era: Era, incoming: &Incoming) -> Vec<Action> {
    let (Some(method), Some(_)) = (&incoming.method, &incoming.id) else { return Vec::new() };
    vec![match method.as_str() {
        "server/discover" if era.speaks_modern() => Action::result(incoming, &discovered(era).to_string()),
        "initialize" if era.speaks_legacy() => Action::result(incoming, &initialized(incoming).to_string()),
        "initialize" => unsupported(incoming),
        "ping" if era.speaks_legacy() => Action::result(incoming, "{}"),
        _ => Action::error(incoming, -32_601, "Method not found"),
    }]
}

/// MCP 2026-07-28, server/discover.
fn discovered(era: Era) -> Value {
    let mut versions = vec![MODERN];
    if era.speaks_legacy() {
        versions.extend(LEGACY);
    }
    json!({
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": { "tools": { "listChanged": true } },
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "raw", "version": "1" } },
    })
}

/// MCP 2025-11-25, basic/lifecycle, "Version Negotiation": the version that was asked for, if it is known.
fn initialized(incoming: &Incoming) -> Value {
    let asked = requested(incoming);
    let version = LEGACY.iter().find(|version| asked.as_deref() == Some(version)).unwrap_or(&LEGACY[0]);
    json!({
        "protocolVersion": version,
        "capabilities": { "tools": { "listChanged": true } },
        "serverInfo": { "name": "raw", "version": "1" },
    })
}

/// MCP 2026-07-28, basic/versioning.
fn unsupported(incoming: &Incoming) -> Action {
    let id = incoming.id.as_deref().unwrap_or("null");
    let data = json!({ "supported": [MODERN], "requested": requested(incoming) });
    let error = json!({ "code": -32_022, "message": "Unsupported protocol version", "data": data });
    Action::Send(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
}

fn requested(incoming: &Incoming) -> Option<String> {
    let params: Value = serde_json::from_str(incoming.params.as_deref()?).ok()?;
    params["protocolVersion"].as_str().map(str::to_owned)
}

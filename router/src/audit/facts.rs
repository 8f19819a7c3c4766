//! What the config says of security, for the records that each start and each reload leave. No secret is in a config: it holds references.

use config::{Config, downstream::Kind};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{event::sections, hash::Hash};

/// A policy beyond this size stands in the record by its digest and its names alone.
const SECTION_BYTES_MAX: usize = 64 << 10;

/// The facts about a config in force.
pub(super) fn of(config: &Config) -> Value {
    let server = &config.server;
    let identity = &config.identity;
    let downstreams: Map<String, Value> = config
        .downstreams
        .iter()
        .map(|(name, downstream)| (name.to_string(), json!({ "kind": kind(downstream) })))
        .collect();
    json!({
        "weir": env!("CARGO_PKG_VERSION"),
        "config_digest": digest(&sections(config)),
        "sections": sections(config).iter().map(|(name, section)| (name.clone(), json!(digest(section)))).collect::<Map<_, _>>(),
        "listener": {
            "tls": server.tls.is_some(), "behind_tls_proxy": server.behind_tls_proxy, "loopback": server.listen.ip().is_loopback(),
            "admin_loopback": server.admin.ip().is_loopback(), "body_bytes_max": server.body_bytes_max.bytes(),
        },
        "identity": {
            "api_keys": identity.api_keys.is_some(), "jwt_issuers": identity.jwt.len(), "certificates": identity.mtls.is_some(),
            "signatures": identity.signatures.is_some(), "credentials_required": identity.requires_credentials(),
        },
        "policy": section(&config.policy, || config.policy.roles.keys().collect::<Vec<_>>()),
        "views": section(&config.views, || config.views.keys().collect::<Vec<_>>()),
        "masking": section(&config.masking, || config.masking.profiles.keys().collect::<Vec<_>>()),
        "limits": section(&config.limits, || config.limits.len()),
        "definitions": { "locked": config.definitions.lock.is_some(), "new": config.definitions.new },
        "audit": {
            "sealed": config.audit.recipient.is_some(), "recipient": config.audit.recipient, "anchored": config.audit.anchor.is_some(),
            "retention": config.audit.retention, "checkpoint_every": config.audit.checkpoint_every, "unwritable": config.audit.unwritable,
            "bodies": config.audit.bodies, "forwarded_to": config.audit.forward.len(),
        },
        "redis": config.redis.is_some(),
        "downstreams": downstreams,
    })
}

fn kind(downstream: &config::Downstream) -> &'static str {
    match downstream.kind() {
        Some(Kind::Postgres(_)) => "postgres",
        Some(Kind::Mainframe(_)) => "mainframe",
        Some(Kind::Ticketing(_)) => "ticketing",
        Some(Kind::Mcp(_)) => "mcp",
        None => "none",
    }
}

/// A section as it stands, or, where it is large, its digest and its names.
fn section<N: Serialize>(section: &impl Serialize, names: impl Fn() -> N) -> Value {
    let whole = serde_json::to_value(section).expect("a section has a JSON form");
    if whole.to_string().len() <= SECTION_BYTES_MAX {
        whole
    } else {
        json!({ "digest": digest(section), "names": names() })
    }
}

fn digest(setting: &impl Serialize) -> Hash {
    Hash::of(&serde_json::to_vec(setting).expect("a setting has a JSON form"))
}

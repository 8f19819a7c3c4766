//! Limits as callers see them: who is counted together, what a refusal says, and what all replicas count as one.
//!
//! Limits that a test exhausts grow back so slowly that no pause of the machine gives them anything.
#![allow(clippy::needless_pass_by_value, reason = "a test writes JSON in its place")]

mod answers;
mod gone;
mod kinds;
mod logins;
mod refused_calls;
mod shared;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Answer, TestRouter, write_keys};

/// Who has a key: name, tenant, role.
const HOLDERS: [(&str, Option<&str>, &str); 5] = [
    ("ann", Some("acme"), "support"),
    ("bob", Some("acme"), "support"),
    ("eve", Some("acme"), "admin"),
    ("cid", Some("other"), "support"),
    ("dan", None, "support"),
];

/// A router in front of a server with the tools `get`, `list` and `export`, and callers with keys.
struct House {
    router: TestRouter,
    server: RawServer,
    keys: Vec<String>,
}

impl House {
    async fn with(limits: Value) -> Result<Self> {
        Self::changed(limits, |_| {}).await
    }

    /// The same with a change of the config.
    async fn changed(limits: Value, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let (server, dir) = (server().await?, tempfile::tempdir()?);
        let keys = write_holders(dir.path())?;
        let mut config = config(&server, limits);
        change(&mut config);
        let router = TestRouter::ready_in(dir, &config.to_string()).await?;
        Ok(Self { router, server, keys })
    }

    fn key(&self, who: &str) -> &str {
        key(&self.keys, who)
    }

    async fn call(&self, who: &str, tool: &str) -> Result<Answer> {
        self.router.call(Some(self.key(who)), &format!("raw__{tool}"), json!({})).await
    }

    /// Whether a call is let through; else the name of the limit that refuses it.
    async fn tries(&self, who: &str, tool: &str) -> Result<Option<String>> {
        refused_by(&self.call(who, tool).await?)
    }

    /// How many calls came to the server.
    fn calls(&self) -> usize {
        self.server.received().iter().filter(|message| message.tool().is_some()).count()
    }
}

fn key<'a>(keys: &'a [String], who: &str) -> &'a str {
    let at = HOLDERS.iter().position(|(name, ..)| *name == who).expect("one of the holders");
    &keys[at]
}

/// The name of the limit that refused a call, if one did.
fn refused_by(answer: &Answer) -> Result<Option<String>> {
    let result = answer.result()?;
    if result["isError"] != true {
        return Ok(None);
    }
    let name = result["_meta"]["weir/limit"]["name"].as_str();
    Ok(Some(name.with_context(|| format!("another failure: {result}"))?.to_owned()))
}

async fn server() -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
            let tools: Vec<_> =
                ["get", "list", "export"].map(|name| json!({ "name": name, "inputSchema": schema })).into();
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[{"type":"text","text":"fine"}]}"#)]),
        _ => None,
    })
    .await
}

/// The config of a router in front of it; keys are in `keys.yaml`.
fn config(server: &RawServer, limits: Value) -> Value {
    let mut config = tests::open_house(&[("raw", &server.url)]);
    config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
    config["policy"] =
        json!({ "roles": { "support": { "allow": ["*"], "deny": ["raw__denied"] }, "admin": { "allow": ["*"] } } });
    config["limits"] = limits;
    config
}

/// Writes a key for each holder.
fn write_holders(dir: &Path) -> Result<Vec<String>> {
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    for (subject, tenant, role) in HOLDERS {
        let made = router::auth::new_key();
        let mut record = json!({ "id": made.id, "hash": made.hash, "subject": subject, "roles": [role] });
        if let Some(tenant) = tenant {
            record["tenant"] = json!(tenant);
        }
        records.push(record);
        keys.push(made.key.expose_secret().to_owned());
    }
    write_keys(dir, &records)?;
    Ok(keys)
}

/// The wait that an answer tells, in milliseconds.
fn wait_ms(answer: &Answer) -> Result<u64> {
    let json = answer.json()?;
    let said = [&json["result"]["_meta"], &json["_meta"]]
        .into_iter()
        .find_map(|meta| meta["weir/limit"]["retry_after_ms"].as_u64());
    said.with_context(|| format!("no wait: {json}"))
}

/// A header as text.
fn header<'a>(answer: &'a Answer, name: &str) -> Result<&'a str> {
    let value = answer.headers.get(name).with_context(|| format!("no {name}: {answer:?}"))?;
    Ok(value.to_str()?)
}

/// Whoever counts what was let through must see that something was not.
fn ensure_bites(refused: usize) -> Result<()> {
    ensure!(refused > 0, "nothing was refused, so that nothing is proven");
    Ok(())
}

//! Who may call what, as callers see it: over MCP, over the plain JSON API, in lists and in calls.

mod conditions;
mod names;
mod tested;
mod views;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Answer, Ask, TestRouter, open_house};

/// Servers by name, with tools that answer and take anything.
struct Scene {
    router: TestRouter,
    servers: Vec<(&'static str, RawServer)>,
    config: Value,
}

impl Scene {
    /// A router of servers with these tools, where each role is held by the owner of a key of its name.
    async fn new(downstreams: &[(&'static str, &[&str])], rest: &Value) -> Result<(Self, Vec<String>)> {
        let mut servers = Vec::new();
        for (name, tools) in downstreams {
            servers.push((*name, speaker(tools.iter().map(|&tool| tool.to_owned()).collect()).await?));
        }
        let urls: Vec<_> = servers.iter().map(|(name, server)| (*name, server.url.as_str())).collect();
        let mut config = open_house(&urls);
        config["identity"] = json!({ "api_keys": { "file": "keys.yaml" } });
        for (section, value) in rest.as_object().into_iter().flatten() {
            config[section] = value.clone();
        }
        let roles: Vec<String> = config["policy"]["roles"].as_object().context("roles")?.keys().cloned().collect();
        let held: Vec<[&str; 1]> = roles.iter().map(|role| [role.as_str()]).collect();
        let holders: Vec<(&str, &[&str])> = held.iter().map(|role| (role[0], role.as_slice())).collect();
        let dir = tempfile::tempdir()?;
        let keys = tests::keys(dir.path(), &holders)?;
        let router = TestRouter::ready_in(dir, &config.to_string()).await?;
        Ok((Self { router, servers, config }, keys))
    }

    /// How many calls reached a server.
    fn calls(&self) -> usize {
        let of = |server: &RawServer| server.received().iter().filter(|message| message.tool().is_some()).count();
        self.servers.iter().map(|(_, server)| of(server)).sum()
    }

    /// The record of the last call.
    async fn record(&self) -> Result<Value> {
        self.router.records().await?.first().cloned().context("no record")
    }
}

async fn speaker(tools: Vec<String>) -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, move |message: &Incoming| match message.method.as_deref() {
        Some("tools/list") => {
            let tools: Vec<_> = tools.iter().map(|name| json!({ "name": name, "inputSchema": {} })).collect();
            Some(vec![Action::result(message, &json!({ "tools": tools }).to_string())])
        }
        Some("tools/call") => Some(vec![Action::result(message, r#"{"content":[]}"#)]),
        _ => None,
    })
    .await
}

/// A legacy call: no header repeats the name, so that it may hold any characters.
async fn call(router: &TestRouter, path: &str, key: &str, tool: &str, arguments: &Value) -> Result<Answer> {
    router.ask_at(path, &Ask::legacy_call(tool, arguments).key(key)).await
}

async fn plain_call(router: &TestRouter, path: &str, key: &str, tool: &str, arguments: &Value) -> Result<Answer> {
    let authorization = format!("Bearer {key}");
    let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
    router.send(Method::POST, path, &headers, json!({ "name": tool, "arguments": arguments }).to_string()).await
}

/// The names that a list shows over MCP.
async fn listed(router: &TestRouter, path: &str, key: &str) -> Result<BTreeSet<String>> {
    names(&router.ask_at(path, &Ask::modern("tools/list", json!({})).key(key)).await?.result()?["tools"])
}

/// The names that a list shows on the plain API.
async fn plain_listed(router: &TestRouter, path: &str, key: &str) -> Result<BTreeSet<String>> {
    let authorization = format!("Bearer {key}");
    names(&router.send(Method::GET, path, &[("authorization", authorization.as_str())], "").await?.json()?["tools"])
}

fn names(tools: &Value) -> Result<BTreeSet<String>> {
    let tools = tools.as_array().with_context(|| format!("no tools: {tools}"))?;
    tools.iter().map(|tool| Ok(tool["name"].as_str().context("a tool without a name")?.to_owned())).collect()
}

/// An answer without what is its own: the name that was asked for, and the request's id and time.
fn anonymous(answer: &Answer, name: &str) -> Result<(u16, Vec<String>, Value)> {
    let quoted = json!(name).to_string();
    let mut told: Value = serde_json::from_str(&answer.text.replace(quoted.trim_matches('"'), "NAME"))?;
    if let Some(meta) = told["_meta"].as_object_mut() {
        meta.remove("weir/request_id");
    }
    let own = ["date", "content-length"];
    let headers = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    Ok((answer.status.as_u16(), headers.map(|(name, value)| format!("{name}: {value:?}")).collect(), told))
}

fn is_unknown(answer: &Answer) -> bool {
    answer.error_code() == Some(-32602) && answer.text.contains("Unknown tool")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_lists_and_calls_what_it_allows_and_nothing_else() -> Result<()> {
    let downstreams: [(&str, &[&str]); 3] = [
        ("crm", &["get_customer", "get_secret", "delete_customer"]),
        ("crm-2", &["get_customer", "search"]),
        ("files", &["read", "search", "crm__get_customer"]),
    ];
    let roles = json!({
        "support": { "allow": ["crm__get_*"], "deny": ["*secret"] },
        "one": { "allow": ["crm__get_customer"] },
        "readers": { "allow": ["*__read", "*search", "nobody__*"] },
        "admin": { "allow": ["*"] },
        "nothing": { "allow": [], "deny": [] },
    });
    let (scene, keys) = Scene::new(&downstreams, &json!({ "policy": { "roles": roles } })).await?;
    let all: Vec<String> = downstreams
        .iter()
        .flat_map(|(downstream, tools)| tools.iter().map(move |tool| format!("{downstream}__{tool}")))
        .collect();
    let matrix: [(&str, &[&str]); 5] = [
        ("support", &["crm__get_customer"]),
        ("one", &["crm__get_customer"]),
        ("readers", &["crm-2__search", "files__read", "files__search"]),
        ("admin", &[]),
        ("nothing", &[]),
    ];
    let mut made = 0;
    for ((role, allowed), key) in matrix.iter().zip(&keys) {
        let allowed: BTreeSet<String> = match *role {
            "admin" => all.iter().cloned().collect(),
            _ => allowed.iter().map(|&name| name.to_owned()).collect(),
        };
        let router = &scene.router;
        ensure!(listed(router, "/mcp", key).await? == allowed, "{role}");
        ensure!(plain_listed(router, "/v1/tools", key).await? == allowed, "{role}");
        for name in &all {
            let over_mcp = call(router, "/mcp", key, name, &json!({})).await?;
            let record = scene.record().await?;
            let plain = plain_call(router, "/v1/tools/call", key, name, &json!({})).await?;
            if allowed.contains(name) {
                ensure!(over_mcp.result().is_ok() && plain.status == 200, "{role} {name}: {over_mcp:?} {plain:?}");
                ensure!(
                    record["outcome"] == "ok" && record["rule"].as_str().is_some_and(|rule| rule.starts_with(role))
                );
                made += 2;
            } else {
                ensure!(is_unknown(&over_mcp) && plain.status == 404, "{role} {name}: {over_mcp:?} {plain:?}");
                ensure!(record["outcome"] == "denied" && record["denied_by"] == "role", "{record}");
            }
        }
    }
    ensure!(scene.calls() == made && made > 0, "a denied call reached a downstream");
    let metrics = scene.router.admin("/metrics").await?.text;
    ensure!(metrics.contains("weir_denied_total{reason=\"role\"}"), "{metrics}");
    Ok(())
}

//! Writes happen once: a ticketing service that keeps a ledger, a network that fails between it and the router, and callers that repeat.

mod history;
mod keys;
mod status;

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    proxy::{Fault, FaultProxy, Moment},
    redis::{PrivateRedis, RedisOptions},
    tickets::{Tickets, TicketsOptions, What},
};
use tempfile::TempDir;
use tests::{Ask, TestRouter};

const MASTER: &str = "5f0c2a9d7be14863a1d09e47c3b85f6290e4d1ab77c86f35";
const CREATE: &str = "tickets__create_ticket";
const STATUS: &str = "weir__operation_status";

/// A ticketing service behind a network that can fail.
struct Scene {
    tickets: Tickets,
    proxy: FaultProxy,
    redis: Option<PrivateRedis>,
}

impl Scene {
    async fn new(shared: bool) -> Result<Self> {
        let tickets = Tickets::start("127.0.0.1:0", TicketsOptions::default()).await?;
        let proxy = FaultProxy::start(tickets.addr).await?;
        let redis = if shared { Some(PrivateRedis::start(RedisOptions::default()).await?) } else { None };
        Ok(Self { tickets, proxy, redis })
    }

    /// A router before it. `duplicate_label` says whether it can look for what it wrote.
    async fn router(&self, duplicate_label: bool, change: impl FnOnce(&mut Value)) -> Result<TestRouter> {
        let mut config = self.config(duplicate_label);
        config["identity"] = json!({ "local": { "roles": ["all"] } });
        change(&mut config);
        let router = TestRouter::ready_in(self.folder()?, &config.to_string()).await?;
        let is_up = |all: &Value| all.as_array().into_iter().flatten().all(|one| one["health"] == "up");
        router.downstreams_until(is_up).await?;
        Ok(router)
    }

    fn config(&self, duplicate_label: bool) -> Value {
        let url = format!("http://{}", self.proxy.addr());
        // What is looked at here is what becomes of each write, not when the service is left alone.
        let patient = json!({ "failures_in_a_row": 1_000_000, "attempts_min": 1_000_000 });
        let ticketing = json!({ "provider": "jira", "base_url": url, "duplicate_label": duplicate_label, "default_project": "SUP", "attempt_timeout": "2s" });
        let mut config = json!({
            "policy": { "roles": { "all": { "allow": ["*"] }, "other": { "allow": ["*"] } } },
            "downstreams": { "tickets": { "ticketing": ticketing, "breaker": patient } },
        });
        if self.redis.is_some() {
            config["redis"] = json!({ "url": { "file": "redis_url" }, "command_timeout": "1s", "value_timeout": "2s" });
            config["secrets"] = json!({ "master": { "file": "master" } });
        }
        config
    }

    fn folder(&self) -> Result<TempDir> {
        let dir = tempfile::tempdir()?;
        if let Some(redis) = &self.redis {
            tests::private_file(dir.path().join("redis_url"), redis.url())?;
            tests::private_file(dir.path().join("master"), MASTER)?;
        }
        Ok(dir)
    }

    /// How many tickets were created by their titles.
    fn created(&self) -> HashMap<String, usize> {
        let mut created = HashMap::new();
        for entry in self.tickets.seen().ledger.iter().filter(|entry| entry.what == What::Created) {
            *created.entry(entry.body["fields"]["summary"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        created
    }
}

fn create(title: &str) -> Ask {
    Ask::call(CREATE, json!({ "title": title }))
}

fn with_key(ask: Ask, key: &str) -> Ask {
    ask.change(|body| body["params"]["_meta"]["weir/idempotency_key"] = json!(key))
}

async fn ask(router: &TestRouter, ask: &Ask) -> Result<Value> {
    router.ask(ask).await?.result()
}

async fn status(router: &TestRouter, operation: &Value) -> Result<Value> {
    let result = ask(router, &Ask::call(STATUS, json!({ "operation_id": operation }))).await?;
    ensure!(result["isError"] != true, "{result}");
    Ok(result["structuredContent"].clone())
}

fn operation(result: &Value) -> &Value {
    &result["_meta"]["weir/operation_id"]
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

/// The record of the call with this id.
async fn record(router: &TestRouter, id: &Value) -> Result<Value> {
    router.records().await?.into_iter().find(|record| record["request_id"] == *id).context("a record")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_in_doubt_and_made_once() -> Result<()> {
    const CALLS: usize = 200;
    let scene = Scene::new(false).await?;
    let router = scene.router(false, |_| {}).await?;
    scene.proxy.set(Fault::Reset(Moment::AfterRequest)).await?;
    let calls = (0..CALLS).map(|number| {
        let router = &router;
        async move { ask(router, &create(&format!("lost {number}"))).await }
    });
    let results = futures_util::future::try_join_all(calls).await?;
    let records = router.records().await?;
    for result in &results {
        let id = operation(result);
        ensure!(result["isError"] == true && text(result).contains("is unknown"), "{result}");
        ensure!(id.is_string() && text(result).contains(id.as_str().unwrap_or_default()), "{result}");
        let record = records.iter().find(|record| record["request_id"] == *id).context("a record")?;
        ensure!(record["outcome"] == "outcome_unknown", "{record}");
        ensure!(status(&router, id).await?["state"] == "unknown", "{result}");
    }
    let in_doubt = records.iter().filter(|record| record["outcome"] == "outcome_unknown").count();
    let created = scene.created();
    ensure!(in_doubt == CALLS, "{in_doubt} records of calls in doubt");
    ensure!(created.len() == CALLS && created.values().all(|times| *times == 1), "void, or twice: {created:?}");
    Ok(())
}

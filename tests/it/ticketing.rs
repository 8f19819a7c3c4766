//! A ticketing system: the adapter against a Jira of exact answers, and the whole router in front of a stand-in that keeps a ledger.

mod exact;
mod script;
mod truth;
mod whole;

use std::{path::Path, sync::Arc, time::Duration};

use adapters::{Adapter, AdapterError, CallContext, Method, Reply, Request};
use anyhow::{Context as _, Result, bail, ensure};
use config::{Downstream, DownstreamName, Effect};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tests::contract::{self, Fixture, context};

use script::{Heard, Say, Script, usual};

/// How long anything here may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "s3cret-token-of-the-bot";

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept() -> Result<()> {
    let script = Script::start(|heard: &Heard| match heard.target.as_str() {
        target if target.contains("SUP-666/comment") => usual(heard),
        target if target.contains("SUP-666") => Say::Hang,
        target if target.contains("SUP-64") => Say::Json(200, json!({ "key": "x".repeat(100 << 10), "fields": {} })),
        target if target.contains("SUP-400") => Say::Json(400, json!({ "errorMessages": ["No."], "errors": {} })),
        _ => usual(heard),
    })
    .await?;
    let folder = tempfile::tempdir()?;
    tests::private_file(folder.path().join("token"), TOKEN)?;
    let settings = json!({
        "credential": { "basic": { "user": "bot@example.com", "password": { "file": "token" } } },
        "answer_bytes_max": "64KiB", "attempt_timeout": "5m",
    });
    let adapter = build(&script.url, &settings, folder.path())?;
    let unreachable = build("http://127.0.0.1:1", &settings, folder.path())?;
    contract::hold(&Contract { script, adapter, unreachable }).await
}

struct Contract {
    script: Script,
    adapter: Arc<dyn Adapter>,
    unreachable: Arc<dyn Adapter>,
}

impl Fixture for Contract {
    fn adapter(&self) -> Arc<dyn Adapter> {
        self.adapter.clone()
    }

    fn unreachable(&self) -> Arc<dyn Adapter> {
        self.unreachable.clone()
    }

    fn quick(&self) -> Request {
        request("get_ticket", &json!({ "id": "SUP-1" }))
    }

    fn slow(&self) -> Request {
        request("get_ticket", &json!({ "id": "SUP-666" }))
    }

    fn until_running(&self, count: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.script.wait_until(move |seen| seen.hanging == count))
    }

    fn oversized(&self) -> Request {
        request("get_ticket", &json!({ "id": "SUP-64" }))
    }

    fn bytes_max(&self) -> usize {
        64 << 10
    }

    fn refused(&self) -> Request {
        request("get_ticket", &json!({ "id": "SUP-400" }))
    }

    fn misfit(&self) -> Option<Request> {
        Some(request("get_ticket", &json!({ "id": "../../admin" })))
    }

    fn secrets(&self) -> Vec<String> {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        vec![TOKEN.to_owned(), BASE64_STANDARD.encode(format!("bot@example.com:{TOKEN}"))]
    }
}

/// An adapter in front of `url`, with more settings.
fn build(url: &str, more: &Value, base: &Path) -> Result<Arc<dyn Adapter>> {
    let mut settings = json!({ "provider": "jira", "base_url": url });
    for (key, value) in more.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    let downstream = Downstream { ticketing: Some(serde_json::from_value(settings)?), ..Downstream::default() };
    let name = DownstreamName::new("tickets").map_err(anyhow::Error::msg)?;
    Ok(adapters::build(&name, &downstream, &config::Sources::at(base), |_, _, _| {})?)
}

/// A call as the router hands it down.
fn request(tool: &str, arguments: &Value) -> Request {
    let params = json!({ "name": format!("tickets__{tool}"), "arguments": arguments }).to_string();
    let effect = config::downstream::Ticketing::effect_of(tool).unwrap_or(Effect::Write);
    let arguments = Some(arguments.to_string().into());
    Request { method: Method::CallTool, local_name: tool.into(), params: params.into(), arguments, effect }
}

/// The structured content of a call, which the text repeats.
async fn call(adapter: &dyn Adapter, tool: &str, arguments: &Value) -> Result<Value> {
    match adapter.call(&context(PATIENCE), request(tool, arguments)).await? {
        Reply::Complete(bytes) => {
            let result: Value = serde_json::from_slice(&bytes)?;
            ensure!(result.get("isError").is_none(), "{result}");
            let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().context("a text")?)?;
            ensure!(text == result["structuredContent"], "{result}");
            Ok(text)
        }
        other => bail!("not complete: {other:?}"),
    }
}

async fn failure(adapter: &dyn Adapter, ctx: &CallContext, tool: &str, arguments: &Value) -> Result<AdapterError> {
    match tokio::time::timeout(PATIENCE, adapter.call(ctx, request(tool, arguments))).await.context("stuck")? {
        Ok(reply) => bail!("no failure but {reply:?}"),
        Err(error) => Ok(error),
    }
}

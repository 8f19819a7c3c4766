//! What callers may not see, in everything that comes back: results of all kinds, errors, progress, cached and parted answers.

mod changes;
mod planted;
mod pseudonyms;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    raw::{Action, Incoming, RawServer},
};
use tests::{Answer, Ask, TestRouter};

/// A server whose tools answer what is put here: `read` gives it as its result, `fail` as an error; `get` and `write` repeat their arguments.
struct Scene {
    router: TestRouter,
    server: RawServer,
    says: Arc<Mutex<Value>>,
    config: Value,
    /// Of `low`, of whom much is masked; of `other`, who has the same role; of `high`, who sees everything.
    keys: Vec<String>,
}

impl Scene {
    async fn new(masking: &Value, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let says = Arc::new(Mutex::new(Value::Null));
        let server = server(says.clone()).await?;
        let mut config = config(&server.url, masking);
        change(&mut config);
        let dir = tempfile::tempdir()?;
        let keys = tests::keys(dir.path(), &[("low", &["low"]), ("other", &["low"]), ("high", &["high"])])?;
        let router = TestRouter::ready_in(dir, &config.to_string()).await?;
        Ok(Self { router, server, says, config, keys })
    }

    fn says(&self, what: Value) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// The answer to one of them; with it whatever was told before.
    async fn call(&self, who: usize, tool: &str, arguments: Value) -> Result<Answer> {
        self.router.ask(&Ask::call(&format!("crm__{tool}"), arguments).token("t").key(&self.keys[who])).await
    }

    async fn result(&self, who: usize, tool: &str, arguments: Value) -> Result<Value> {
        self.router.call(Some(&self.keys[who]), &format!("crm__{tool}"), arguments).await?.result()
    }

    /// The arguments of the last call that the server got.
    fn sent(&self) -> Result<Value> {
        let received = self.server.received();
        let last = received.iter().rev().find(|message| message.tool().is_some()).context("no call came")?;
        let params: Value = serde_json::from_str(last.params.as_deref().context("no params")?)?;
        Ok(params["arguments"].clone())
    }
}

const LOW: usize = 0;
const OTHER: usize = 1;
const HIGH: usize = 2;

fn config(url: &str, masking: &Value) -> Value {
    let gives_names = masking.to_string().contains("pseudonym");
    let accepts = if gives_names { json!({ "/customer": "cust", "/filter/ids/0": "cust" }) } else { json!({}) };
    json!({
        "identity": { "api_keys": { "file": "keys.yaml" } },
        "limits": [{ "name": "many", "per": "address", "rate": "1000/s" }],
        "policy": { "roles": {
            "low": { "allow": ["*"], "masking": "low" },
            "high": { "allow": ["*"] },
        } },
        "masking": masking,
        "downstreams": { "crm": {
            "mcp": { "websocket": { "url": url } },
            "effects": [{ "match": "write", "effect": "write" }, { "match": "*", "effect": "read" }],
            "tools": { "get": { "accepts": accepts } },
        } },
    })
}

async fn server(says: Arc<Mutex<Value>>) -> Result<RawServer> {
    RawServer::start(Era::ModernOnly, move |message: &Incoming| {
        let params: Value = serde_json::from_str(message.params.as_deref().unwrap_or("null")).unwrap_or_default();
        let said = says.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (message.method.as_deref(), message.tool().as_deref()) {
            (Some("tools/list"), _) => {
                let numbers = json!({ "type": "object", "properties": { "id": { "type": "integer" } } });
                let get = json!({ "type": "object", "properties": { "customer": { "type": ["integer", "string"] } } });
                let tools = json!({ "tools": [
                    { "name": "read", "inputSchema": { "type": "object" }, "outputSchema": numbers },
                    { "name": "fail", "inputSchema": { "type": "object" } },
                    { "name": "get", "inputSchema": get },
                    { "name": "write", "inputSchema": { "type": "object" } },
                ] });
                Some(vec![Action::result(message, &tools.to_string())])
            }
            (_, Some("read")) => {
                let token = &params["_meta"]["progressToken"];
                let progress = json!({ "progressToken": token, "progress": 1, "message": said["told"] });
                let notice = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": progress });
                let told = (!token.is_null() && !said["told"].is_null()).then(|| Action::Send(notice.to_string()));
                let result = said.get("result").unwrap_or(&said).to_string();
                Some(told.into_iter().chain([Action::result(message, &result)]).collect())
            }
            (_, Some("fail")) => Some(vec![Action::error(message, -32000, said.as_str().unwrap_or_default())]),
            (_, Some("get" | "write")) => {
                let arguments = &params["arguments"];
                let text = format!("found {} and {arguments}", arguments["customer"]);
                let result =
                    json!({ "content": [{ "type": "text", "text": text }], "structuredContent": { "found": arguments } });
                Some(vec![Action::result(message, &result.to_string())])
            }
            _ => None,
        }
    })
    .await
}

/// A profile with these rules under the name that the role has.
fn profile(rules: &Value) -> Value {
    json!({ "profiles": { "low": { "rules": rules } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_answer_breaks_no_promise_and_says_in_the_record_what_was_masked() -> Result<()> {
    let rules = json!([{ "path": "$..id", "with": "redact" }, { "detect": ["email"], "with": "partial" }]);
    let scene = Scene::new(&profile(&rules), |_| {}).await?;
    scene.says(json!({ "content": [], "structuredContent": { "id": 4711, "mail": "ada@example.com", "n": 1 } }));
    let low = scene.result(LOW, "read", json!({})).await?;
    ensure!(low["structuredContent"] == json!({ "id": "[redacted]", "mail": "a…@example.com", "n": 1 }), "{low}");
    let record = scene.router.records().await?.into_iter().next().context("no record")?;
    ensure!(record["masking"] == "low", "{record}");
    ensure!(record["masked"] == json!({ "low.rules[0]": 1, "low.rules[1]": 1 }), "{record}");
    ensure!(!record.to_string().contains("ada@"), "{record}");

    let high = scene.result(HIGH, "read", json!({})).await?;
    ensure!(high["structuredContent"]["id"] == 4711, "{high}");
    let record = scene.router.records().await?.into_iter().next().context("no record")?;
    ensure!(record["masking"].is_null() && record["masked"].is_null(), "{record}");

    for (who, promises) in [(LOW, false), (HIGH, true)] {
        let listed = scene.router.modern(Some(&scene.keys[who]), "tools/list", json!({})).await?.result()?;
        let tools = listed["tools"].as_array().context("tools")?;
        let read = tools.iter().find(|tool| tool["name"] == "crm__read").context("read")?;
        ensure!(read.get("outputSchema").is_some() == promises, "{read}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_looked_into_is_refused_where_the_profile_is_strict() -> Result<()> {
    let masking =
        json!({ "profiles": { "low": { "rules": [{ "detect": ["email"], "with": "redact" }], "strict": true } } });
    let scene = Scene::new(&masking, |_| {}).await?;
    let image =
        json!({ "content": [{ "type": "image", "data": "iVBORw0KGgoAAAANSUhEUg==", "mimeType": "image/png" }] });
    scene.says(image.clone());
    let refused = scene.result(LOW, "read", json!({})).await?;
    ensure!(refused["isError"] == true && refused.to_string().contains("cannot be looked into"), "{refused}");
    ensure!(!refused.to_string().contains("iVBOR"), "{refused}");
    ensure!(scene.router.records().await?[0]["outcome"] == "unmaskable");
    let seen = scene.result(HIGH, "read", json!({})).await?;
    ensure!(seen["content"] == image["content"], "{seen}");
    scene.says(json!({ "content": [{ "type": "text", "text": "hello" }] }));
    ensure!(scene.result(LOW, "read", json!({})).await?["content"][0]["text"] == "hello");
    Ok(())
}

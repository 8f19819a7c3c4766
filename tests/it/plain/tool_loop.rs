//! The tool loop that the documentation shows, with a stub in the place of the model.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tests::{PATIENCE, TestRouter};
use tokio::{net::TcpListener, process::Command};

use super::{config, server};

const DOCS: &str = include_str!("../../../docs/api.md");

#[tokio::test(flavor = "multi_thread")]
async fn the_loop_of_the_documentation_uses_tools_and_tells_the_model_what_failed() -> Result<()> {
    let server = server().await?;
    let router = TestRouter::ready(&config(&server).to_string()).await?;
    let model = Model::start().await?;
    let program = DOCS.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).context("no Python")?;
    let running = Command::new("python3")
        .args(["-c", program])
        .env("WEIR_URL", format!("http://{}", router.authority()))
        .env("ANTHROPIC_BASE_URL", &model.url)
        .envs([("ANTHROPIC_API_KEY", "none"), ("MODEL", "stub"), ("QUESTION", "Is it fine?")])
        .env_remove("WEIR_API_KEY")
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(PATIENCE, running).await.context("the loop does not end")?;
    let done = done.context("python3 cannot be run: install the package python3")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    ensure!(done.stdout == b"It is fine.\n", "{}", String::from_utf8_lossy(&done.stdout));

    let asked = model.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(asked.len() == 2, "{asked:?}");
    let tools = asked[0]["tools"].as_array().context("no tools")?;
    ensure!(tools.iter().any(|tool| tool["name"] == "raw__fine" && tool["input_schema"]["type"] == "object"));
    ensure!(tools.iter().all(|tool| tool["name"] != "raw__denied"));
    let results = &asked[1]["messages"][2]["content"];
    let told = |index: usize| results[index]["content"].as_str().unwrap_or_default().to_owned();
    ensure!(results[0]["tool_use_id"] == "t0" && results[0]["is_error"] == false, "{results}");
    ensure!(told(0).contains("9007199254740993"), "{results}");
    ensure!(results[1]["is_error"] == true && told(1).contains("n is too small"), "{results}");
    ensure!(results[2]["is_error"] == true && told(2) == "Unknown tool: raw__denied", "{results}");
    Ok(())
}

/// A stub of the Messages API: it wants three tools, then it is content.
struct Model {
    url: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Model {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Arc::<Mutex<Vec<Value>>>::default();
        let seen = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                let service = service_fn(move |request| answer(seen.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { url, asked })
    }
}

async fn answer(asked: Arc<Mutex<Vec<Value>>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    ensure!(request.uri().path() == "/v1/messages" && request.headers().contains_key("anthropic-version"));
    let body: Value = serde_json::from_slice(&request.into_body().collect().await?.to_bytes())?;
    let turn = {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(body);
        asked.len()
    };
    let uses = ["raw__fine", "raw__misfits", "raw__denied"].iter().enumerate().map(
        |(index, name)| json!({ "type": "tool_use", "id": format!("t{index}"), "name": name, "input": { "n": 1 } }),
    );
    let message = if turn == 1 {
        json!({ "stop_reason": "tool_use", "content": uses.collect::<Vec<_>>() })
    } else {
        json!({ "stop_reason": "end_turn", "content": [{ "type": "text", "text": "It is fine." }] })
    };
    Ok(Response::new(Full::from(message.to_string())))
}

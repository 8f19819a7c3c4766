//! Tools that are awkward to call: big, slow, failing, oddly named, chatty.

use std::sync::Mutex;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, ErrorData, MetaObject, ProgressNotificationParam, Tool};
use rmcp::service::RequestContext;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::McpServer;
use super::handler::{Answer, arguments, refusal, structured, tool};

/// A tool name of 75 characters: legal by the specification, too long for the model APIs.
pub const LONG_NAME: &str = "reconcile_settlement_batches_across_acquirers_with_partial_refund_carryover";
/// Names that somebody in the chain will stumble over. Each tool answers its own name.
const ODD_NAMES: &[&str] =
    &["dots.in.name", "slash/name", "a__b", "__leading", "ünïcode", "CaseTwin", "casetwin", LONG_NAME];

const RESULT_BYTES_MAX: usize = 64 << 20;
const STEPS_MAX: u32 = 10_000;
const TOGETHER_MAX: usize = 1_000;
const TOGETHER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two answers that are given in a certain order.
const ANSWER_GAP: Duration = Duration::from_millis(1);

/// The calls of `echo` that wait for each other.
#[derive(Debug, Default)]
pub(super) struct Gathering(Mutex<Vec<oneshot::Sender<()>>>);

#[derive(Deserialize)]
struct BigArguments {
    bytes: usize,
}

#[derive(Deserialize)]
struct SlowArguments {
    ms: u64,
}

#[derive(Deserialize)]
struct FailArguments {
    message: Option<String>,
}

#[derive(Deserialize)]
struct ErrorArguments {
    code: Option<i32>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct ProgressArguments {
    steps: u32,
    #[serde(default)]
    step_ms: u64,
}

#[derive(Deserialize)]
struct EchoArguments {
    token: Value,
    #[serde(default)]
    delay_ms: u64,
    together: Option<usize>,
}

pub(super) fn tools() -> Vec<Tool> {
    let integer = json!({ "type": "integer", "minimum": 0 });
    let text = json!({ "type": "string" });
    let mut tools = vec![
        tool("big_result", "Answers with a text of so many bytes.", json!({ "bytes": integer }), &["bytes"]),
        tool("slow", "Answers after so many milliseconds.", json!({ "ms": integer }), &["ms"]),
        tool("fails", "Answers with an error of the tool.", json!({ "message": text }), &[]),
        tool(
            "protocol_error",
            "Answers with an error of the protocol.",
            json!({ "code": { "type": "integer" }, "message": text }),
            &[],
        ),
        tool(
            "progress",
            "Reports so many steps, then answers.",
            json!({ "steps": integer, "step_ms": integer }),
            &["steps"],
        ),
        tool(
            "echo",
            "Answers with the token: later, or together with other calls, of which the last is answered first.",
            json!({
                "token": {},
                "delay_ms": integer,
                "together": { "type": "integer", "minimum": 1, "maximum": TOGETHER_MAX },
            }),
            &["token"],
        ),
        tool(
            "numbers",
            "Answers with integers of 64 bits, and with the one it was given.",
            json!({ "value": { "type": "integer" } }),
            &[],
        )
        .with_meta(meta()),
    ];
    tools.extend(ODD_NAMES.iter().map(|name| tool(name, "Answers with its own name.", json!({}), &[])));
    tools
}

pub(super) async fn call(server: &McpServer, name: &str, value: Value, context: &RequestContext<RoleServer>) -> Answer {
    let outcome = match name {
        "big_result" => arguments(value).and_then(big_result),
        "slow" => slow(value).await,
        "fails" => arguments(value).and_then(|FailArguments { message }| Err(message.unwrap_or_else(always))),
        "protocol_error" => match arguments(value) {
            Ok(ErrorArguments { code, message }) => {
                let data = json!({ "from": "protocol_error" });
                return Err(ErrorData::new(
                    ErrorCode(code.unwrap_or(-32_603)),
                    message.unwrap_or_else(always),
                    Some(data),
                ));
            }
            Err(misfit) => Err(misfit),
        },
        "progress" => progress(value, context).await,
        "echo" => echo(server, value).await,
        "numbers" => Ok(numbers(&value)),
        name => Ok(text(name)),
    };
    Ok(outcome.unwrap_or_else(refusal))
}

fn big_result(BigArguments { bytes }: BigArguments) -> Result<CallToolResult, String> {
    if bytes > RESULT_BYTES_MAX {
        return Err(format!("{bytes} bytes are more than {RESULT_BYTES_MAX}."));
    }
    Ok(text("x".repeat(bytes)))
}

async fn slow(value: Value) -> Result<CallToolResult, String> {
    let SlowArguments { ms } = arguments(value)?;
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Ok(text(format!("after {ms} ms")))
}

async fn progress(value: Value, context: &RequestContext<RoleServer>) -> Result<CallToolResult, String> {
    let ProgressArguments { steps, step_ms } = arguments(value)?;
    if steps > STEPS_MAX {
        return Err(format!("{steps} steps are more than {STEPS_MAX}."));
    }
    let token = context.meta.get_progress_token();
    for step in 1..=steps {
        tokio::time::sleep(Duration::from_millis(step_ms)).await;
        if let Some(token) = &token {
            let notification = ProgressNotificationParam::new(token.clone(), step.into())
                .with_total(steps.into())
                .with_message(format!("step {step} of {steps}"));
            let sent = context.peer.notify_progress(notification).await;
            sent.map_err(|error| format!("The progress could not be reported: {error}."))?;
        }
    }
    Ok(structured(json!({ "steps": steps, "reported": token.is_some() })))
}

async fn echo(server: &McpServer, value: Value) -> Result<CallToolResult, String> {
    let EchoArguments { token, delay_ms, together } = arguments(value)?;
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    if let Some(together) = together {
        if !(1..=TOGETHER_MAX).contains(&together) {
            return Err(format!("{together} calls are not between 1 and {TOGETHER_MAX}."));
        }
        let released = tokio::time::timeout(TOGETHER_TIMEOUT, server.0.gathering.join(together)).await;
        if released.is_err() {
            return Err(format!("{together} calls did not come together within {} s.", TOGETHER_TIMEOUT.as_secs()));
        }
    }
    Ok(structured(json!({ "token": token })))
}

impl Gathering {
    /// Resolves when so many calls wait here, for the last one first.
    fn join(&self, together: usize) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.lock().expect("nothing panics while it holds this lock");
        waiting.retain(|other| !other.is_closed());
        waiting.push(sender);
        if waiting.len() >= together {
            let complete = std::mem::take(&mut *waiting);
            tokio::spawn(async move {
                for sender in complete.into_iter().rev() {
                    // Whoever is gone meanwhile is not missed.
                    let _ = sender.send(());
                    tokio::time::sleep(ANSWER_GAP).await;
                }
            });
        }
        receiver
    }
}

fn numbers(value: &Value) -> CallToolResult {
    let mut result = structured(json!({
        "unsafe_for_doubles": 9_007_199_254_740_993_i64,
        "smallest": i64::MIN,
        "largest": i64::MAX,
        "largest_unsigned": u64::MAX,
        "value": value["value"],
    }));
    result.meta = Some(meta());
    result
}

fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn always() -> String {
    "This tool always fails.".to_owned()
}

fn meta() -> MetaObject {
    let mut meta = MetaObject::new();
    meta.0.insert("example.com/revision".into(), json!(9_007_199_254_740_993_i64));
    meta.0.insert("example.com/owner".into(), json!({ "team": "payments", "on_call": true }));
    meta
}

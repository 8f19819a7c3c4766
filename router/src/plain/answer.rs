//! The form of every answer to `POST /v1/tools/call`: results as their bytes stand, failures as problems (RFC 9457) by the table in
//! `docs/errors.md`.

use adapters::{AdapterError, ErrorClass, Rejection, Reply, json};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::json as json_answer;
use crate::{
    call::{Answer, Answered},
    error::CallError,
    front::problem_with,
    mcp::{
        Version,
        answer::{is_tool_error, result_pieces},
    },
    server::Body,
};

const ASKED_BACK: &str = "The tool asked something back before it would go on, and this API has no way to answer it. Whether it did a part \
    of its work is not known here: look before repeating a write. Use a client that speaks MCP 2026-07-28.";
const GOES_ON: &str = "The tool goes on in the background, and this API has no way to follow it. It may still be carried out: do not simply \
    repeat it, look first whether it took effect. Use a client that speaks MCP 2026-07-28.";

/// JSON-RPC's code for arguments that the callee does not take.
const INVALID_PARAMS: i64 = -32602;
/// How much of a downstream's own message is repeated, in characters.
const SAID_CHARACTERS_MAX: usize = 300;

/// What a call came to.
pub(super) fn of_call(answer: Answer, request_id: Uuid) -> Response<Body> {
    match answer {
        Ok(answered) => match &answered.reply {
            Reply::Complete(bytes) | Reply::NotFound(bytes) => result(bytes.clone(), &answered, request_id),
            Reply::InputRequired(_) => inexpressible("input_required", ASKED_BACK, request_id),
            Reply::Task(_) => inexpressible("task", GOES_ON, request_id),
        },
        Err(error) => failure(&error, request_id),
    }
}

fn result(bytes: Bytes, answered: &Answered, request_id: Uuid) -> Response<Body> {
    let status = if is_tool_error(&bytes) { "error" } else { "ok" };
    let opening = format!("{{\"status\":\"{status}\",\"result\":");
    let said = answered.meta().into_iter().map(|(name, value)| format!(",{}:{value}", json::string(name)));
    let said = said.collect::<String>();
    let closing = format!(",\"_meta\":{{\"weir/request_id\":\"{request_id}\"{said}}}}}");
    let bytes = if let Some(note) = &answered.note { note.told_in(bytes) } else { bytes };
    // The kinds of results are words of MCP's newest revision: here there is one kind.
    let result = result_pieces(Reply::Complete(bytes), Version::NEWEST_LEGACY);
    json_answer(StatusCode::OK, std::iter::once(opening.into()).chain(result).chain([closing.into()]))
}

fn inexpressible(outcome: &str, text: &str, request_id: Uuid) -> Response<Body> {
    problem_with(StatusCode::NOT_IMPLEMENTED, text, members(outcome, Map::new(), request_id))
}

fn failure(error: &CallError, request_id: Uuid) -> Response<Body> {
    let mut text = error.text(request_id);
    let mut members = members(error.outcome(), error.meta(), request_id);
    if let CallError::Downstream { error, .. } = error
        && let Some(object) = rpc_error(error)
    {
        let said: String = object["message"].as_str().unwrap_or_default().chars().take(SAID_CHARACTERS_MAX).collect();
        text.push_str(&format!(" It said: {said}"));
        members.insert("error".to_owned(), object);
    }
    problem_with(status(error), &text, members)
}

fn members(outcome: &str, mut meta: Map<String, Value>, request_id: Uuid) -> Map<String, Value> {
    meta.insert("weir/request_id".to_owned(), json!(request_id));
    Map::from_iter([("outcome".to_owned(), json!(outcome)), ("_meta".to_owned(), meta.into())])
}

/// Statuses by what a program does next: 422 mend the call, 429 and 503 wait, 502 and 504 something behind Weir failed.
fn status(error: &CallError) -> StatusCode {
    match error {
        CallError::UnknownTool { .. } => StatusCode::NOT_FOUND,
        CallError::InvalidArguments { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        CallError::NotAllowed { .. } | CallError::InsufficientScope { .. } => StatusCode::FORBIDDEN,
        CallError::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
        CallError::KeyReused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        CallError::Withheld { .. } => StatusCode::CONFLICT,
        CallError::Unmaskable { .. } => StatusCode::BAD_GATEWAY,
        CallError::Downstream { error, .. } => status_of_downstream(error),
        CallError::OutcomeUnknown { .. } => StatusCode::BAD_GATEWAY,
        CallError::Uncounted { .. }
        | CallError::LeftAlone { .. }
        | CallError::Queued { .. }
        | CallError::Overloaded { .. }
        | CallError::KeysGone { .. }
        | CallError::NamesGone { .. }
        | CallError::Unannounced { .. }
        | CallError::Unaudited { .. }
        | CallError::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        CallError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn status_of_downstream(error: &AdapterError) -> StatusCode {
    match error.class {
        ErrorClass::InvalidArguments => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorClass::Rejected => match rpc_error(error).as_ref().and_then(|object| object["code"].as_i64()) {
            None | Some(INVALID_PARAMS) => StatusCode::UNPROCESSABLE_ENTITY,
            Some(_) => StatusCode::BAD_GATEWAY,
        },
        ErrorClass::Unreachable | ErrorClass::Busy | ErrorClass::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorClass::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorClass::ConnectionLost | ErrorClass::Protocol | ErrorClass::TooLarge | ErrorClass::Unauthorized => {
            StatusCode::BAD_GATEWAY
        }
    }
}

/// The `error` object of a downstream that speaks JSON-RPC.
fn rpc_error(error: &AdapterError) -> Option<Value> {
    match &error.rejection {
        Some(Rejection::Rpc(object)) => serde_json::from_slice(object).ok(),
        Some(Rejection::Text(_)) | None => None,
    }
}

#[cfg(test)]
mod tests;

//! Every failure of a call, free of HTTP and JSON-RPC. `mcp::answer` and `plain` give each its form on the wire.

use std::{sync::Arc, time::Duration};

use adapters::{AdapterError, ErrorClass, Rejection};
use serde_json::{Map, Value, json};

pub use crate::masking::Unmaskable;

use crate::auth::StepUp;

/// Why a call has no result. What may be told to the caller is in [`CallError::text`]; the rest is for the log and the audit record.
#[derive(Debug, Clone)]
pub enum CallError {
    /// There is no such tool, or the caller may not use it: from outside the two look the same.
    UnknownTool {
        /// The name as the caller sent it.
        name: String,
    },
    /// The arguments do not fit the tool's input schema.
    InvalidArguments {
        /// The tool's shown name.
        tool: Arc<str>,
        /// What is wrong, with the path of each mistake.
        mistakes: String,
    },
    /// The caller may not use the tool with the scopes of its token, and may know that it could with others.
    InsufficientScope {
        /// The tool's shown name.
        tool: Arc<str>,
        /// What to ask the authorization server for.
        needed: Arc<StepUp>,
    },
    /// The caller may use the tool, and not with these arguments.
    NotAllowed {
        /// The tool's shown name.
        tool: Arc<str>,
    },
    /// Over a limit of the config. Nothing was charged and nothing sent.
    Limited {
        /// The limit's name.
        limit: Arc<str>,
        /// Whom it counts, in words: `you`, `your tenant`, `the tool crm__export`.
        counts: String,
        /// When a call like this one will be let through; `None` for one that costs more than the limit ever has.
        retry_after_ms: Option<u64>,
    },
    /// A limit that is closed while Redis, which counts for it, cannot be asked.
    Uncounted {
        /// The limit's name.
        limit: Arc<str>,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The downstream is left alone: its breaker is open, it is closed by the calendar, or it asked for a rest. Nothing was sent.
    LeftAlone {
        /// The tool's shown name.
        tool: Arc<str>,
        /// The downstream's name.
        downstream: String,
        /// Why, in a sentence for the caller.
        why: String,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The line of calls that wait for a downstream is full, or so long that this call could not start in time. Nothing was sent.
    Queued {
        /// The tool's shown name.
        tool: Arc<str>,
        /// The downstream's name.
        downstream: String,
        /// How many of the caller's own (or its tenant's) calls were waiting before this one.
        waiting: usize,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The idempotency key was given before, with another tool or other arguments.
    KeyReused {
        /// Names the write that had the key.
        operation_id: String,
    },
    /// A call with an idempotency key, while what is known of keys cannot be asked or may be lost. Nothing was sent.
    KeysGone {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The write with this key was made, and its answer may not be shown: roles have changed since, or it was too large to keep.
    Withheld {
        /// Names the write.
        operation_id: String,
        /// What became of it: `done`, or `running` where the time of this call was over first.
        state: &'static str,
    },
    /// Too much at once.
    Overloaded {
        /// What is full, as the text and `weir/limit` name it.
        limit: String,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// A write that other replicas must hear of first, and they cannot be told now.
    Unannounced {
        /// The tool's shown name.
        tool: Arc<str>,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// No audit record of the call can be written now.
    Unaudited {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The downstream gave no answer, or said no.
    Downstream {
        /// The tool's shown name.
        tool: Arc<str>,
        /// The downstream's name.
        downstream: String,
        /// Why.
        error: Box<AdapterError>,
    },
    /// A write left, and no answer came: it may or may not have happened.
    OutcomeUnknown {
        /// The tool's shown name.
        tool: Arc<str>,
        /// Names the write in the audit record.
        operation_id: String,
        /// Why no answer came.
        error: Box<AdapterError>,
    },
    /// The answer came, and may not be given: what must not be seen cannot be taken out of it.
    Unmaskable {
        /// The tool's shown name.
        tool: Arc<str>,
        /// Why.
        why: Unmaskable,
    },
    /// An argument is a pseudonym, and Redis, which knows what it stands for, cannot be asked. Nothing was sent.
    NamesGone {
        /// The tool's shown name.
        tool: Arc<str>,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The caller withdrew the call.
    Cancelled,
    /// A bug of Weir's own.
    Internal,
}

impl CallError {
    /// The word in logs, metrics and audit records.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::UnknownTool { .. } => "unknown_tool",
            Self::InvalidArguments { .. } => "invalid_arguments",
            Self::NotAllowed { .. } => "not_allowed",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::Limited { .. } => "limited",
            Self::Uncounted { .. } => "uncounted",
            Self::LeftAlone { .. } => "left_alone",
            Self::Queued { .. } => "queue_full",
            Self::KeyReused { .. } => "key_reused",
            Self::KeysGone { .. } => "keys_gone",
            Self::Withheld { .. } => "withheld",
            Self::Overloaded { .. } => "overloaded",
            Self::Unannounced { .. } => "unannounced",
            Self::Unaudited { .. } => "unaudited",
            Self::Downstream { error, .. } => error.class.as_str(),
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::Unmaskable { .. } => "unmaskable",
            Self::NamesGone { .. } => "names_gone",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal_error",
        }
    }

    /// What happened and what to do next, in words for a model. Holds no secret and no inner text.
    #[must_use]
    pub fn text(&self, request_id: uuid::Uuid) -> String {
        match self {
            Self::UnknownTool { name } => format!("Unknown tool: {}", bounded(name)),
            Self::InvalidArguments { tool, mistakes } => {
                format!(
                    "The arguments do not fit {tool}. {mistakes}. Correct them by the tool's input schema and call again."
                )
            }
            Self::InsufficientScope { tool, needed } => format!(
                "{tool} was not called: it needs a token with the scope `{}`. Nothing was sent. Get such a token from the authorization server and \
                 call again.",
                needed.scopes
            ),
            Self::NotAllowed { tool } => format!(
                "Not done: you may use {tool}, but not with these arguments at this time. Nothing was sent. Trying the same again does not help: \
                 ask for less, or tell the operator the request id {request_id}."
            ),
            Self::Limited { limit, counts, retry_after_ms: Some(retry_after_ms) } => {
                let wait = seconds(*retry_after_ms);
                format!("Not done: {counts} reached the limit `{limit}`. Nothing was sent. Try again in {wait} s.")
            }
            Self::Limited { limit, counts, retry_after_ms: None } => format!(
                "Not done: this call costs more than the limit `{limit}` ever lets through for {counts}. Nothing was sent. Trying again does not help: \
                 tell the operator."
            ),
            Self::Uncounted { limit, retry_after_ms } => {
                let wait = seconds(*retry_after_ms);
                format!(
                    "Not done: the limit `{limit}` cannot be counted, since Redis cannot be reached. Nothing was sent. Try again in {wait} s."
                )
            }
            Self::LeftAlone { tool, why, retry_after_ms, .. } => {
                let wait = seconds(*retry_after_ms);
                format!("{tool} was not called: {why} Nothing was sent. Try again in {wait} s.")
            }
            Self::Queued { tool, downstream, waiting, retry_after_ms } => {
                let wait = seconds(*retry_after_ms);
                let before = match waiting {
                    0 => format!("{downstream} is as busy as it may be"),
                    1 => format!("1 call of yours waits for {downstream} already"),
                    waiting => format!("{waiting} calls of yours wait for {downstream} already"),
                };
                format!(
                    "{tool} was not called: {before}, and this one could not start in time. Nothing was sent. Try again in {wait} s."
                )
            }
            Self::KeyReused { operation_id } => format!(
                "Not done: this idempotency key was given before with another tool or other arguments (operation {operation_id}). Nothing was sent. \
                 Use a new key for a new write."
            ),
            Self::KeysGone { retry_after_ms } => {
                let wait = seconds(*retry_after_ms);
                format!(
                    "Not done: whether this idempotency key was used before cannot be known now. Nothing was sent. Try again in {wait} s with the same key."
                )
            }
            Self::Withheld { operation_id, state: "running" } => format!(
                "A write with this idempotency key still runs (operation {operation_id}). It was not made a second time. Call again with the same key \
                 for its answer."
            ),
            Self::Withheld { operation_id, state } => format!(
                "This idempotency key was used before: the write is {state} (operation {operation_id}), and its answer cannot be shown again. \
                 It was not made a second time."
            ),
            Self::Overloaded { limit, retry_after_ms } => {
                let wait = seconds(*retry_after_ms);
                format!(
                    "Not done: {limit} is at its limit of calls that run at once. Nothing was sent. Try again in {wait} s."
                )
            }
            Self::Unannounced { tool, retry_after_ms } => {
                let wait = seconds(*retry_after_ms);
                format!(
                    "Not done: {tool} changes what is cached, and Redis, by which all replicas hear of that, did not confirm it: \
                     it cannot be reached, or none of its replicas keeps up. Nothing was sent. Try again in {wait} s."
                )
            }
            Self::Unaudited { retry_after_ms } => {
                let wait = seconds(*retry_after_ms);
                format!(
                    "Not done: Weir does nothing of which it can write no audit record, and now it cannot. Nothing was sent. Try again in {wait} s."
                )
            }
            Self::Downstream { tool, downstream, error } => downstream_text(tool, downstream, error),
            Self::OutcomeUnknown { tool, operation_id, error } => format!(
                "The outcome of {tool} is unknown: the request was sent, but no answer came ({}). It may or may not have been carried out. \
                 Do not simply repeat it: look first whether it took effect, or ask weir__operation_status. Operation id: {operation_id}.",
                error.message.trim_end_matches('.')
            ),
            Self::Unmaskable { tool, why } => format!(
                "{tool} was carried out, but its answer cannot be shown to you: {why}. Do not repeat it for that alone; ask the operator about the \
                 masking of this tool (request id {request_id})."
            ),
            Self::NamesGone { tool, retry_after_ms } => {
                let wait = seconds(*retry_after_ms);
                format!(
                    "{tool} was not called: what the names in its arguments stand for cannot be looked up now. Nothing was sent. Try again in {wait} s."
                )
            }
            Self::Cancelled => "The call was cancelled.".to_owned(),
            Self::Internal => format!(
                "Internal error of the router; nothing more is known here. Tell the operator the request id {request_id}."
            ),
        }
    }

    /// How long to wait before the same call may do better.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Limited { retry_after_ms, .. } => *retry_after_ms,
            Self::Uncounted { retry_after_ms, .. }
            | Self::LeftAlone { retry_after_ms, .. }
            | Self::Queued { retry_after_ms, .. }
            | Self::KeysGone { retry_after_ms }
            | Self::NamesGone { retry_after_ms, .. }
            | Self::Overloaded { retry_after_ms, .. }
            | Self::Unaudited { retry_after_ms }
            | Self::Unannounced { retry_after_ms, .. } => Some(*retry_after_ms),
            Self::Downstream { error, .. } => error.retry_after.map(millis),
            Self::UnknownTool { .. }
            | Self::InvalidArguments { .. }
            | Self::NotAllowed { .. }
            | Self::InsufficientScope { .. }
            | Self::OutcomeUnknown { .. }
            | Self::Unmaskable { .. }
            | Self::KeyReused { .. }
            | Self::Withheld { .. }
            | Self::Cancelled
            | Self::Internal => None,
        }
    }

    /// What a program is to know of it: the members of `_meta`, the same on every surface.
    #[must_use]
    pub fn meta(&self) -> Map<String, Value> {
        let mut meta = Map::new();
        let limit = match self {
            Self::Overloaded { limit, .. } => Some(limit.as_str()),
            Self::Limited { limit, .. } | Self::Uncounted { limit, .. } => Some(&**limit),
            Self::Unannounced { .. } | Self::KeysGone { .. } | Self::NamesGone { .. } => Some("redis"),
            Self::Unaudited { .. } => Some("audit"),
            Self::Downstream { downstream, .. }
            | Self::LeftAlone { downstream, .. }
            | Self::Queued { downstream, .. } => Some(downstream.as_str()),
            Self::UnknownTool { .. }
            | Self::InvalidArguments { .. }
            | Self::NotAllowed { .. }
            | Self::InsufficientScope { .. }
            | Self::OutcomeUnknown { .. }
            | Self::Unmaskable { .. }
            | Self::KeyReused { .. }
            | Self::Withheld { .. }
            | Self::Cancelled
            | Self::Internal => None,
        };
        if let (Some(name), Some(retry_after_ms)) = (limit, self.retry_after_ms()) {
            meta.insert("weir/limit".to_owned(), json!({ "name": name, "retry_after_ms": retry_after_ms }));
        }
        if let Self::OutcomeUnknown { operation_id, .. }
        | Self::KeyReused { operation_id }
        | Self::Withheld { operation_id, .. } = self
        {
            meta.insert("weir/operation_id".to_owned(), json!(operation_id));
        }
        meta
    }
}

fn downstream_text(tool: &str, downstream: &str, error: &AdapterError) -> String {
    let mut text = match (&error.rejection, error.class) {
        (Some(Rejection::Text(text)), _) => format!("{tool} was refused: {text}"),
        (_, ErrorClass::InvalidArguments) => format!("The arguments do not fit {tool}. {}", error.message),
        (
            _,
            ErrorClass::Unreachable
            | ErrorClass::ConnectionLost
            | ErrorClass::Timeout
            | ErrorClass::Cancelled
            | ErrorClass::Busy
            | ErrorClass::Rejected
            | ErrorClass::Protocol
            | ErrorClass::TooLarge
            | ErrorClass::Unauthorized,
        ) => format!("{tool} gave no result. {}", error.message),
    };
    // Most adapters say it in their own words.
    let wait = error.retry_after.map(|wait| format!(" {} s", seconds(millis(wait))));
    if let Some(wait) = wait.filter(|wait| !text.contains(wait)) {
        let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
        text.push_str(&format!("{end} {downstream} asks to be left alone for{wait}."));
    }
    text
}

pub(crate) fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Whole seconds, as people and `Retry-After` count them; never so few that a caller comes back too early.
pub(crate) fn seconds(wait_ms: u64) -> u64 {
    wait_ms.div_ceil(1000).max(1)
}

/// A name from a caller, short enough to be repeated.
fn bounded(name: &str) -> String {
    const CHARACTERS_MAX: usize = 128;
    match name.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

//! What a message from a server is, found out without a typed model: whatever is handed up is a slice of the frame it came in.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Reply,
    json::{Object, unquote},
};

/// One message from a server. All text is part of the message.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming<'a> {
    /// The answer to a request with this id.
    Answer { id: &'a str, outcome: Outcome<'a> },
    /// A request of the server's own, which only the legacy era knows.
    Question { id: &'a str, method: Cow<'a, str> },
    /// A notification.
    Notification { method: Cow<'a, str>, params: Option<&'a str> },
    /// An error that does not say whose it is, as JSON-RPC gives for what a server could not make out.
    Complaint,
    /// Several messages in one, as 2025-03-26 allowed.
    Batch(Vec<&'a str>),
    /// Nothing that the protocol knows.
    Garbage,
}

/// What a server answered.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome<'a> {
    /// The `result` object.
    Result(&'a str),
    /// The `error` object.
    Error(&'a str),
    /// Something that is neither.
    Malformed,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Says what `text` is.
pub(super) fn read(text: &str) -> Incoming<'_> {
    // A derived struct would also be read from an array.
    if is_array(text) {
        let messages = serde_json::from_str::<Vec<&RawValue>>(text);
        return messages.map_or(Incoming::Garbage, |all| Incoming::Batch(all.into_iter().map(RawValue::get).collect()));
    }
    match serde_json::from_str::<Envelope<'_>>(text) {
        Ok(envelope) => classify(&envelope),
        Err(_) => salvage(text),
    }
}

fn classify<'a>(envelope: &Envelope<'a>) -> Incoming<'a> {
    let id = envelope.id.map(RawValue::get);
    if let Some(method) = envelope.method {
        let Some(method) = unquote(method.get()) else { return Incoming::Garbage };
        return match id {
            Some(id) => Incoming::Question { id, method },
            None => Incoming::Notification { method, params: envelope.params.map(RawValue::get) },
        };
    }
    let outcome = match (envelope.result.map(RawValue::get), envelope.error.map(RawValue::get)) {
        (Some(result), None) if is_object(result) => Outcome::Result(result),
        (None, Some(error)) if is_object(error) => Outcome::Error(error),
        _ => Outcome::Malformed,
    };
    match (id, outcome) {
        (Some(id), outcome) => Incoming::Answer { id, outcome },
        (None, Outcome::Error(_)) => Incoming::Complaint,
        (None, _) => Incoming::Garbage,
    }
}

/// A message that is not quite JSON, such as one with `NaN` in it, still says whose answer it was: that call need not wait
/// until its deadline, and nobody else is touched.
fn salvage(text: &str) -> Incoming<'_> {
    let Some(object) = Object::parse(text).filter(|object| object.get("method").is_none()) else {
        return Incoming::Garbage;
    };
    object.get("id").map_or(Incoming::Garbage, |id| Incoming::Answer { id, outcome: Outcome::Malformed })
}

/// What kind of reply a `result` object of the modern era is; `None` for a kind that the protocol does not know.
/// MCP 2026-07-28, "Result Type": one without `resultType` is complete.
pub(super) fn reply(result: Bytes) -> Option<Reply> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, rename = "resultType")]
        result_type: Option<&'a RawValue>,
    }
    let kind = serde_json::from_slice::<Kind<'_>>(&result).ok()?.result_type.map(|kind| unquote(kind.get()));
    match kind.as_ref().map(|kind| kind.as_deref()) {
        None | Some(Some("complete")) => Some(Reply::Complete(result)),
        Some(Some("input_required")) => Some(Reply::InputRequired(result)),
        Some(Some("task")) => Some(Reply::Task(result)),
        Some(_) => None,
    }
}

/// The members of a notification's `params` that say which request it belongs to.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Belonging<'a> {
    #[serde(borrow, rename = "progressToken")]
    pub(super) progress_token: Option<&'a RawValue>,
    pub(super) progress: Option<serde_json::Number>,
    #[serde(borrow, rename = "requestId")]
    pub(super) request_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

impl<'a> Belonging<'a> {
    /// Of `params`; empty where there is nothing to find.
    pub(super) fn of(params: Option<&'a str>) -> Self {
        params
            .filter(|params| is_object(params))
            .and_then(|params| serde_json::from_str(params).ok())
            .unwrap_or_default()
    }

    /// MCP 2026-07-28, "Subscriptions": the id of the `subscriptions/listen` request that opened the stream.
    pub(super) fn subscription(&self) -> Option<u64> {
        let meta = Object::parse(self.meta?.get())?;
        meta.get("io.modelcontextprotocol/subscriptionId")?.parse().ok()
    }
}

pub(super) fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

fn is_array(text: &str) -> bool {
    text.trim_start().starts_with('[')
}

#[cfg(test)]
mod tests;

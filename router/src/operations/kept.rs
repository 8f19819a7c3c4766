//! What is kept of a write: what it was about, and what it came to.

use std::sync::Arc;

use adapters::{AdapterError, ErrorClass, Rejection, Reply, Sent};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{catalog::Tool, error::CallError, mcp::answer::is_tool_error};

/// What a write was about.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct About {
    /// Its tool as callers know it.
    pub(super) tool: String,
    pub(super) downstream: String,
    pub(super) local_name: String,
    /// With what rights it was made.
    pub(super) rights: [u8; 16],
}

/// What a write came to: the first byte of what is kept says it, the rest is the answer where that is kept too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Complete,
    ToolError,
    NotFound,
    Task,
    Refused,
}

/// A refusal by the downstream.
#[derive(Serialize, Deserialize)]
struct Refusal {
    class: ErrorClass,
    message: String,
    text: Option<String>,
    rpc: Option<String>,
}

/// How a write ended, for its record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing was done, and a repeat is a first call.
    NotMade,
    Unknown,
    /// With what is kept of the answer; nothing where there is none to keep.
    Done(Option<Bytes>),
}

impl About {
    pub(super) fn of(tool: &Tool, rights: [u8; 16]) -> Bytes {
        let about = Self {
            tool: tool.name.shown.to_string(),
            downstream: tool.name.downstream.to_string(),
            local_name: tool.name.local.to_string(),
            rights,
        };
        serde_json::to_vec(&about).expect("texts and numbers have a JSON text").into()
    }

    pub(super) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Complete, Self::ToolError, Self::NotFound, Self::Task, Self::Refused];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "ok",
            Self::ToolError => "tool_error",
            Self::NotFound => "not_found",
            Self::Task => "task",
            Self::Refused => "refused",
        }
    }

    fn letter(self) -> u8 {
        match self {
            Self::Complete => b'C',
            Self::ToolError => b'X',
            Self::NotFound => b'N',
            Self::Task => b'T',
            Self::Refused => b'R',
        }
    }

    /// What is kept with this outcome.
    fn with(self, answer: &[u8]) -> Bytes {
        [&[self.letter()], answer].concat().into()
    }

    /// The outcome, and the answer where it is kept.
    pub(super) fn read(kept: &Bytes) -> Option<(Self, Bytes)> {
        let letter = *kept.first()?;
        let outcome = Self::ALL.into_iter().find(|outcome| outcome.letter() == letter)?;
        Some((outcome, kept.slice(1..)))
    }
}

impl End {
    /// How a write ended; `whole` keeps its answer as well, for repeats of its key. `left` says whether bytes of it may have left.
    pub(super) fn of(outcome: &Result<Reply, CallError>, whole: bool, left: bool) -> Self {
        let kept = |outcome: Outcome, answer: &[u8]| Self::Done(Some(outcome.with(if whole { answer } else { b"" })));
        match outcome {
            Ok(Reply::Complete(bytes)) if is_tool_error(bytes) => kept(Outcome::ToolError, bytes),
            Ok(Reply::Complete(bytes)) => kept(Outcome::Complete, bytes),
            Ok(Reply::NotFound(bytes)) => kept(Outcome::NotFound, bytes),
            Ok(Reply::Task(bytes)) => kept(Outcome::Task, bytes),
            // The call goes on in another round, which has the same key.
            Ok(Reply::InputRequired(_)) => Self::NotMade,
            Err(CallError::OutcomeUnknown { .. }) => Self::Unknown,
            // It was carried out; only its answer is not to be seen.
            Err(CallError::Unmaskable { .. }) => Self::Done(None),
            Err(CallError::Internal) if left => Self::Unknown,
            Err(CallError::Downstream { error, .. }) => match (error.sent, error.class) {
                (Sent::No, _) | (Sent::Yes, ErrorClass::Busy | ErrorClass::Unauthorized | ErrorClass::Cancelled) => {
                    Self::NotMade
                }
                (Sent::Unknown, _) => Self::Unknown,
                // It was carried out; only its answer is not to be had.
                (Sent::Yes, ErrorClass::TooLarge) => Self::Done(None),
                (
                    Sent::Yes,
                    ErrorClass::Rejected
                    | ErrorClass::InvalidArguments
                    | ErrorClass::Protocol
                    | ErrorClass::Unreachable
                    | ErrorClass::ConnectionLost
                    | ErrorClass::Timeout,
                ) => kept(Outcome::Refused, &Refusal::of(error)),
            },
            Err(
                CallError::UnknownTool { .. }
                | CallError::InvalidArguments { .. }
                | CallError::NotAllowed { .. }
                | CallError::InsufficientScope { .. }
                | CallError::Limited { .. }
                | CallError::Uncounted { .. }
                | CallError::LeftAlone { .. }
                | CallError::Queued { .. }
                | CallError::KeyReused { .. }
                | CallError::KeysGone { .. }
                | CallError::NamesGone { .. }
                | CallError::Withheld { .. }
                | CallError::Overloaded { .. }
                | CallError::Unannounced { .. }
                | CallError::Unaudited { .. }
                | CallError::Cancelled
                | CallError::Internal,
            ) => Self::NotMade,
        }
    }
}

impl Refusal {
    fn of(error: &AdapterError) -> Vec<u8> {
        let (text, rpc) = match &error.rejection {
            Some(Rejection::Text(text)) => (Some(text.clone()), None),
            Some(Rejection::Rpc(object)) => (None, Some(String::from_utf8_lossy(object).into_owned())),
            None => (None, None),
        };
        let refusal = Self { class: error.class, message: error.message.clone(), text, rpc };
        serde_json::to_vec(&refusal).expect("texts have a JSON text")
    }
}

/// The answer of before, as it was given then; `None` where it was not kept.
pub(super) fn again(kept: &Bytes, tool: &Tool) -> Option<Result<Reply, CallError>> {
    let (outcome, answer) = Outcome::read(kept)?;
    if answer.is_empty() {
        return None;
    }
    Some(match outcome {
        Outcome::Complete | Outcome::ToolError => Ok(Reply::Complete(answer)),
        Outcome::NotFound => Ok(Reply::NotFound(answer)),
        Outcome::Task => Ok(Reply::Task(answer)),
        Outcome::Refused => {
            let Refusal { class, message, text, rpc } = serde_json::from_slice(&answer).ok()?;
            let mut error = AdapterError::new(class, Sent::Yes, message);
            error.rejection = text.map(Rejection::Text).or_else(|| rpc.map(|rpc| Rejection::Rpc(rpc.into())));
            let (tool, downstream): (Arc<str>, _) = (tool.name.shown.clone(), tool.name.downstream.to_string());
            Err(CallError::Downstream { tool, downstream, error: Box::new(error) })
        }
    })
}

#[cfg(test)]
mod tests {
    use adapters::{AdapterError, ErrorClass, Reply, Sent};
    use bytes::Bytes;

    use super::{End, Outcome};
    use crate::error::CallError;

    fn failed(class: ErrorClass, sent: Sent) -> Result<Reply, CallError> {
        let error = Box::new(AdapterError::new(class, sent, "words"));
        Err(CallError::Downstream { tool: "t".into(), downstream: "d".to_owned(), error })
    }

    fn letter(end: &End) -> Option<u8> {
        match end {
            End::Done(Some(kept)) => kept.first().copied(),
            End::Done(None) | End::NotMade | End::Unknown => None,
        }
    }

    #[test]
    fn every_end_of_a_write_leaves_its_key_free_known_or_in_doubt() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let unknown = Err(CallError::OutcomeUnknown {
            tool: "t".into(),
            operation_id: String::new(),
            error: Box::new(AdapterError::maybe_sent(ErrorClass::Timeout, "")),
        });
        assert_eq!(End::of(&unknown, true, true), End::Unknown);
        assert_eq!(End::of(&Err(CallError::Internal), true, true), End::Unknown);
        assert_eq!(End::of(&Err(CallError::Internal), true, false), End::NotMade);
        assert_eq!(End::of(&Err(CallError::Cancelled), true, false), End::NotMade);
        assert_eq!(End::of(&Ok(Reply::InputRequired(bytes("{}"))), true, true), End::NotMade);
        assert_eq!(End::of(&failed(ErrorClass::Unreachable, Sent::No), true, true), End::NotMade);
        assert_eq!(End::of(&failed(ErrorClass::Busy, Sent::Yes), true, true), End::NotMade);
        assert_eq!(End::of(&failed(ErrorClass::TooLarge, Sent::Yes), true, true), End::Done(None));
        for (outcome, expected) in [
            (Ok(Reply::Complete(bytes("{}"))), Outcome::Complete),
            (Ok(Reply::Complete(bytes(r#"{"isError":true}"#))), Outcome::ToolError),
            (Ok(Reply::NotFound(bytes("{}"))), Outcome::NotFound),
            (Ok(Reply::Task(bytes("{}"))), Outcome::Task),
            (failed(ErrorClass::Rejected, Sent::Yes), Outcome::Refused),
        ] {
            assert_eq!(letter(&End::of(&outcome, true, true)), Some(expected.letter()), "{outcome:?}");
            let End::Done(Some(kept)) = End::of(&outcome, false, true) else { panic!("{outcome:?}") };
            assert_eq!(Outcome::read(&kept), Some((expected, Bytes::new())), "only what it came to");
        }
    }
}

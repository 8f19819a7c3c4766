//! What a fetch came to where it is not stored, for all who waited for it, on other replicas too.

use std::time::Duration;

use adapters::{AdapterError, ErrorClass, Rejection, Reply, Sent};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::CallError;

/// What a fetch came to where it is not stored.
#[derive(Debug, Clone)]
pub(crate) struct SharedAnswer(pub(crate) Result<Reply, CallError>);

impl cache::Passing for SharedAnswer {
    /// `None` for what belongs to the call alone that fetched.
    fn to_bytes(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&Form::of(&self.0)?).ok()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Form>(bytes).ok().map(|form| Self(form.outcome()))
    }
}

/// The form on the way from one replica to another.
#[derive(Serialize, Deserialize)]
enum Form {
    Complete(Box<RawValue>),
    NotFound(Box<RawValue>),
    Overloaded { limit: String, retry_after_ms: u64 },
    Limited { limit: String, counts: String, retry_after_ms: Option<u64> },
    Uncounted { limit: String, retry_after_ms: u64 },
    LeftAlone { tool: String, downstream: String, why: String, retry_after_ms: u64 },
    Queued { tool: String, downstream: String, waiting: usize, retry_after_ms: u64 },
    Downstream { tool: String, downstream: String, error: ErrorForm },
    Internal,
}

#[derive(Serialize, Deserialize)]
struct ErrorForm {
    class: ErrorClass,
    sent: Sent,
    retry_after_ms: Option<u64>,
    message: String,
    said: Option<String>,
    said_by_rpc: Option<Box<RawValue>>,
}

impl Form {
    fn of(outcome: &Result<Reply, CallError>) -> Option<Self> {
        let raw = |bytes: &Bytes| RawValue::from_string(String::from_utf8(bytes.to_vec()).ok()?).ok();
        Some(match outcome {
            Ok(Reply::Complete(bytes)) => Self::Complete(raw(bytes)?),
            Ok(Reply::NotFound(bytes)) => Self::NotFound(raw(bytes)?),
            Ok(Reply::InputRequired(_) | Reply::Task(_)) => return None,
            Err(CallError::Overloaded { limit, retry_after_ms }) => {
                Self::Overloaded { limit: limit.clone(), retry_after_ms: *retry_after_ms }
            }
            Err(CallError::Limited { limit, counts, retry_after_ms }) => {
                Self::Limited { limit: limit.to_string(), counts: counts.clone(), retry_after_ms: *retry_after_ms }
            }
            Err(CallError::Uncounted { limit, retry_after_ms }) => {
                Self::Uncounted { limit: limit.to_string(), retry_after_ms: *retry_after_ms }
            }
            Err(CallError::LeftAlone { tool, downstream, why, retry_after_ms }) => Self::LeftAlone {
                tool: tool.to_string(),
                downstream: downstream.clone(),
                why: why.clone(),
                retry_after_ms: *retry_after_ms,
            },
            Err(CallError::Queued { tool, downstream, waiting, retry_after_ms }) => Self::Queued {
                tool: tool.to_string(),
                downstream: downstream.clone(),
                waiting: *waiting,
                retry_after_ms: *retry_after_ms,
            },
            Err(CallError::Downstream { tool, downstream, error }) => {
                let (said, said_by_rpc) = match &error.rejection {
                    None => (None, None),
                    Some(Rejection::Text(text)) => (Some(text.clone()), None),
                    Some(Rejection::Rpc(object)) => (None, Some(raw(object)?)),
                };
                Self::Downstream {
                    tool: tool.to_string(),
                    downstream: downstream.clone(),
                    error: ErrorForm {
                        class: error.class,
                        sent: error.sent,
                        retry_after_ms: error
                            .retry_after
                            .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                        message: error.message.clone(),
                        said,
                        said_by_rpc,
                    },
                }
            }
            Err(CallError::Internal) => Self::Internal,
            Err(
                CallError::UnknownTool { .. }
                | CallError::InvalidArguments { .. }
                | CallError::NotAllowed { .. }
                | CallError::InsufficientScope { .. }
                | CallError::Unannounced { .. }
                | CallError::Unaudited { .. }
                | CallError::OutcomeUnknown { .. }
                | CallError::KeyReused { .. }
                | CallError::KeysGone { .. }
                | CallError::Unmaskable { .. }
                | CallError::NamesGone { .. }
                | CallError::Withheld { .. }
                | CallError::Cancelled,
            ) => return None,
        })
    }

    fn outcome(self) -> Result<Reply, CallError> {
        let bytes = |raw: Box<RawValue>| Bytes::from(String::from(Box::<str>::from(raw)));
        match self {
            Self::Complete(raw) => Ok(Reply::Complete(bytes(raw))),
            Self::NotFound(raw) => Ok(Reply::NotFound(bytes(raw))),
            Self::Overloaded { limit, retry_after_ms } => Err(CallError::Overloaded { limit, retry_after_ms }),
            Self::Limited { limit, counts, retry_after_ms } => {
                Err(CallError::Limited { limit: limit.into(), counts, retry_after_ms })
            }
            Self::Uncounted { limit, retry_after_ms } => {
                Err(CallError::Uncounted { limit: limit.into(), retry_after_ms })
            }
            Self::LeftAlone { tool, downstream, why, retry_after_ms } => {
                Err(CallError::LeftAlone { tool: tool.into(), downstream, why, retry_after_ms })
            }
            Self::Queued { tool, downstream, waiting, retry_after_ms } => {
                Err(CallError::Queued { tool: tool.into(), downstream, waiting, retry_after_ms })
            }
            Self::Downstream { tool, downstream, error: form } => {
                let mut error = AdapterError::new(form.class, form.sent, form.message);
                error.retry_after = form.retry_after_ms.map(Duration::from_millis);
                let by_rpc = form.said_by_rpc.map(|raw| Rejection::Rpc(bytes(raw)));
                error.rejection = by_rpc.or(form.said.map(Rejection::Text));
                Err(CallError::Downstream { tool: tool.into(), downstream, error: Box::new(error) })
            }
            Self::Internal => Err(CallError::Internal),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adapters::{AdapterError, ErrorClass, Rejection, Reply, Sent};
    use bytes::Bytes;
    use cache::Passing as _;

    use super::SharedAnswer;
    use crate::error::CallError;

    fn downstream(error: AdapterError) -> CallError {
        CallError::Downstream { tool: "crm__get".into(), downstream: "crm".to_owned(), error: Box::new(error) }
    }

    #[test]
    fn what_those_who_wait_elsewhere_get_is_what_the_fetch_came_to() {
        let mut paused = AdapterError::new(ErrorClass::Busy, Sent::No, "crm is busy.");
        paused.retry_after = Some(Duration::from_millis(1500));
        let rpc = Rejection::Rpc(Bytes::from_static(br#"{"code":-32000,"message":"a \"b\"", "data":1.0}"#));
        let outcomes = [
            Ok(Reply::Complete(Bytes::from_static(br#"{ "content":[],"isError":true, "n":9007199254740993 }"#))),
            Ok(Reply::NotFound(Bytes::from_static(br#"{"content":[]}"#))),
            Err(CallError::Overloaded { limit: "the downstream crm".to_owned(), retry_after_ms: 1000 }),
            Err(CallError::Limited { limit: "exports".into(), counts: "all callers".to_owned(), retry_after_ms: None }),
            Err(CallError::Uncounted { limit: "exports".into(), retry_after_ms: 7 }),
            Err(CallError::LeftAlone {
                tool: "crm__get".into(),
                downstream: "crm".to_owned(),
                why: "It fails.".to_owned(),
                retry_after_ms: 7,
            }),
            Err(CallError::Queued {
                tool: "crm__get".into(),
                downstream: "crm".to_owned(),
                waiting: 3,
                retry_after_ms: 7,
            }),
            Err(downstream(paused.caused_by("for the log alone"))),
            Err(downstream(AdapterError::rejected("refused", Rejection::Text("no".to_owned())))),
            Err(downstream(AdapterError::rejected("refused", rpc))),
            Err(CallError::Internal),
        ];
        for outcome in outcomes {
            let given = SharedAnswer(outcome);
            let bytes = given.to_bytes().expect("it has a form");
            let got = SharedAnswer::from_bytes(&bytes).expect("it is one");
            let without_cause =
                |answer: &SharedAnswer| format!("{answer:?}").split("source:").next().map(str::to_owned);
            assert_eq!(without_cause(&got), without_cause(&given));
            assert!(!String::from_utf8_lossy(&bytes).contains("for the log"));
        }
    }

    #[test]
    fn what_belongs_to_one_call_is_passed_to_nobody() {
        let own = [
            Ok(Reply::InputRequired(Bytes::from_static(b"{}"))),
            Ok(Reply::Task(Bytes::from_static(b"{}"))),
            Err(CallError::Cancelled),
        ];
        assert!(own.into_iter().all(|outcome| SharedAnswer(outcome).to_bytes().is_none()));
        assert!(
            [&b""[..], b"{}", b"\"Cancelled\"", b"{\"Complete\":"]
                .into_iter()
                .all(|bytes| SharedAnswer::from_bytes(bytes).is_none())
        );
    }
}

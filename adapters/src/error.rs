//! Why a downstream gave no answer.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Why a downstream gave no answer. The message may be told to the caller; the source is for the log only.
/// All who waited for one fetch get the same one.
#[derive(Debug, Clone)]
pub struct AdapterError {
    /// What kind of failure it is.
    pub class: ErrorClass,
    /// Whether bytes of the request may have reached the downstream.
    pub sent: Sent,
    /// The downstream was not asked: it was known before that it cannot be reached, and when that is tried again.
    pub known: bool,
    /// How long the downstream asked to be left alone.
    pub retry_after: Option<Duration>,
    /// What happened and what to do, for the caller. Holds no secret, no address and no name of a library type.
    pub message: String,
    /// What the downstream itself said, where it refused the call.
    pub rejection: Option<Rejection>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of failure. Breaker, retries and the answer to the caller decide by this alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// It cannot be reached: refused, no route, TLS or handshake failed, known to be down.
    Unreachable,
    /// The connection ended while the answer was awaited.
    ConnectionLost,
    /// No answer in time.
    Timeout,
    /// The caller no longer wants the answer.
    Cancelled,
    /// No free connection or slot in time.
    Busy,
    /// It understood and said no.
    Rejected,
    /// The arguments cannot be what the tool takes.
    InvalidArguments,
    /// What it sent is not what the protocol allows.
    Protocol,
    /// Its answer is larger than the limit.
    TooLarge,
    /// It does not accept Weir's own credential.
    Unauthorized,
}

/// Whether bytes of a request may have reached the downstream. A write is repeated only after [`Sent::No`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// Certainly not.
    No,
    /// Yes, and the downstream dealt with the request.
    Yes,
    /// Perhaps: bytes left, and no answer came.
    Unknown,
}

/// A refusal in the downstream's own words.
#[derive(Debug, Clone)]
pub enum Rejection {
    /// A sentence, such as the message of an SQL error.
    Text(String),
    /// The `error` object of a JSON-RPC answer.
    Rpc(Bytes),
}

impl AdapterError {
    /// A failure of which it is known that nothing was sent.
    pub fn not_sent(class: ErrorClass, message: impl Into<String>) -> Self {
        Self::new(class, Sent::No, message)
    }

    /// A failure in which bytes of the request may have reached the downstream.
    pub fn maybe_sent(class: ErrorClass, message: impl Into<String>) -> Self {
        Self::new(class, Sent::Unknown, message)
    }

    /// A failure.
    pub fn new(class: ErrorClass, sent: Sent, message: impl Into<String>) -> Self {
        Self { class, sent, known: false, retry_after: None, message: message.into(), rejection: None, source: None }
    }

    /// The downstream refused, in its own words.
    pub fn rejected(message: impl Into<String>, rejection: Rejection) -> Self {
        Self { rejection: Some(rejection), ..Self::new(ErrorClass::Rejected, Sent::Yes, message) }
    }

    /// Says that it was known before.
    #[must_use]
    pub fn known(self) -> Self {
        Self { known: true, ..self }
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }
}

impl ErrorClass {
    /// The word in logs, metrics and audit records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::ConnectionLost => "connection_lost",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Busy => "busy",
            Self::Rejected => "rejected",
            Self::InvalidArguments => "invalid_arguments",
            Self::Protocol => "protocol",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
        }
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for AdapterError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

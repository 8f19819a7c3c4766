//! Why a request got no answer.

use std::{borrow::Cow, fmt, time::Duration};

use crate::{AdapterError, ErrorClass, Sent, address::ConnectError, credential::NoCredential};

/// Why a request got no whole answer.
#[derive(Debug, Clone)]
pub(crate) struct HttpError {
    pub(crate) class: ErrorClass,
    /// `No` only where certainly no byte of the request left.
    pub(crate) sent: Sent,
    /// What a caller may know, half a sentence: no address, no name of a library type.
    pub(crate) told: Cow<'static, str>,
    /// What the operator needs besides; no secret in it.
    pub(crate) detail: Option<String>,
    /// There was nothing to show the server, so it was not asked: this says nothing of the server itself.
    pub(crate) uncredited: bool,
    pub(crate) retry_after: Option<Duration>,
}

impl HttpError {
    pub(super) fn new(class: ErrorClass, sent: Sent, told: impl Into<Cow<'static, str>>) -> Self {
        Self { class, sent, told: told.into(), detail: None, uncredited: false, retry_after: None }
    }

    #[must_use]
    pub(super) fn because(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// No connection came about.
    pub(super) fn unreachable(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::Unreachable, Sent::No, told)
    }

    /// The exchange broke off, by the library's account, after bytes of the request may have left.
    pub(super) fn broken(error: &hyper::Error) -> Self {
        let (class, told) = if error.is_parse() {
            (ErrorClass::Protocol, "what it sent is not HTTP/1.1, or has a head larger than 64 KiB")
        } else if has_bad_framing(error) {
            (ErrorClass::Protocol, "the body of its answer does not keep to HTTP/1.1")
        } else {
            (ErrorClass::ConnectionLost, "it closed the connection")
        };
        Self::new(class, Sent::Unknown, told).because(chain(error))
    }

    /// The answer ended before it was whole.
    pub(crate) fn lost(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::ConnectionLost, Sent::Unknown, told)
    }

    /// No answer, or not the whole of it, when it had to be there.
    pub(crate) fn late(sent: Sent) -> Self {
        Self::new(ErrorClass::Timeout, sent, "no answer in time")
    }

    /// The whole of it, for the operator.
    pub(crate) fn reason(&self) -> String {
        match &self.detail {
            Some(detail) if *detail != *self.told => format!("{}: {detail}", self.told),
            _ => self.told.clone().into_owned(),
        }
    }

    /// What this means to a call of `what`, such as a tool's name, of `downstream`.
    pub(crate) fn for_call(&self, downstream: &str, what: &str) -> AdapterError {
        let told = &self.told;
        let message = match (self.class, self.sent) {
            _ if self.uncredited => format!("{downstream} was not asked for `{what}`: {told}."),
            (ErrorClass::Cancelled, _) => "The call was cancelled before anything was sent.".to_owned(),
            (ErrorClass::Unreachable, _) => {
                format!("{downstream} cannot be reached: {told}. Try again in a moment.")
            }
            (ErrorClass::Busy, _) => {
                format!("{downstream} could not be asked for `{what}`: {told}. Try again in a moment.")
            }
            (ErrorClass::Timeout, Sent::No) => {
                format!("{downstream} could not be asked for `{what}` in time; try again later.")
            }
            (ErrorClass::Timeout, _) => {
                format!("`{what}` of {downstream} gave {told}; try again later or ask for less.")
            }
            (ErrorClass::TooLarge, _) => {
                format!("The answer of {downstream} to `{what}` is too large: {told}. Ask for less.")
            }
            (ErrorClass::ConnectionLost, _) => {
                format!("The connection to {downstream} ended before it answered `{what}`: {told}.")
            }
            (_, _) => format!("{downstream} did not answer `{what}` as it should: {told}."),
        };
        let mut error = AdapterError::new(self.class, self.sent, message).caused_by(self.reason());
        error.retry_after = self.retry_after;
        error
    }
}

impl From<&ConnectError> for HttpError {
    fn from(error: &ConnectError) -> Self {
        Self::unreachable(error.told()).because(error.detail())
    }
}

/// What a caller lacks is the caller's to mend; what an authorization server that is away lacks comes back by itself.
impl From<NoCredential> for HttpError {
    fn from(error: NoCredential) -> Self {
        let class = if error.refused { ErrorClass::Unauthorized } else { ErrorClass::Unreachable };
        let (detail, retry_after) = (error.detail, error.retry_after);
        Self { detail, retry_after, uncredited: true, ..Self::new(class, Sent::No, error.told) }
    }
}

/// The gate of a write was closed.
impl From<AdapterError> for HttpError {
    fn from(error: AdapterError) -> Self {
        Self::new(error.class, error.sent, error.message)
    }
}

/// hyper has no question for it: a body whose chunks are no chunks is an input error below.
fn has_bad_framing(error: &hyper::Error) -> bool {
    use std::{error::Error as _, io};
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| matches!(source.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

//! Why a request over HTTP got no answer of the protocol.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, header};

use super::super::failure::Failure;
use crate::{AdapterError, ErrorClass, Sent, http::HttpError};

/// No server is believed that it wants to be left alone for longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Why a request got no answer of the protocol.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The exchange itself failed.
    Http(HttpError),
    /// The answer is a status and nothing that the protocol knows.
    Status { status: StatusCode, retry_after: Option<Duration> },
    /// The server does not know the session (any more), so it did nothing.
    SessionLost,
    /// One message of the answer is larger than the limit.
    TooLarge(usize),
    /// The answer is not what the protocol allows; half a sentence.
    Protocol(Cow<'static, str>),
    /// It cannot be asked so.
    Refused(AdapterError),
}

impl From<HttpError> for Trouble {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl Trouble {
    pub(super) fn status(status: StatusCode, headers: &HeaderMap) -> Self {
        let retry_after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Self::Status { status, retry_after: retry_after.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX)) }
    }

    /// What it says of the server, for its state and for the handshake.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Http(error) => Failure::from(error),
            Self::Status { status, .. } => Failure::new(class_of(*status), told_of(*status)),
            Self::SessionLost => Failure::lost("it forgot the session"),
            Self::TooLarge(bytes_max) => Failure::new(ErrorClass::TooLarge, too_large(*bytes_max)),
            Self::Protocol(told) => Failure::protocol(told.clone()),
            Self::Refused(error) => Failure::new(error.class, error.message.clone()),
        }
    }

    /// Why nothing can be asked of the server at all, where it says so.
    pub(super) fn outage(&self) -> Option<Arc<Failure>> {
        let unreachable =
            matches!(self, Self::Http(error) if error.class == ErrorClass::Unreachable && !error.uncredited);
        let shut_out = matches!(self, Self::Status { status: StatusCode::UNAUTHORIZED, .. });
        (unreachable || shut_out).then(|| Arc::new(self.failure()))
    }

    /// Whether it says something of the credential alone.
    pub(super) fn is_about_caller(&self) -> bool {
        match self {
            Self::Status { status, .. } => class_of(*status) == ErrorClass::Unauthorized,
            Self::Http(error) => error.uncredited,
            _ => false,
        }
    }

    /// Whether what stands before the server may have answered in its place.
    pub(super) fn is_from_a_proxy(&self) -> bool {
        matches!(self, Self::Status { status, .. } if class_of(*status) == ErrorClass::Unreachable)
    }

    /// What it means to a request of `what`.
    pub(super) fn for_call(self, downstream: &str, what: &str) -> AdapterError {
        match self {
            Self::Http(error) => error.for_call(downstream, what),
            Self::Status { status, retry_after } => {
                // A refusal is an answer; behind a status of the server's own trouble anything may have happened.
                let sent = if status.is_server_error() { Sent::Unknown } else { Sent::Yes };
                let message = format!("{downstream} gave no answer to `{what}`: {}.", told_of(status));
                let mut error = AdapterError::new(class_of(status), sent, message);
                error.retry_after = retry_after;
                error
            }
            Self::SessionLost => {
                let message =
                    format!("{downstream} forgets sessions as soon as they are made, so `{what}` was not done.");
                AdapterError::not_sent(ErrorClass::ConnectionLost, message)
            }
            Self::TooLarge(bytes_max) => {
                let message = format!(
                    "The answer of {downstream} to `{what}` is too large: {}. Ask for less.",
                    too_large(bytes_max)
                );
                AdapterError::maybe_sent(ErrorClass::TooLarge, message)
            }
            Self::Protocol(told) => {
                let message = format!("{downstream} did not answer `{what}` as the protocol has it: {told}.");
                AdapterError::maybe_sent(ErrorClass::Protocol, message)
            }
            Self::Refused(error) => error,
        }
    }
}

fn too_large(bytes_max: usize) -> String {
    format!("the server sent a message of more than {bytes_max} bytes")
}

fn class_of(status: StatusCode) -> ErrorClass {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorClass::Unauthorized,
        StatusCode::TOO_MANY_REQUESTS => ErrorClass::Busy,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ErrorClass::Unreachable
        }
        _ => ErrorClass::Protocol,
    }
}

fn told_of(status: StatusCode) -> String {
    let code = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("it does not accept Weir's credential (HTTP {code})")
        }
        StatusCode::TOO_MANY_REQUESTS => format!("it is asked too often (HTTP {code})"),
        status if status.is_redirection() => {
            format!("it sends elsewhere (HTTP {code}), where Weir does not follow: set `url` to where the server is")
        }
        status if status.is_success() => format!("HTTP {code} without a message of the protocol"),
        _ => format!("HTTP {code}"),
    }
}

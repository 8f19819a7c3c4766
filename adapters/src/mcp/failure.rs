//! Why there is no connection.

use std::{borrow::Cow, fmt};

use crate::{AdapterError, ErrorClass, Sent, credential::NoCredential, http::HttpError};

/// Why a connection ended or did not come about.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// What kind of failure it is for the calls that are hit by it.
    pub(super) class: ErrorClass,
    /// What a caller may know: no address, no name of a library type.
    pub(super) told: Cow<'static, str>,
    /// What the operator needs besides; no secret in it.
    detail: Option<String>,
    /// There was nothing to show the server, so it was not asked: this says nothing of the server itself.
    pub(super) uncredited: bool,
}

impl Failure {
    pub(super) fn new(class: ErrorClass, told: impl Into<Cow<'static, str>>) -> Self {
        Self { class, told: told.into(), detail: None, uncredited: false }
    }

    /// Cannot be reached.
    pub(super) fn unreachable(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::Unreachable, told)
    }

    /// Was reached, and is lost.
    pub(super) fn lost(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::ConnectionLost, told)
    }

    /// Was reached, and does not keep to the protocol.
    pub(super) fn protocol(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::Protocol, told)
    }

    /// The last of several, so that the next attempt is far away.
    #[must_use]
    pub(super) fn quarantined(&self, failures: usize) -> Self {
        let told = format!("quarantined: it failed {failures} times within a minute, at last because {}", self.told);
        Self { told: told.into(), ..self.clone() }
    }

    /// It was lost for a reason of its own, whatever it was about to be asked.
    #[must_use]
    pub(super) fn unasked(self) -> Self {
        Self { class: ErrorClass::Unreachable, ..self }
    }

    /// Adds what only the operator is told.
    #[must_use]
    pub(super) fn because(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(format!("{detail}"));
        self
    }

    /// The whole of it, for the operator.
    pub(super) fn reason(&self) -> String {
        match &self.detail {
            Some(detail) if *detail != *self.told => format!("{}: {detail}", self.told),
            _ => self.told.clone().into_owned(),
        }
    }

    /// What this means to a call that a connection was to be made for.
    pub(super) fn for_connect(&self, downstream: &str) -> AdapterError {
        let message = if self.uncredited {
            format!("{downstream} was not asked: {}.", self.told)
        } else {
            format!("{downstream} cannot be reached: {}. Try again in a moment.", self.told)
        };
        let class = match self.class {
            ErrorClass::ConnectionLost => ErrorClass::Unreachable,
            class => class,
        };
        AdapterError::new(class, Sent::No, message).caused_by(self.reason())
    }

    /// What this means to a call that was on the connection; `alone` says that no other one was.
    pub(super) fn for_call(&self, downstream: &str, sent: Sent, alone: bool) -> AdapterError {
        let what = match sent {
            Sent::No => "before it was asked",
            Sent::Yes | Sent::Unknown => "before it answered",
        };
        let message = format!("The connection to {downstream} ended {what}: {}.", self.told);
        // Whose answer was too large is known only where one call waited.
        let its_own = alone && sent != Sent::No && self.class == ErrorClass::TooLarge;
        let class = if its_own { ErrorClass::TooLarge } else { ErrorClass::ConnectionLost };
        AdapterError::new(class, sent, message).caused_by(self.reason())
    }
}

impl From<&HttpError> for Failure {
    fn from(error: &HttpError) -> Self {
        let failure = Self { uncredited: error.uncredited, ..Self::new(error.class, error.told.clone()) };
        error.detail.iter().fold(failure, Self::because)
    }
}

impl From<NoCredential> for Failure {
    fn from(error: NoCredential) -> Self {
        Self::from(&HttpError::from(error))
    }
}

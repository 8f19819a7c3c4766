//! What Weir asks on its own account: tokens, keys, secrets. Never for a caller, and never with a caller's credential.

use std::{fmt, path::Path, time::Duration};

use bytes::Bytes;
use config::Sources;
use http::{Request, Response};

use crate::{
    Deadline, ErrorClass,
    address::{self, Reach},
    credential::Whose,
    http::{Care, HttpClient, HttpError, Limits, Origin},
    tls::Trust,
};

/// How long connecting may take, with TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest silence within an answer that has begun.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most requests that are under way at once.
const CONNECTIONS_MAX: usize = 8;

/// Requests to one origin. Follows no redirect: it is an answer like any other.
pub struct Outgoing {
    origin: Origin,
    client: HttpClient,
}

/// Why there is no answer. For the operator: it may name addresses, and never holds a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutgoingError {
    /// The URL, or the certificates for it, cannot be used.
    #[error("{0}")]
    Setting(String),
    /// The request is not one to this origin.
    #[error("this is no URL of {0}")]
    Elsewhere(String),
    /// No whole answer came.
    #[error("{message}")]
    Unanswered {
        /// What kind of failure it is.
        class: ErrorClass,
        /// What happened.
        message: String,
    },
}

impl Outgoing {
    /// For the origin of a URL that the operator wrote: `https`, and plain `http` only where the host is written as this machine.
    /// `ca` is a file of authorities in PEM, looked for in `sources`; without it those count that this machine trusts.
    ///
    /// # Errors
    /// [`OutgoingError::Setting`].
    pub fn new(url: &str, ca: Option<&Path>, sources: &Sources) -> Result<Self, OutgoingError> {
        Self::to(url, ca, sources, Reach::written(sources))
    }

    /// For the origin of a URL that somebody else named: `https`, and public addresses alone.
    ///
    /// # Errors
    /// [`OutgoingError::Setting`].
    pub fn learned(url: &str, ca: Option<&Path>, sources: &Sources) -> Result<Self, OutgoingError> {
        Self::to(url, ca, sources, Reach::Learned)
    }

    fn to(url: &str, ca: Option<&Path>, sources: &Sources, reach: Reach) -> Result<Self, OutgoingError> {
        let is_learned = matches!(reach, Reach::Learned);
        let trust = Trust::of(ca, sources);
        let (origin, _) = Origin::parse(url, ["http", "https"], &trust, reach).map_err(OutgoingError::Setting)?;
        if !origin.is_secure() && (is_learned || !address::is_written_as_loopback(&origin.host)) {
            let message = "nobody may read or change what is asked for there: write `https://`";
            return Err(OutgoingError::Setting(message.to_owned()));
        }
        let limits =
            Limits { connect_timeout: CONNECT_TIMEOUT, idle_timeout: IDLE_TIMEOUT, connections_max: CONNECTIONS_MAX };
        Ok(Self { client: HttpClient::plain(origin.clone(), String::new(), limits), origin })
    }

    /// Whether `url` lies on this origin.
    #[must_use]
    pub fn is_of(&self, url: &str) -> bool {
        url.parse().is_ok_and(|uri| self.origin.is_of(&uri))
    }

    /// Sends `request`, whose URI is a path or a URL of this origin, and reads its whole answer within the time and of at most
    /// `bytes_max`. One that reads is sent once more where a connection turns out to have been closed while it was idle.
    ///
    /// # Errors
    /// [`OutgoingError::Elsewhere`], [`OutgoingError::Unanswered`]. An answer with an error status is an answer.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        within: Duration,
        bytes_max: usize,
    ) -> Result<Response<Bytes>, OutgoingError> {
        if request.uri().authority().is_some() && !self.origin.is_of(request.uri()) {
            return Err(OutgoingError::Elsewhere(self.origin.host.clone()));
        }
        // A code, an assertion or a rotated token is good for one use.
        let care = if request.method().is_safe() { Care::Read } else { Care::Once };
        let limit = Deadline::after(within);
        let mut answer = self.client.send(request, Whose::Weir, care, limit).await?;
        let head = std::mem::replace(&mut answer.head, Response::new(()).into_parts().0);
        Ok(Response::from_parts(head, answer.body(bytes_max, limit).await?))
    }
}

impl From<HttpError> for OutgoingError {
    fn from(error: HttpError) -> Self {
        Self::Unanswered { class: error.class, message: error.reason() }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

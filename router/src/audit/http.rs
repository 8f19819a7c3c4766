//! Each request on the listener of callers is counted once: in the record of a call, or in the count of those that were none.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::Audit;

/// One request while it is answered. Dropped before its end was told it was abandoned.
#[derive(Debug)]
pub(crate) struct Tally {
    audit: Arc<Audit>,
    address: Option<IpAddr>,
    claim: Claim,
}

/// The right to count for the request, which the first call of it takes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claim(Arc<AtomicBool>);

/// In the extensions of an answer: what the request came to, or was, in a word of Weir's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason(pub(crate) &'static str);

impl Tally {
    /// Where there is a log that counts.
    pub(crate) fn begin(audit: &Arc<Audit>, address: Option<IpAddr>) -> Option<Self> {
        audit.has_log().then(|| Self { audit: audit.clone(), address, claim: Claim::default() })
    }

    /// For the extensions of the request.
    pub(crate) fn claim(&self) -> Claim {
        self.claim.clone()
    }

    /// The request was answered.
    pub(crate) fn ended<B>(self, response: &http::Response<B>) {
        let reason = response.extensions().get::<Reason>();
        self.end(reason.map_or_else(|| by_status(response.status()), |reason| reason.0));
    }

    fn end(&self, reason: &'static str) {
        if self.claim.take() {
            self.audit.count(self.address, reason);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.end("abandoned");
    }
}

impl Claim {
    /// Whether nobody else has counted for the request.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// Whether the call of this request that asks first counts for it; false where nothing is counted.
pub(crate) fn counts(request: &http::request::Parts) -> bool {
    request.extensions.get::<Claim>().is_some_and(Claim::take)
}

fn by_status(status: http::StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "request",
        400 => "malformed",
        401 => "unauthenticated",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        406 => "not_acceptable",
        408 => "too_slow",
        413 => "too_large",
        415 => "unsupported_media_type",
        429 => "limited",
        503 => "no_room",
        _ => "refused",
    }
}

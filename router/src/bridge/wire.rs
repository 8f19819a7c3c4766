//! One request to the router, tried again as long as it is certain, or harmless, that it was not carried out.

use std::sync::atomic::{AtomicBool, Ordering};

use adapters::Delays;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Settings,
    failure::{Failure, Names},
    http::Http,
    stream::Limits,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const JSON_OR_EVENTS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const LAST_EVENT_ID: &str = "last-event-id";

/// The way to the router.
pub(super) struct Wire {
    http: Http,
    settings: Settings,
    /// Whether the last attempt met no router: told once, not with every attempt.
    unreachable: AtomicBool,
    pub(super) names: Names,
}

impl Wire {
    pub(super) fn new(http: Http, settings: Settings) -> Self {
        Self { names: http.names(), http, settings, unreachable: AtomicBool::new(false) }
    }

    /// Posts a message. `harmless`: it may reach the router twice. `sent` tells, at any moment, whether the router may have seen it.
    pub(super) async fn post(
        &self,
        mut headers: HeaderMap,
        body: Bytes,
        harmless: bool,
        sent: &AtomicBool,
    ) -> Result<Response<Incoming>, Failure> {
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::ACCEPT, JSON_OR_EVENTS);
        let started = Instant::now();
        let mut delays = self.delays();
        loop {
            sent.store(true, Ordering::Release);
            let answer =
                timeout(self.settings.silence_max, self.http.send(Method::POST, headers.clone(), body.clone())).await;
            let error = match answer {
                Ok(Ok(response)) => {
                    if self.unreachable.swap(false, Ordering::Relaxed) {
                        tracing::info!(router = self.names.router, "Weir can be reached again");
                    }
                    return Ok(response);
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(Failure::Silent { waited: self.settings.silence_max }),
            };
            if error.garbled {
                return Err(Failure::Unusable { reason: error.reason });
            }
            if error.unsent {
                sent.store(false, Ordering::Release);
            } else if !harmless {
                return Err(Failure::Lost { reason: error.reason });
            }
            if error.untrusted {
                return Err(Failure::Untrusted { reason: error.reason });
            }
            let delay = delays.next();
            let tried_for = started.elapsed();
            if tried_for + delay > self.settings.retry_for {
                return Err(Failure::Unreachable { reason: error.reason, tried_for });
            }
            if !self.unreachable.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    router = self.names.router,
                    reason = error.reason,
                    "Weir cannot be reached; trying again"
                );
            }
            sleep(delay).await;
        }
    }

    /// Asks for the stream of what the server says unasked, from `last_event_id` on. Tried once.
    pub(super) async fn get(
        &self,
        mut headers: HeaderMap,
        last_event_id: Option<&str>,
    ) -> Result<Response<Incoming>, Failure> {
        headers.insert(header::ACCEPT, EVENTS);
        if let Some(id) = last_event_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        let asked = timeout(self.settings.silence_max, self.http.send(Method::GET, headers, Bytes::new())).await;
        let answer = asked.map_err(|_| Failure::Silent { waited: self.settings.silence_max })?;
        answer.map_err(|error| Failure::Lost { reason: error.reason })
    }

    /// Ends a session. Whether the server minds is its own affair.
    pub(super) async fn delete(&self, headers: HeaderMap) {
        if let Err(error) = self.http.send(Method::DELETE, headers, Bytes::new()).await {
            tracing::debug!(reason = error.reason, "the session could not be ended");
        }
    }

    /// The waits between attempts.
    pub(super) fn delays(&self) -> Delays {
        Delays::new(self.settings.retry_first, self.settings.retry_longest)
    }

    /// What bounds an answer.
    pub(super) fn limits(&self) -> Limits {
        Limits { bytes_max: self.settings.answer_bytes_max, silence_max: Some(self.settings.silence_max) }
    }

    /// What bounds a stream of notifications, which may well be silent.
    pub(super) fn stream_limits(&self) -> Limits {
        Limits { silence_max: None, ..self.limits() }
    }
}

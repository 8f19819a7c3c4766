//! What was decided about a call on its way, for its audit record: who is asked later needs to say why.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;

use crate::{
    policy::{NamedView, Verdict},
    telemetry,
};

/// The decisions about one call. Shared by the call and the fetch that it began; clones write into one trail.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail(Arc<Mutex<Decisions>>);

/// What was decided. Nothing in it is text of a caller.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Decisions {
    /// The view that the call came through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) view: Option<Arc<str>>,
    /// The conditions of the policy that were judged, and what they came to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) conditions: Vec<Verdict>,
    /// Why the policy denied it: `role`, `view`, `condition`, `arguments`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) denied_by: Option<&'static str>,
    /// The masking profiles of the caller for this tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) masking: Option<Arc<str>>,
    /// How many values each rule masked in what the downstream said for this call. Answers out of the cache are masked already.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) masked: BTreeMap<Arc<str>, u64>,
    /// How many pseudonyms in the arguments became values again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<usize>,
    /// The limits that were charged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) limits: Vec<Arc<str>>,
    /// The limit that refused the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limited_by: Option<Arc<str>>,
    /// How long it waited for the downstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_ms: Option<u64>,
    /// What happened at the downstream, attempt by attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) attempts: Vec<Attempt>,
    /// Why there was no further attempt after one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_repeated: Option<&'static str>,
    /// What the breaker was when the call came to it, where it was not closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) breaker: Option<&'static str>,
    /// What came of looking for a write without an answer: `found`, `not_seen`, `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) looked_for: Option<&'static str>,
    /// What the idempotency key came to: `first`, `repeated`, `waited`, `reused`, `gone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<&'static str>,
}

/// One attempt at the downstream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Attempt {
    /// `ok`, or the class of the failure.
    pub(crate) outcome: &'static str,
    /// Whether bytes may have left: `no`, `yes`, `unknown`.
    pub(crate) sent: &'static str,
    pub(crate) took_ms: u64,
    /// Why it was made, for all but the first: `not_sent`, `read`, `idempotent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<&'static str>,
    /// The kind of credential that the downstream was shown: `token_exchange`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<&'static str>,
}

impl Trail {
    /// Writes into the trail.
    pub(crate) fn note(&self, write: impl FnOnce(&mut Decisions)) {
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The call came through this view.
    pub(crate) fn came_through(&self, view: Option<&NamedView>) {
        if let Some(view) = view {
            self.note(|decisions| decisions.view = Some(view.name.clone()));
        }
    }

    /// Conditions of the policy were judged.
    pub(crate) fn judged(&self, verdicts: Vec<Verdict>) {
        if !verdicts.is_empty() {
            self.note(|decisions| decisions.conditions.extend(verdicts));
        }
    }

    /// The policy denied the call.
    pub(crate) fn denied(&self, reason: &'static str) {
        telemetry::call_denied(reason);
        self.note(|decisions| decisions.denied_by = Some(reason));
    }

    /// What was decided so far.
    pub(crate) fn decisions(&self) -> Decisions {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rules masked so many values.
    pub(crate) fn masked(&self, counts: &[(Arc<str>, u64)]) {
        self.note(|decisions| {
            for (rule, count) in counts {
                *decisions.masked.entry(rule.clone()).or_default() += count;
            }
        });
    }

    /// The call waited for the downstream.
    pub(crate) fn queued(&self, waited: Duration) {
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.note(|decisions| decisions.queued_ms = Some(waited_ms));
    }
}

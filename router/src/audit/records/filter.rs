//! Which records are looked for.

use std::borrow::Cow;

use config::Glob;
use jiff::Timestamp;
use serde::Deserialize;

/// Which records are looked for: all that is stated must hold.
#[derive(Debug, Default)]
pub struct Filter {
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// `call`, `intent`, `event`, `counted`.
    pub kind: Option<String>,
    /// The name of an event.
    pub event: Option<String>,
    /// Who called.
    pub subject: Option<String>,
    /// The organisation.
    pub tenant: Option<String>,
    /// The id of a key, or of another credential.
    pub credential: Option<String>,
    /// The address a call came from.
    pub address: Option<String>,
    /// The name of the tool as callers see it.
    pub tool: Option<Glob>,
    /// What became of it.
    pub outcome: Option<String>,
    /// The id of one call.
    pub request_id: Option<String>,
    /// Stands somewhere in the record, in capitals or not.
    pub text: Option<String>,
}

/// What is looked at in a record.
#[derive(Debug, Deserialize)]
pub struct Head<'a> {
    /// When it happened.
    pub time: Timestamp,
    /// `call`, `intent`, `event`, `counted`.
    #[serde(borrow, default)]
    pub kind: Option<Cow<'a, str>>,
    /// The name of an event.
    #[serde(borrow, default)]
    pub event: Option<Cow<'a, str>>,
    /// Who called.
    #[serde(borrow, default)]
    pub subject: Option<Cow<'a, str>>,
    /// The organisation.
    #[serde(borrow, default)]
    pub tenant: Option<Cow<'a, str>>,
    /// The id of the credential.
    #[serde(borrow, default)]
    pub credential: Option<Cow<'a, str>>,
    /// The address a call came from.
    #[serde(borrow, default)]
    pub address: Option<Cow<'a, str>>,
    /// The name that the caller asked for.
    #[serde(borrow, default)]
    pub asked: Option<Cow<'a, str>>,
    /// What became of it.
    #[serde(borrow, default)]
    pub outcome: Option<Cow<'a, str>>,
    /// The id of the call.
    #[serde(borrow, default)]
    pub request_id: Option<Cow<'a, str>>,
    /// Why requests were counted.
    #[serde(borrow, default)]
    pub reason: Option<Cow<'a, str>>,
    /// How many requests a record stands for.
    #[serde(default)]
    pub count: Option<u64>,
    /// How long a call took.
    #[serde(default)]
    pub took_ms: Option<f64>,
}

impl Filter {
    /// The time of a record that is looked for; none for all others.
    pub(super) fn time_of(&self, record: &str) -> Option<Timestamp> {
        let head: Head<'_> = serde_json::from_str(record).ok()?;
        self.takes(&head, record).then_some(head.time)
    }

    fn takes(&self, head: &Head<'_>, record: &str) -> bool {
        let is = |wanted: &Option<String>, found: &Option<Cow<'_, str>>| {
            wanted.as_deref().is_none_or(|wanted| found.as_deref() == Some(wanted))
        };
        self.since.is_none_or(|since| head.time >= since)
            && self.until.is_none_or(|until| head.time < until)
            && is(&self.kind, &head.kind)
            && is(&self.event, &head.event)
            && is(&self.subject, &head.subject)
            && is(&self.tenant, &head.tenant)
            && is(&self.credential, &head.credential)
            && is(&self.address, &head.address)
            && is(&self.outcome, &head.outcome)
            && is(&self.request_id, &head.request_id)
            && self.tool.as_ref().is_none_or(|tool| head.asked.as_deref().is_some_and(|asked| tool.matches(asked)))
            && self.text.as_deref().is_none_or(|text| contains(record, text))
    }
}

/// Whether `wanted` stands in `text`, in capitals or not.
fn contains(text: &str, wanted: &str) -> bool {
    text.contains(wanted) || text.to_lowercase().contains(&wanted.to_lowercase())
}

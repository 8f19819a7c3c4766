//! One final record for every call: also for one that is denied, refused or abandoned by its caller.

pub mod age;
mod bech32;
pub mod entry;
pub mod hash;
pub mod seal;
pub mod segment;
pub mod signing;
mod writer;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use adapters::Caller;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    call::{Decisions, Outcome, Trail},
    catalog::Tool,
    policy::Rule,
    telemetry,
};

/// How many records stay in memory for the operator to look at.
const RECENT_MAX: usize = 1000;
/// How much of a name that a caller sent is kept, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Where records go: memory for the recent ones, and a file where the config names a folder.
#[derive(Debug)]
pub struct Audit {
    recent: Mutex<VecDeque<Arc<RawValue>>>,
    writer: Option<writer::Writer>,
}

impl Audit {
    /// An audit log in `dir`, or in memory alone.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn open(dir: Option<&Path>) -> std::io::Result<Arc<Self>> {
        let writer = dir.map(writer::Writer::open).transpose()?;
        Ok(Arc::new(Self { recent: Mutex::default(), writer }))
    }

    /// The last records, the newest first.
    #[must_use]
    pub fn recent(&self, most: usize) -> Vec<Arc<RawValue>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().take(most).cloned().collect()
    }

    /// Waits until what was recorded is with the system, for at most `within`.
    pub async fn flush(&self, within: Duration) {
        if let Some(writer) = &self.writer
            && tokio::time::timeout(within, writer.flush()).await.is_err()
        {
            tracing::error!("the last audit records did not reach the disk in time: is it stuck?");
        }
    }

    /// Records something other than a call that bears on security: `kind` names it (`key_revoked`, `config_reloaded`), `details` has what a
    /// reader needs, nothing secret, and no text of a caller that was not masked.
    pub fn event(&self, kind: &'static str, details: serde_json::Value) {
        self.append(&Event { kind: "event", time: Timestamp::now(), event: kind, details });
    }

    fn append(&self, line: &impl Serialize) {
        let text = serde_json::to_string(line).expect("a record has a JSON form");
        let record: Arc<RawValue> = RawValue::from_string(text).expect("a record is JSON").into();
        // One lock for both, so that records that end in the same moment stand in one order in memory and in the file.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = &self.writer
            && !writer.append(record.clone())
        {
            telemetry::audit_lost();
            tracing::error!("an audit record found the writer's queue full: is the disk stuck?");
        }
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(record);
    }
}

/// The record of one call while it runs. Dropped without [`finish`](Record::finish) it says that the call was abandoned.
#[derive(Debug)]
pub struct Record {
    audit: Arc<Audit>,
    opened: Timestamp,
    started: Instant,
    request_id: Uuid,
    trace: String,
    caller: Arc<Caller>,
    origin: Origin,
    asked: String,
    tool: Option<Arc<Tool>>,
    rule: Option<Rule>,
    cache: Option<Outcome>,
    trail: Trail,
    denied: bool,
    finished: bool,
}

/// How a call came in.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// `mcp`, or `plain` for the plain JSON API.
    pub surface: &'static str,
    /// The protocol revision the caller speaks.
    pub protocol: Option<&'static str>,
    /// What the caller's program calls itself, as it said.
    pub client: Option<Arc<str>>,
}

/// What a call came to.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// One word for it.
    pub outcome: &'static str,
    /// The size of the result.
    pub result_bytes: Option<usize>,
}

impl Record {
    /// Opens the record of a call.
    #[must_use]
    pub fn open(
        audit: Arc<Audit>,
        request_id: Uuid,
        trace: String,
        caller: Arc<Caller>,
        origin: Origin,
        asked: &str,
    ) -> Self {
        let end = asked.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|&end| end <= NAME_BYTES_MAX).last();
        Self {
            audit,
            opened: Timestamp::now(),
            started: Instant::now(),
            request_id,
            trace,
            caller,
            origin,
            asked: asked[..end.unwrap_or(0)].to_owned(),
            tool: None,
            rule: None,
            cache: None,
            trail: Trail::default(),
            denied: false,
            finished: false,
        }
    }

    /// The name is that of a tool.
    pub fn resolved(&mut self, tool: Arc<Tool>) {
        self.tool = Some(tool);
    }

    /// The tool that the name is of.
    #[must_use]
    pub fn tool(&self) -> Option<&Arc<Tool>> {
        self.tool.as_ref()
    }

    /// Names the call.
    #[must_use]
    pub fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// The policy allowed the call.
    pub fn allowed(&mut self, rule: Rule) {
        self.rule = Some(rule);
    }

    /// The policy denied the call. The caller hears of an unknown tool; the record has the truth.
    pub fn denied(&mut self) {
        self.denied = true;
    }

    /// What the cache was to the call.
    pub(crate) fn cache(&mut self, outcome: Option<Outcome>) {
        self.cache = outcome;
    }

    /// Where the decisions about the call are noted.
    pub(crate) fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Closes the record and writes it.
    pub fn finish(mut self, ending: Ending) {
        self.write(ending);
    }

    fn write(&mut self, ending: Ending) {
        self.finished = true;
        let took = self.started.elapsed();
        let outcome = if self.denied { "denied" } else { ending.outcome };
        let tool = self.tool.as_deref();
        let downstream = tool.map(|tool| tool.downstream.name.as_str());
        telemetry::call_ended(
            self.origin.surface,
            downstream.unwrap_or("_other"),
            tool.map_or("_other", |tool| &tool.name.shown),
            outcome,
            took,
        );
        if let (Some(tool), Some(cache)) = (tool, self.cache) {
            telemetry::cache_asked(&tool.name.shown, cache.as_str());
        }
        tracing::info!(
            request_id = %self.request_id, subject = %self.caller.principal.subject, tool = %self.asked, outcome,
            took_ms = micros(took) as f64 / 1000.0, "call"
        );
        self.audit.append(&Line {
            time: self.opened,
            request_id: self.request_id,
            trace_id: &self.trace,
            issuer: &self.caller.principal.issuer,
            subject: &self.caller.principal.subject,
            tenant: self.caller.principal.tenant.as_deref(),
            roles: &self.caller.roles,
            credential: self.caller.credential_id.as_deref(),
            authenticated_by: self.caller.method.as_str(),
            address: self.caller.address.map(|address| address.to_string()),
            surface: self.origin.surface,
            protocol: self.origin.protocol,
            client: self.origin.client.as_deref(),
            asked: &self.asked,
            downstream,
            local_name: tool.map(|tool| &*tool.name.local),
            effect: tool.map(|tool| tool.effect.as_str()),
            rule: self.rule.as_deref(),
            cache: self.cache.map(Outcome::as_str),
            decisions: self.trail.decisions(),
            outcome,
            result_bytes: ending.result_bytes,
            took_ms: micros(took) as f64 / 1000.0,
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.finished {
            self.write(Ending { outcome: "abandoned", result_bytes: None });
        }
    }
}

fn micros(period: Duration) -> u64 {
    u64::try_from(period.as_micros()).unwrap_or(u64::MAX)
}

/// Something other than a call.
#[derive(Serialize)]
struct Event {
    kind: &'static str,
    time: Timestamp,
    event: &'static str,
    details: serde_json::Value,
}

/// The record on disk. Arguments and results are left out until they can be masked.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    request_id: Uuid,
    trace_id: &'a str,
    issuer: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    roles: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    authenticated_by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    surface: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    asked: &'a str,
    downstream: Option<&'a str>,
    local_name: Option<&'a str>,
    effect: Option<&'static str>,
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    #[serde(flatten)]
    decisions: Decisions,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_bytes: Option<usize>,
    /// To the microsecond: an answer out of memory takes a fraction of a millisecond.
    took_ms: f64,
}

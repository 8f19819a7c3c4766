//! The record of one call.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::Duration,
};

use adapters::Caller;
use aws_lc_rs::hmac;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{sync::OnceCell, time::Instant};
use uuid::Uuid;

use crate::{
    call::{Decisions, Outcome, ToolCall, Trail},
    catalog::Tool,
    masking::AuditMask,
    policy::Rule,
    telemetry,
};

use super::{Audit, Unaudited, hash::Hash, raw};

/// How much of a name that a caller sent is kept, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// How much of masked arguments is kept.
const ARGUMENTS_BYTES_MAX: usize = 8 << 10;
/// The outcome of a call that was refused because no record of it could be written.
const UNAUDITED: &str = "unaudited";
/// How much of a masked result is kept, where `audit.bodies` says that it is.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The record of one call while it runs. Dropped without [`finish`](Record::finish) it says that the call was abandoned.
#[derive(Debug)]
pub struct Record {
    facts: Arc<Facts>,
    tool: Option<Arc<Tool>>,
    rule: Option<Rule>,
    cache: Option<Outcome>,
    trail: Trail,
    denied: bool,
    finished: bool,
}

/// What is known of a call when it comes.
#[derive(Debug)]
struct Facts {
    audit: Arc<Audit>,
    mask: Arc<AuditMask>,
    opened: Timestamp,
    started: Instant,
    request_id: Uuid,
    trace: String,
    caller: Arc<Caller>,
    origin: Origin,
    asked: String,
    arguments: Option<Bytes>,
    /// They are masked once, for the intent and for the end.
    masked: OnceLock<Option<Box<RawValue>>>,
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
    /// Names the session it belongs to, where there is one. Not the id by which its caller does.
    pub session: Option<Uuid>,
    /// Whether its record counts for its HTTP request: of the calls of a batch one does.
    pub counts: bool,
}

/// What a call came to.
#[derive(Debug, Clone)]
pub struct Ending {
    /// One word for it.
    pub outcome: &'static str,
    /// The result.
    pub result: Option<Bytes>,
}

/// A write that is about to be sent.
#[derive(Debug)]
pub(crate) struct Intent {
    facts: Arc<Facts>,
    tool: Arc<Tool>,
    rule: Option<Rule>,
    trail: Trail,
    written: OnceCell<()>,
}

impl Record {
    /// Opens the record of a call.
    #[must_use]
    pub(crate) fn open(audit: Arc<Audit>, mask: Arc<AuditMask>, call: &ToolCall) -> Self {
        Self {
            facts: Arc::new(Facts {
                arguments: call.arguments.clone().filter(|_| audit.is_kept()),
                audit,
                mask,
                opened: Timestamp::now(),
                started: Instant::now(),
                request_id: call.request_id,
                trace: call.trace.to_string(),
                caller: call.caller.clone(),
                origin: call.origin.clone(),
                asked: bounded(&call.name).to_owned(),
                masked: OnceLock::new(),
            }),
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
        self.facts.request_id
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

    /// What has to be on the disk before the call is sent, where it writes and there is a log.
    pub(crate) fn intent(&self) -> Option<Intent> {
        let tool = self.tool.clone().filter(|_| self.facts.audit.has_log())?;
        let (facts, rule, trail) = (self.facts.clone(), self.rule.clone(), self.trail.clone());
        Some(Intent { facts, tool, rule, trail, written: OnceCell::new() })
    }

    /// Closes the record and writes it.
    pub fn finish(mut self, ending: &Ending) {
        self.write(ending);
    }

    fn write(&mut self, ending: &Ending) {
        self.finished = true;
        let facts = &*self.facts;
        let took = facts.started.elapsed();
        let outcome = if self.denied { "denied" } else { ending.outcome };
        let tool = self.tool.as_deref();
        telemetry::call_ended(
            facts.origin.surface,
            tool.map_or("_other", |tool| tool.downstream.name.as_str()),
            tool.map_or("_other", |tool| &tool.name.shown),
            outcome,
            took,
        );
        if let (Some(tool), Some(cache)) = (tool, self.cache) {
            telemetry::cache_asked(&tool.name.shown, cache.as_str());
        }
        tracing::info!(
            request_id = %facts.request_id, subject = %facts.caller.principal.subject, tool = %facts.shown(tool), outcome,
            took_ms = micros(took) as f64 / 1000.0, "call"
        );
        // Whoever was refused for want of room finds none here either.
        if ending.outcome == UNAUDITED && facts.audit.lag().is_some_and(|lag| lag.full) {
            return facts.audit.count(facts.caller.address, UNAUDITED);
        }
        let result = ending.result.as_ref();
        let end = End {
            outcome,
            cache: self.cache.map(Outcome::as_str),
            result_bytes: result.map(Bytes::len),
            result_digest: result.and_then(|result| facts.audit.digest(result)),
            result: result.filter(|_| facts.audit.keeps_bodies()).map(|result| facts.mask.json(result, BODY_BYTES_MAX)),
            took_ms: micros(took) as f64 / 1000.0,
        };
        let record = raw(&facts.line("call", tool, self.rule.as_deref(), self.trail.decisions(), Some(end)));
        facts.audit.append(record);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.finished {
            self.write(&Ending { outcome: "abandoned", result: None });
        }
    }
}

impl Intent {
    /// Waits until the intent is on the disk; a further attempt of the same write finds it there.
    pub(crate) async fn written(&self) -> Result<(), Unaudited> {
        let write = || {
            let decisions = self.trail.decisions();
            let line = self.facts.line("intent", Some(&self.tool), self.rule.as_deref(), decisions, None);
            self.facts.audit.confirmed(raw(&line))
        };
        self.written.get_or_try_init(write).await.map(|_| ())
    }
}

impl Facts {
    /// The name that was asked for, masked where it is none of ours.
    fn shown(&self, tool: Option<&Tool>) -> Cow<'_, str> {
        if tool.is_some() { Cow::Borrowed(&self.asked) } else { self.mask.text(&self.asked) }
    }

    fn line<'a>(
        &'a self,
        kind: &'static str,
        tool: Option<&'a Tool>,
        rule: Option<&'a str>,
        decisions: Decisions,
        end: Option<End>,
    ) -> Line<'a> {
        let principal = &self.caller.principal;
        let masked = || self.arguments.as_ref().map(|arguments| self.mask.json(arguments, ARGUMENTS_BYTES_MAX));
        Line {
            kind,
            time: self.opened,
            request_id: self.request_id,
            trace_id: &self.trace,
            issuer: &principal.issuer,
            subject: &principal.subject,
            tenant: principal.tenant.as_deref(),
            roles: &self.caller.roles,
            credential: self.caller.credential_id.as_deref(),
            authenticated_by: self.caller.method.as_str(),
            address: self.caller.address.map(|address| address.to_string()),
            surface: self.origin.surface,
            protocol: self.origin.protocol,
            client: self.origin.client.as_deref().map(|client| self.mask.text(bounded(client))),
            session: self.origin.session,
            http: (kind == "call" && self.origin.counts).then_some(1),
            asked: self.shown(tool),
            arguments: self.masked.get_or_init(masked).as_deref(),
            downstream: tool.map(|tool| tool.downstream.name.as_str()),
            local_name: tool.map(|tool| &*tool.name.local),
            effect: tool.map(|tool| tool.effect.as_str()),
            rule,
            decisions,
            end,
        }
    }
}

impl Audit {
    /// Names a result without telling it: who has the result and the master secret can make the same.
    fn digest(&self, result: &[u8]) -> Option<Hash> {
        let digest = hmac::sign(&self.log.as_ref()?.digests, result);
        Some(Hash(digest.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")))
    }

    fn keeps_bodies(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.bodies)
    }
}

/// The beginning of a text of a caller.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_BYTES_MAX)]
}

fn micros(period: Duration) -> u64 {
    u64::try_from(period.as_micros()).unwrap_or(u64::MAX)
}

/// The record as it is written.
#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
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
    client: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<u8>,
    asked: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
    downstream: Option<&'a str>,
    local_name: Option<&'a str>,
    effect: Option<&'static str>,
    rule: Option<&'a str>,
    #[serde(flatten)]
    decisions: Decisions,
    #[serde(flatten)]
    end: Option<End>,
}

/// What only the final record has.
#[derive(Serialize)]
struct End {
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_digest: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    /// To the microsecond: an answer out of memory takes a fraction of a millisecond.
    took_ms: f64,
}

//! What operators hear of definitions, each once: in the log, in the audit log, as metrics.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Digest, Finding, Why, diff, visible};
use crate::{audit::Audit, telemetry};

/// How many lines of a diff go into the log and the audit log. `/admin/definitions` has all of it.
const DIFF_LINES_MAX: usize = 40;
/// How much of them, in bytes.
const DIFF_BYTES_MAX: usize = 4 << 10;
/// How many reports one downstream gets in an hour: one that changes all the time must not fill the disk. Metrics count the rest.
const REPORTS_PER_HOUR: u32 = 200;

/// Something that happened to a definition.
#[derive(Debug)]
pub(super) enum Report<'a> {
    Held {
        name: &'a str,
        why: Why,
        digest: Digest,
        base: Option<&'a str>,
        definition: &'a str,
        findings: Arc<[Finding]>,
    },
    Released {
        name: &'a str,
        digest: Digest,
    },
    /// It is another one, and callers see it: nothing is pinned, or both were approved.
    Changed {
        name: &'a str,
        digest: Digest,
        old: Option<&'a str>,
        definition: &'a str,
        findings: Arc<[Finding]>,
    },
    /// Nothing is pinned, and there is something in it that deserves a look.
    Suspicious {
        name: &'a str,
        digest: Digest,
        findings: Arc<[Finding]>,
    },
    /// The lock file has it, and the downstream offers it no more.
    Missing {
        name: String,
    },
}

/// How many reports there were in the hour.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Budget {
    hour: i64,
    told: u32,
}

impl Budget {
    fn take(&mut self, now: Timestamp) -> bool {
        let hour = now.as_second().div_euclid(3600);
        if hour != self.hour {
            *self = Self { hour, told: 0 };
        }
        self.told += 1;
        if self.told == REPORTS_PER_HOUR + 1 {
            tracing::warn!(
                "too many changes of definitions in an hour: the rest is only counted (weir_definitions_changed_total)"
            );
        }
        self.told <= REPORTS_PER_HOUR
    }
}

pub(super) fn tell(audit: &Audit, downstream: &str, reports: Vec<Report<'_>>, budget: &mut Budget) {
    for report in reports {
        if matches!(report, Report::Held { .. } | Report::Changed { .. }) {
            telemetry::definition_changed(downstream);
        }
        if budget.take(Timestamp::now()) {
            one(audit, downstream, report);
        }
    }
}

fn one(audit: &Audit, downstream: &str, report: Report<'_>) {
    match report {
        Report::Held { name, why, digest, base, definition, findings } => {
            let (name, lines) = (visible::shown(name), shortened(diff(base, definition)));
            tracing::warn!(
                downstream, tool = %name, why = why.as_str(), %digest, findings = said(&findings), diff = lines.join(" ⏎ "),
                "a tool is held back until its definition is approved: look at it with `weir lock held`"
            );
            let why = why.as_str();
            let details = json!({ "why": why, "findings": findings, "diff": lines });
            event(audit, "definition_held", downstream, &name, digest, details);
        }
        Report::Released { name, digest } => {
            let name = visible::shown(name);
            tracing::info!(downstream, tool = %name, %digest, "a tool is shown again: its definition is an approved one");
            event(audit, "definition_released", downstream, &name, digest, json!({}));
        }
        Report::Changed { name, digest, old, definition, findings } => {
            let (name, lines) = (visible::shown(name), shortened(diff(old, definition)));
            tracing::warn!(
                downstream, tool = %name, %digest, findings = said(&findings), diff = lines.join(" ⏎ "),
                "the definition of a tool has changed, and callers see the new one"
            );
            event(
                audit,
                "definition_changed",
                downstream,
                &name,
                digest,
                json!({ "findings": findings, "diff": lines }),
            );
        }
        Report::Suspicious { name, digest, findings } => {
            let name = visible::shown(name);
            tracing::warn!(downstream, tool = %name, findings = said(&findings), "something in the definition of a tool deserves a look");
            event(audit, "definition_suspicious", downstream, &name, digest, json!({ "findings": findings }));
        }
        Report::Missing { name } => {
            let name = visible::shown(&name);
            tracing::warn!(downstream, tool = %name, "a tool of the lock file is not offered any more");
            audit.event("definition_missing", json!({ "downstream": downstream, "tool": name }));
        }
    }
}

/// Somebody approved a definition.
pub(super) fn approved(audit: &Audit, downstream: &str, tool: &str, digest: Digest) {
    let tool = visible::shown(tool);
    tracing::info!(downstream, %tool, %digest, "an operator approved the definition of a tool");
    event(audit, "definition_approved", downstream, &tool, digest, json!({ "by": "operator" }));
}

fn event(audit: &Audit, kind: &'static str, downstream: &str, tool: &str, digest: Digest, more: Value) {
    let mut details = json!({ "downstream": downstream, "tool": tool, "digest": digest.to_string() });
    if let (Value::Object(details), Value::Object(more)) = (&mut details, more) {
        details.extend(more);
    }
    audit.event(kind, details);
}

fn said(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    let fits = |line: &&String| {
        bytes += line.len();
        bytes <= DIFF_BYTES_MAX
    };
    let kept = lines.iter().take(DIFF_LINES_MAX).take_while(fits).count();
    if kept < lines.len() {
        lines.truncate(kept);
        lines.push("… (the rest is in /admin/definitions)".to_owned());
    }
    lines
}

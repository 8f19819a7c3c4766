//! The bundle for a reader, as Markdown.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{Criterion, Evidence};
use crate::audit::verify::Report;

/// The bundle for a reader, as Markdown.
#[must_use]
pub fn summary(evidence: &Evidence, criteria: &[&Criterion], report: &Report, now: Timestamp) -> String {
    let mut text = String::new();
    let moment = |time: Option<Timestamp>, otherwise: &str| {
        time.map_or_else(|| otherwise.to_owned(), |time| format!("{time:.0}"))
    };
    let mut line =
        |words: std::fmt::Arguments<'_>| writeln!(text, "{words}").expect("a text takes what is written to it");
    line(format_args!("# Evidence from the audit log of Weir\n"));
    let (since, until) = (moment(evidence.since, "the beginning"), moment(evidence.until, "now"));
    line(format_args!("Made at {now:.0} for the time from {since} to {until}.\n"));
    line(format_args!(
        "This bundle shows what was recorded and which settings were in force. It does not say that a criterion is met: whether a control is designed and \
         works well enough is for the auditor to judge, and each section names what must be shown by other means.\n"
    ));
    line(format_args!("## Whether the log is what was written\n"));
    match report.gravest() {
        None => line(format_args!(
            "Yes: {} chains, {} records, {} signed checkpoints, no damage.",
            report.chains.len(),
            report.records,
            report.checkpoints
        )),
        Some(gravest) => line(format_args!(
            "**No: {} damages.** The gravest: chain {}, line {}: {}. What follows rests on a damaged log.",
            report.damages.len() + report.further_damages,
            gravest.chain,
            gravest.seq.unwrap_or_default(),
            gravest.what
        )),
    }
    match report.anchored {
        Some(anchored) => line(format_args!("{anchored} checkpoints are the same in the anchor.")),
        None => {
            line(format_args!(
                "No anchor was given: that nobody with the signing key wrote the log anew is not shown."
            ));
        }
    }
    if !report.keys_were_given {
        line(format_args!(
            "The signatures were compared with the keys in the folder of the log itself, and with none from elsewhere."
        ));
    }
    if evidence.unread.sealed + evidence.unread.damaged > 0 {
        let super::Unread { sealed, damaged } = evidence.unread;
        line(format_args!(
            "**Not everything could be read:** {sealed} sealed records, {damaged} damaged lines. The counts leave them out."
        ));
    }
    line(format_args!("\n## Counts\n\n| records | how many |\n|---|---|"));
    for (name, sort) in &evidence.sorts {
        line(format_args!("| {name} | {} |", sort.count));
    }
    for criterion in criteria {
        let Criterion { id, asks, does, shown_by, settings, not_shown } = criterion;
        line(format_args!("\n## {id}\n\n*{asks}*\n\n**What Weir does.** {does}\n"));
        let counts: Vec<String> = shown_by
            .iter()
            .map(|selector| format!("{} {}", evidence.sorts[selector.name()].count, selector.name()))
            .collect();
        line(format_args!("**Records.** {}.\n", counts.join(", ")));
        if !settings.is_empty() {
            line(format_args!("**Settings in force.** {}: under `criteria` in evidence.json.\n", settings.join(", ")));
        }
        line(format_args!("**What this does not show.** {not_shown}"));
    }
    text
}

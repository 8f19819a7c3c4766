//! `weir audit verify`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::{Exit, Log};
use crate::cli::{Style, output::count};
use router::audit::verify::{Chain, End, Keys, Report, Settings, verify};

/// How many damages are told to a person; all of them are in the JSON.
const TOLD_MAX: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    pub(super) against: Against,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// What a log is verified against.
#[derive(Debug, Args)]
pub(super) struct Against {
    /// The file elsewhere to which checkpoints were appended: `audit.anchor` in weir.yaml.
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// A public key that may have signed (PEM). May be given several times, where the key was replaced. Without it those count that lie in
    /// the folder as *.pub, which whoever can write there can replace.
    #[arg(long = "public-key", value_name = "FILE")]
    public_keys: Vec<PathBuf>,
}

impl Against {
    pub(super) fn verify(&self, log: &Log) -> anyhow::Result<Report> {
        let dir = log.dir()?.to_owned();
        let keys = if self.public_keys.is_empty() { Keys::in_folder(&dir)? } else { Keys::given(&self.public_keys)? };
        let identity = log.identity()?;
        let anchor = self.anchor.clone();
        verify(Settings { dir, anchor, identity: identity.as_ref(), keys, now: Timestamp::now() })
            .context("the log cannot be read")
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let report = arguments.against.verify(&arguments.log)?;
    let stdout = io::stdout();
    let style = Style::of(&stdout);
    let mut stdout = stdout.lock();
    let exit = report.gravest().map_or(Exit::Done, |gravest| Exit::AuditDamaged(gravest.kind.exit_code()));
    if arguments.json {
        let verdict = if report.damages.is_empty() { "whole" } else { "damaged" };
        writeln!(stdout, "{}", json!({ "verdict": verdict, "exit_code": u8::from(exit), "report": report }))?;
        return Ok(exit);
    }
    write!(stdout, "{}", text(&report, style))?;
    Ok(exit)
}

/// The report for a person.
pub(super) fn text(report: &Report, style: Style) -> String {
    let mut lines = Vec::new();
    for Chain { chain, instance, segments, records, from, to, end, pruned, .. } in &report.chains {
        let moment = |time: &Option<Timestamp>| time.map_or_else(|| "?".to_owned(), |time| format!("{time:.0}"));
        let end = match end {
            End::Ended => "ended",
            End::Died => "died, as a later start says",
            End::Open => "open",
        };
        let pruned = if *pruned { ", its beginning pruned" } else { "" };
        lines.push(format!(
            "{chain}  {instance}  {} to {}  {}, {records} records, {end}{pruned}",
            moment(from),
            moment(to),
            count(*segments, "segment"),
        ));
    }
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    if !report.keys_were_given && report.checkpoints > 0 {
        lines.push(
            "note: the signatures were compared with the keys that lie in the folder itself. Keep a copy elsewhere and give it: --public-key".to_owned(),
        );
    }
    match report.anchored {
        Some(anchored) => lines.push(format!("anchor: {anchored} of its checkpoints are in the log as they were")),
        None => lines.push(
            "note: without --anchor FILE nobody would see that who holds the signing key wrote the log anew".to_owned(),
        ),
    }
    for damage in report.damages.iter().take(TOLD_MAX) {
        let seq = damage.seq.map(|seq| format!(" line {seq}")).unwrap_or_default();
        let file = damage.file.as_ref().map(|file| format!(" ({file})")).unwrap_or_default();
        lines.push(format!("{}: chain {}{seq}{file}: {}", style.bad("damage"), damage.chain, damage.what));
        lines.push(format!("  that means: {}", damage.kind.meaning()));
        lines.push(format!("  what to do: {}", damage.kind.advice()));
    }
    let damages = report.damages.len() + report.further_damages;
    if damages > TOLD_MAX {
        lines.push(format!("… and {} more: --json has them", damages - TOLD_MAX));
    }
    let read = format!(
        "{}, {} lines, {} records, {} signed checkpoints, {} MiB",
        count(report.chains.len(), "chain"),
        report.lines,
        report.records,
        report.checkpoints,
        report.bytes >> 20
    );
    lines.push(match damages {
        0 => format!("{}: the log is what was written ({read})", style.good("whole")),
        _ => format!("{}: {} ({read})", style.bad("damaged"), count(damages, "damage")),
    });
    lines.iter().map(|line| format!("{}\n", style.foreign(line))).collect()
}

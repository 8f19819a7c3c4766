//! `weir audit search` and `weir audit export`.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, IsTerminal as _, Write},
    ops::ControlFlow,
};

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use super::{
    Exit, Log,
    select::{Selection, Span},
};
use crate::cli::Style;
use router::audit::{
    export::{csv_header, csv_row, json_line},
    records::{Filter, Found, Head, Unread, each},
};

/// How many records a person gets who does not say how many.
const SHOWN: usize = 50;
/// How many may be asked for with --limit; without it all are streamed.
const LIMIT_MAX: u64 = 100_000;

#[derive(Debug, Args)]
pub(super) struct Search {
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    which: Selection,
    /// The last so many of them. Not stated: the last 50 on a terminal, otherwise all.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=LIMIT_MAX))]
    limit: Option<u64>,
    /// Print JSON lines, also on a terminal.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    span: Span,
    /// JSON lines have everything; CSV has what fits into columns.
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

pub(super) fn search(arguments: &Search) -> anyhow::Result<Exit> {
    let stdout = io::stdout();
    let (style, is_terminal) = (Style::of(&stdout), stdout.is_terminal());
    let form: &dyn Fn(&Found) -> String =
        if arguments.json || !is_terminal { &json_line } else { &|found| row(found, style) };
    let limit = arguments.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let limit = limit.or((is_terminal && !arguments.json).then_some(SHOWN));
    write_all(&arguments.log, &arguments.which.filter(), limit, form)
}

pub(super) fn export(arguments: &Export) -> anyhow::Result<Exit> {
    let filter = arguments.span.filter();
    match arguments.format {
        Format::Jsonl => write_all(&arguments.log, &filter, None, &json_line),
        Format::Csv => {
            io::stdout().write_all(csv_header().as_bytes())?;
            write_all(&arguments.log, &filter, None, &csv_row)
        }
    }
}

fn write_all(
    log: &Log,
    filter: &Filter,
    limit: Option<usize>,
    form: &dyn Fn(&Found) -> String,
) -> anyhow::Result<Exit> {
    let identity = log.identity()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut last: VecDeque<Found> = VecDeque::new();
    let unread = each(log.dir()?, identity.as_ref(), filter, |found| {
        match limit {
            None => out.write_all(form(&found).as_bytes())?,
            Some(limit) => {
                if last.len() == limit {
                    last.pop_front();
                }
                last.push_back(found);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    last.iter().try_for_each(|found| out.write_all(form(found).as_bytes()))?;
    out.flush()?;
    drop(out);
    Ok(told(unread, identity.is_some()))
}

/// Says what could not be read: silence would look like a log without these records.
fn told(unread: Unread, has_identity: bool) -> Exit {
    let Unread { sealed, damaged } = unread;
    if sealed > 0 {
        let why = if has_identity { "they are sealed for another identity" } else { "give --identity FILE" };
        eprintln!("weir: {sealed} sealed records could not be read: {why}.");
    }
    if damaged > 0 {
        eprintln!("weir: {damaged} lines are no lines of an audit log: see `weir audit verify`.");
    }
    if sealed + damaged > 0 { Exit::Failed } else { Exit::Done }
}

/// One record on a terminal, where its own texts must not be obeyed.
fn row(found: &Found, style: Style) -> String {
    let Ok(head) = serde_json::from_str::<Head<'_>>(&found.text) else { return json_line(found) };
    let time = found.time.to_zoned(TimeZone::system()).strftime("%F %T%.3f").to_string();
    let kind = head.kind.as_deref().unwrap_or("call");
    let word = head.outcome.or(head.event).or(head.reason).unwrap_or_default();
    let who = match (head.subject, head.tenant) {
        (Some(subject), Some(tenant)) => format!("{subject} ({tenant})"),
        (Some(subject), None) => subject.into_owned(),
        (None, _) => head.address.unwrap_or_default().into_owned(),
    };
    let what = head.asked.unwrap_or_default();
    let how_many = head.count.map(|count| format!(" ×{count}")).unwrap_or_default();
    let took = head.took_ms.map(|took| format!(" {took:.1} ms")).unwrap_or_default();
    let id = head.request_id.unwrap_or_default();
    let text = format!("{kind:<7} {word:<18} {who:<24} {what}{how_many}{took}  {id}");
    let text: String = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    format!("{} {text}\n", style.bold(&time))
}

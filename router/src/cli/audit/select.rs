//! Which records a command is about.

use clap::Args;
use config::Glob;
use jiff::{Timestamp, ToSpan as _, civil, tz::TimeZone};

use router::audit::records::Filter;

/// A time in which something happened.
#[derive(Debug, Args, Default)]
pub(super) struct Span {
    /// From this moment on: 2026-11-01, 2026-11-01T08:00:00Z, or how long ago: 24h, 30d.
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    since: Option<Timestamp>,
    /// Before this moment; a day counts as a whole.
    #[arg(long, value_name = "MOMENT", value_parser = end)]
    until: Option<Timestamp>,
}

/// What a record must have.
#[derive(Debug, Args)]
pub(super) struct Selection {
    #[command(flatten)]
    span: Span,
    /// Who called.
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// The organisation of the caller.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// The id of an API key or another credential.
    #[arg(long, value_name = "ID")]
    credential: Option<String>,
    /// The address a call came from.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// The tool, by the name that callers see; * stands for any characters.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// What became of it: ok, denied, invalid_arguments, outcome_unknown …
    #[arg(long, value_name = "WORD")]
    outcome: Option<String>,
    /// call, intent (a write before it is sent), event, counted (requests that are no call).
    #[arg(long, value_name = "WORD")]
    kind: Option<String>,
    /// The name of an event: start, config, key_revoked …
    #[arg(long, value_name = "WORD")]
    event: Option<String>,
    /// The id of one call, as the answer to its caller and the log have it.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Stands somewhere in the record, in capitals or not.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

impl Span {
    pub(super) fn filter(&self) -> Filter {
        Filter { since: self.since, until: self.until, ..Filter::default() }
    }
}

impl Selection {
    pub(super) fn filter(&self) -> Filter {
        Filter {
            kind: self.kind.clone(),
            event: self.event.clone(),
            subject: self.subject.clone(),
            tenant: self.tenant.clone(),
            credential: self.credential.clone(),
            address: self.address.clone(),
            tool: self.tool.clone().map(Glob::new),
            outcome: self.outcome.clone(),
            request_id: self.request_id.clone(),
            text: self.text.clone(),
            ..self.span.filter()
        }
    }
}

/// A moment: RFC 3339, a day (its beginning, UTC), or a period before now.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(day) = text.parse::<civil::Date>() {
        return day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|error| error.to_string());
    }
    let wrong = || "a moment is 2026-11-01, 2026-11-01T08:00:00Z, or how long ago it was: 24h, 30d".to_owned();
    let period = text.parse::<config::Period>().map_err(|_| wrong())?;
    let ago = jiff::SignedDuration::try_from(period.0).map_err(|_| wrong())?;
    Timestamp::now().checked_sub(ago).map_err(|_| wrong())
}

/// The same, where a day means its end.
fn end(text: &str) -> Result<Timestamp, String> {
    match text.parse::<civil::Date>() {
        Ok(day) if text.parse::<Timestamp>().is_err() => {
            let next = day.checked_add(1.day()).map_err(|error| error.to_string())?;
            moment(&next.to_string())
        }
        _ => moment(text),
    }
}

#[cfg(test)]
mod tests {
    use super::{end, moment};

    #[test]
    fn a_moment_is_said_in_three_ways() {
        let text = |moment: Result<jiff::Timestamp, String>| moment.expect("a moment").to_string();
        assert_eq!(text(moment("2026-11-01T08:00:00Z")), "2026-11-01T08:00:00Z");
        assert_eq!(text(moment("2026-11-01")), "2026-11-01T00:00:00Z");
        assert_eq!(text(end("2026-11-30")), "2026-12-01T00:00:00Z");
        assert_eq!(text(end("2026-11-30T10:00:00Z")), "2026-11-30T10:00:00Z");
        let ago = jiff::Timestamp::now().duration_since(moment("24h").expect("a moment")).as_secs();
        // Now is said twice, and once cut to the second.
        assert!((86_399..86_460).contains(&ago), "{ago}");
        assert!(moment("yesterday").is_err());
    }
}

//! What callers give the tools, read into types. The router has judged it by the tool's schema; what a schema cannot say is judged here.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{AdapterError, ErrorClass};

/// The most tickets of one page, and how many come where the caller does not say.
pub(super) const LIMIT_MAX: u32 = 100;
pub(super) const LIMIT_DEFAULT: u32 = 20;
pub(super) const TITLE_MAX: usize = 255;
/// Long texts: descriptions and comments.
pub(super) const TEXT_MAX: usize = 32_767;
/// What is searched for.
pub(super) const QUERY_MAX: usize = 500;
/// Names: of a status, a person, a project, a type, a priority, a label.
pub(super) const NAME_MAX: usize = 255;
pub(super) const LABELS_MAX: usize = 20;
pub(super) const CURSOR_MAX: usize = 8_192;

/// One call, by its tool.
#[derive(Debug)]
pub(super) enum Call {
    Search(Search),
    Get(Get),
    Create(Create),
    UpdateStatus(UpdateStatus),
    AddComment(AddComment),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Search {
    pub(super) text: Option<String>,
    pub(super) status: Option<String>,
    pub(super) assignee: Option<String>,
    pub(super) project: Option<String>,
    #[serde(deserialize_with = "moment")]
    pub(super) updated_since: Option<Timestamp>,
    #[serde(deserialize_with = "whole")]
    pub(super) limit: Option<u32>,
    pub(super) cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Get {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) project: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) priority: Option<String>,
    #[serde(default)]
    pub(super) labels: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateStatus {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) comment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddComment {
    pub(super) id: String,
    pub(super) text: String,
}

impl Call {
    /// Reads the `arguments` object of a call of `tool`; `None` where there is no such tool.
    pub(super) fn read(tool: &str, arguments: &[u8]) -> Option<Result<Self, AdapterError>> {
        Some(match tool {
            "search_tickets" => read(arguments).and_then(Search::checked).map(Self::Search),
            "get_ticket" => read(arguments).map(Self::Get),
            "create_ticket" => read(arguments).and_then(Create::checked).map(Self::Create),
            "update_ticket_status" => read(arguments).and_then(UpdateStatus::checked).map(Self::UpdateStatus),
            "add_comment" => read(arguments).and_then(AddComment::checked).map(Self::AddComment),
            _ => return None,
        })
    }
}

impl Search {
    /// How many tickets a page is to have.
    pub(super) fn page_size(&self) -> u32 {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }

    fn checked(self) -> Result<Self, AdapterError> {
        if !(1..=LIMIT_MAX).contains(&self.page_size()) {
            return Err(misfit(format!("`limit` must be from 1 to {LIMIT_MAX}.")));
        }
        optional("text", self.text.as_deref(), QUERY_MAX)?;
        optional("status", self.status.as_deref(), NAME_MAX)?;
        optional("assignee", self.assignee.as_deref(), NAME_MAX)?;
        optional("project", self.project.as_deref(), NAME_MAX)?;
        optional("cursor", self.cursor.as_deref(), CURSOR_MAX)?;
        Ok(self)
    }
}

impl Create {
    fn checked(self) -> Result<Self, AdapterError> {
        within("title", &self.title, TITLE_MAX)?;
        if self.title.contains(['\n', '\r']) {
            return Err(misfit("`title` must be one line; the rest belongs into `description`."));
        }
        // Nothing to say is the same as saying nothing.
        let description = self.description.filter(|text| !text.trim().is_empty());
        optional("description", description.as_deref(), TEXT_MAX)?;
        optional("project", self.project.as_deref(), NAME_MAX)?;
        optional("type", self.kind.as_deref(), NAME_MAX)?;
        optional("priority", self.priority.as_deref(), NAME_MAX)?;
        if self.labels.len() > LABELS_MAX {
            return Err(misfit(format!("`labels` has more than {LABELS_MAX} items.")));
        }
        for label in &self.labels {
            within("labels", label, NAME_MAX)?;
            if label.contains(char::is_whitespace) {
                return Err(misfit("a label in `labels` has a space in it; use `-`."));
            }
        }
        Ok(Self { description, ..self })
    }
}

impl UpdateStatus {
    fn checked(self) -> Result<Self, AdapterError> {
        within("status", &self.status, NAME_MAX)?;
        let comment = self.comment.filter(|text| !text.trim().is_empty());
        optional("comment", comment.as_deref(), TEXT_MAX)?;
        Ok(Self { comment, ..self })
    }
}

impl AddComment {
    fn checked(self) -> Result<Self, AdapterError> {
        within("text", &self.text, TEXT_MAX)?;
        Ok(self)
    }
}

/// The arguments cannot be what the tool takes.
pub(super) fn misfit(what: impl Into<String>) -> AdapterError {
    AdapterError::not_sent(ErrorClass::InvalidArguments, what)
}

fn read<T: DeserializeOwned>(arguments: &[u8]) -> Result<T, AdapterError> {
    serde_json::from_slice(arguments).map_err(|error| misfit(format!("They cannot be read: {error}.")))
}

fn optional(name: &str, text: Option<&str>, most: usize) -> Result<(), AdapterError> {
    text.map_or(Ok(()), |text| within(name, text, most))
}

/// Counted as the providers do, in units of UTF-16.
fn within(name: &str, text: &str, most: usize) -> Result<(), AdapterError> {
    let length = text.encode_utf16().count();
    if text.trim().is_empty() {
        return Err(misfit(format!("`{name}` is empty.")));
    }
    if length > most {
        return Err(misfit(format!("`{name}` has {length} characters; at most {most} can be kept. Shorten it.")));
    }
    Ok(())
}

/// A whole number. JSON Schema takes `5.0` for one as well, and some programs know no other numbers.
fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    // What is none is none of those that are permitted either.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is known to fit")]
    let fitting = |number: f64| {
        if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) { number as u32 } else { 0 }
    };
    Ok(number.map(fitting))
}

/// A moment, or the beginning of a day; in UTC where it has no offset.
fn moment<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let in_utc = |moment: DateTime| moment.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let found = text.parse().ok().or_else(|| text.parse().ok().and_then(in_utc));
    found.map(Some).ok_or_else(|| {
        serde::de::Error::custom(
            "`updated_since` must be a moment such as `2026-11-22T08:00:00Z`, or a day such as `2026-11-22`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::Call;
    use crate::{ErrorClass, Sent};

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_sent() {
        let long = "x".repeat(32_768);
        let rows = [
            ("get_ticket", "{}".to_owned(), "missing field `id`"),
            ("get_ticket", r#"{"id":"SUP-1","more":1}"#.to_owned(), "unknown field `more`"),
            ("search_tickets", r#"{"limit":0}"#.to_owned(), "from 1 to 100"),
            ("search_tickets", r#"{"limit":101}"#.to_owned(), "from 1 to 100"),
            ("search_tickets", r#"{"text":" "}"#.to_owned(), "`text` is empty"),
            ("search_tickets", r#"{"updated_since":"yesterday"}"#.to_owned(), "a day such as"),
            ("create_ticket", r#"{"title":"a\nb"}"#.to_owned(), "one line"),
            (
                "create_ticket",
                format!(r#"{{"title":"t","description":"{long}"}}"#),
                "has 32768 characters; at most 32767",
            ),
            ("create_ticket", r#"{"title":"t","labels":["two words"]}"#.to_owned(), "has a space"),
            ("add_comment", r#"{"id":"SUP-1","text":""}"#.to_owned(), "`text` is empty"),
        ];
        for (tool, arguments, wanted) in rows {
            let error = Call::read(tool, arguments.as_bytes()).expect("a tool").expect_err(wanted);
            assert_eq!((error.class, error.sent), (ErrorClass::InvalidArguments, Sent::No));
            assert!(error.message.contains(wanted), "{wanted}: {}", error.message);
        }
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for text in [r#"{"limit":5}"#, r#"{"limit":5.0}"#, r#"{"limit":0.5e1}"#] {
            let read = Call::read("search_tickets", text.as_bytes());
            assert!(matches!(&read, Some(Ok(Call::Search(search))) if search.page_size() == 5), "{text}: {read:?}");
        }
        for text in [r#"{"limit":5.5}"#, r#"{"limit":1e99}"#, r#"{"limit":-1}"#] {
            let error = Call::read("search_tickets", text.as_bytes()).expect("a tool").expect_err(text);
            assert!(error.message.contains("`limit` must be from 1 to 100"), "{text}: {error}");
        }
    }

    #[test]
    fn a_day_is_one_in_utc() {
        let read = |text: &str| match Call::read("search_tickets", text.as_bytes()) {
            Some(Ok(Call::Search(search))) => search.updated_since.expect("a moment").as_second(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(r#"{"updated_since":"2026-11-22"}"#), read(r#"{"updated_since":"2026-11-22T02:00:00+02:00"}"#));
        let eight = read(r#"{"updated_since":"2026-11-22T08:00:00Z"}"#);
        assert_eq!(read(r#"{"updated_since":"2026-11-22T08:00:00"}"#), eight);
        assert_eq!(read(r#"{"updated_since":"2026-11-22 08:00"}"#), eight);
    }
}

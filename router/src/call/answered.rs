//! A result, and what is said of its age where it comes out of the cache.

use std::{borrow::Cow, sync::Arc};

use adapters::{
    Reply,
    json::{self, Change, Object},
};
use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{error::CallError, mcp::provenance::PROVENANCE};

/// The member of `_meta` that names a write.
pub(crate) const OPERATION_ID: &str = "weir/operation_id";

/// What a call came to: a result by kind, or why there is none.
pub type Answer = Result<Answered, CallError>;

/// A result, and what is said of its age where it comes out of the cache.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The bytes of a `result` object by kind.
    pub reply: Reply,
    /// `None` where the downstream gave it for this call.
    pub note: Option<Note>,
    /// The id of the write that it is the answer to.
    pub operation: Option<Uuid>,
    /// Whose words it is in, as JSON; nothing where it is in Weir's own.
    pub provenance: Option<Arc<str>>,
}

/// How old an answer is, and why it was not fetched anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// `fresh`, or in what way it is stale.
    pub(crate) state: &'static str,
    pub(crate) is_stale: bool,
    pub(crate) age_ms: u64,
    pub(crate) fetched_at_ms: u64,
    /// Why there is no newer one, in words that go on after a colon.
    pub(crate) reason: Option<String>,
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Self {
        Self { reply, note: None, operation: None, provenance: None }
    }
}

impl Answered {
    /// What a program is to know of it: members for `_meta`, each as JSON.
    pub(crate) fn meta(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let provenance = self.provenance.as_deref().map(|provenance| (PROVENANCE, provenance.into()));
        let note = self.note.as_ref().map(|note| (Note::NAME, note.meta().into()));
        let operation = self.operation.map(|operation| (OPERATION_ID, format!("\"{operation}\"").into()));
        provenance.into_iter().chain(note).chain(operation).collect()
    }
}

impl Note {
    /// The member of `_meta` for it.
    pub(crate) const NAME: &str = "weir/cache";

    /// What a program is to know of it: the value of [`NAME`](Self::NAME).
    pub(crate) fn meta(&self) -> String {
        let at = self.fetched_at().map_or_else(|| "null".to_owned(), |at| format!("\"{at}\""));
        let reason = self.reason.as_deref().map(|reason| format!(",\"reason\":{}", json::string(reason)));
        let (state, age_ms, reason) = (self.state, self.age_ms, reason.unwrap_or_default());
        format!("{{\"state\":\"{state}\",\"age_ms\":{age_ms},\"fetched_at\":{at}{reason}}}")
    }

    /// What a model can repeat; nothing of an answer that is fresh.
    pub(crate) fn sentence(&self) -> Option<String> {
        let at = self.fetched_at().filter(|_| self.is_stale)?;
        let form = if self.age_ms < DAY_MS { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
        let reason = self.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        Some(format!("This is from {} ({} old){reason}.", at.strftime(form), age(self.age_ms)))
    }

    fn fetched_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(i64::try_from(self.fetched_at_ms).ok()?).ok()
    }

    /// The result with the sentence as its last text; nothing else in it changes.
    pub(crate) fn told_in(&self, result: Bytes) -> Bytes {
        let Some(sentence) = self.sentence() else { return result };
        let text = std::str::from_utf8(&result).unwrap_or_default();
        let Some(object) = Object::parse(text) else { return result };
        let item = format!("{{\"type\":\"text\",\"text\":{}}}", json::string(&sentence));
        let alone = [("content", format!("[{item}]"))];
        let added: Vec<(&str, &str)> = match object.get("content") {
            Some(_) => Vec::new(),
            None => alone.iter().map(|(key, value)| (*key, value.as_str())).collect(),
        };
        let rewritten =
            object.rewrite(&added, |key, value| match value.strip_suffix(']').filter(|_| key == "content") {
                Some(items) => {
                    let comma = if items.trim_ascii_end().ends_with('[') { "" } else { "," };
                    Change::Replace(format!("{items}{comma}{item}]"))
                }
                None => Change::Keep,
            });
        rewritten.into()
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// An age as people say it, never younger than it is by a whole unit.
fn age(age_ms: u64) -> String {
    let (seconds, minutes, hours) = (age_ms / 1000, age_ms / 60_000, age_ms / 3_600_000);
    match (seconds, minutes, hours) {
        (0..120, ..) => format!("{seconds} s"),
        (_, 2..120, _) => format!("{minutes} min"),
        (_, _, 2..48) => format!("{hours} h"),
        _ => format!("{} days", age_ms / DAY_MS),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Note;

    fn stale(age_ms: u64, reason: Option<&str>) -> Note {
        let fetched_at_ms = 1_795_338_723_456;
        Note { state: "stale_on_error", is_stale: true, age_ms, fetched_at_ms, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn the_age_is_said_as_people_say_it() {
        for (age_ms, said) in [
            (0, "This is from 09:12 UTC (0 s old)."),
            (119_999, "This is from 09:12 UTC (119 s old)."),
            (120_000, "This is from 09:12 UTC (2 min old)."),
            (7_199_999, "This is from 09:12 UTC (119 min old)."),
            (7_200_000, "This is from 09:12 UTC (2 h old)."),
            (86_400_000, "This is from 2026-11-22 09:12 UTC (24 h old)."),
            (172_800_000, "This is from 2026-11-22 09:12 UTC (2 days old)."),
        ] {
            assert_eq!(stale(age_ms, None).sentence().as_deref(), Some(said));
        }
        let reason = stale(42_000, Some("mainframe is not answering"));
        assert_eq!(
            reason.sentence().as_deref(),
            Some("This is from 09:12 UTC (42 s old): mainframe is not answering.")
        );
        assert_eq!(
            reason.meta(),
            r#"{"state":"stale_on_error","age_ms":42000,"fetched_at":"2026-11-22T09:12:03.456Z","reason":"mainframe is not answering"}"#
        );
        let fresh = Note { is_stale: false, state: "fresh", ..stale(5, None) };
        assert_eq!(fresh.sentence(), None);
    }

    #[test]
    fn the_sentence_is_one_more_text_and_all_else_stays() {
        let item = r#"{"type":"text","text":"This is from 09:12 UTC (1 s old)."}"#;
        for (given, expected) in [
            (r#"{ "content":[ {"a":1.0} ] , "x":1}"#, format!(r#"{{ "content":[ {{"a":1.0}} ,{item}] , "x":1}}"#)),
            (r#"{"content":[ ]}"#, format!(r#"{{"content":[ {item}]}}"#)),
            (
                r#"{"structuredContent":{"content":[]}}"#,
                format!(r#"{{"content":[{item}],"structuredContent":{{"content":[]}}}}"#),
            ),
        ] {
            assert_eq!(stale(1000, None).told_in(Bytes::from_static(given.as_bytes())), expected);
        }
    }
}

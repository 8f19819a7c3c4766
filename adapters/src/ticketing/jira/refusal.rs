//! Jira says no: its words, with the names of our arguments in them, and the class that each status has.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use jiff::{Timestamp, fmt::rfc2822};
use serde::Deserialize;

use crate::{AdapterError, ErrorClass, Rejection, Sent, credential::Shown};

/// How much of what Jira says is repeated, in characters.
const WORDS_MAX: usize = 1_000;
/// The longest wait that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// What Jira calls the fields, and what our arguments are called.
const FIELDS: [(&str, &str); 3] = [("summary", "title"), ("issuetype", "type"), ("transition", "status")];

/// An answer that is no success.
pub(super) struct Refusal<'a> {
    pub(super) downstream: &'a str,
    /// The tool that was called, as the downstream knows it.
    pub(super) tool: &'a str,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// Whether the request was to change something.
    pub(super) writes: bool,
    /// What Weir showed, which is not repeated.
    pub(super) credential: Option<&'a Shown>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Said {
    error_messages: Vec<String>,
    errors: serde_json::Map<String, serde_json::Value>,
    message: Option<String>,
}

impl Said {
    fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// A redirect, or an address that is not there, tells of another server. Where Jira does not have a thing, it says so in words.
pub(super) fn is_of_jira(status: StatusCode, body: &[u8]) -> bool {
    match status.as_u16() {
        300..=399 | 405 | 410 | 415 => false,
        404 => Said::read(body).is_some_and(|said| !said.error_messages.is_empty() || !said.errors.is_empty()),
        _ => true,
    }
}

impl Refusal<'_> {
    /// Whether Jira Cloud says no in this way, rather than a server of which nothing else is known.
    pub(super) fn is_of_jira(&self) -> bool {
        is_of_jira(self.status, self.body)
    }

    /// What it means. A 404 of Jira's is no failure and not looked at here.
    pub(super) fn error(&self) -> AdapterError {
        let (downstream, status) = (self.downstream, self.status.as_u16());
        let words = self.words();
        let because = words.as_deref().map(|words| format!(" It says: {words}")).unwrap_or_default();
        match status {
            401 => AdapterError::new(
                ErrorClass::Unauthorized,
                Sent::Yes,
                format!("{downstream} does not accept Weir's credential. Tell the operator.{because}"),
            ),
            403 => AdapterError::new(
                ErrorClass::Unauthorized,
                Sent::Yes,
                format!("Weir's account at {downstream} may not do this.{because}"),
            ),
            429 => self.too_many(),
            500.. => self.broken(&because),
            _ if !self.is_of_jira() => AdapterError::new(
                ErrorClass::Protocol,
                Sent::Yes,
                format!(
                    "{downstream} answered with HTTP {status}: it may not be a Jira Cloud site. Tell the operator to look at `base_url`."
                ),
            ),
            _ => {
                let words = words.unwrap_or_else(|| format!("HTTP {status}, without a reason"));
                AdapterError::rejected(format!("{downstream} refused: {words}"), Rejection::Text(words))
            }
        }
    }

    /// Whether the account as a whole is to stay away, and for how long.
    pub(super) fn pause(&self) -> Option<Duration> {
        let of_one_thing = matches!(self.reason(), Some("jira-burst-based" | "jira-per-issue-on-write"));
        if self.status == StatusCode::TOO_MANY_REQUESTS && !of_one_thing { self.retry_after() } else { None }
    }

    /// `{errorMessages, errors}` in words.
    pub(super) fn words(&self) -> Option<String> {
        let said = Said::read(self.body)?;
        let of_field = |(field, text): (String, serde_json::Value)| {
            let name = match field.as_str() {
                "comment" if self.tool == "add_comment" => "text",
                field => FIELDS.iter().find(|(theirs, _)| *theirs == field).map_or(field, |(_, ours)| ours),
            };
            text.as_str().map(|text| format!("{name}: {text}"))
        };
        let all =
            said.error_messages.into_iter().chain(said.errors.into_iter().filter_map(of_field)).chain(said.message);
        let words: Vec<String> = all.filter(|words| !words.trim().is_empty()).collect();
        let words = words.join(" ");
        let words = self.credential.map_or(words.as_str().into(), |shown| shown.conceal(words.as_str().into()));
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        (!words.is_empty()).then(|| words.chars().map(clean).take(WORDS_MAX).collect())
    }

    fn too_many(&self) -> AdapterError {
        let wait = self.retry_after();
        let when = match wait {
            Some(wait) => format!("in {} s", wait.as_secs_f64().ceil()),
            None => "in a minute".to_owned(),
        };
        let reason = self.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let message =
            format!("{} has had too many requests{reason}. Nothing was done; try again {when}.", self.downstream);
        let mut error = AdapterError::new(ErrorClass::Busy, Sent::Yes, message);
        error.retry_after = wait;
        error
    }

    /// It failed: whether a write was carried out before that is not known.
    fn broken(&self, because: &str) -> AdapterError {
        let class = match self.status.as_u16() {
            502..=504 => ErrorClass::Unreachable,
            _ => ErrorClass::Protocol,
        };
        let sent = if self.writes { Sent::Unknown } else { Sent::Yes };
        let message = format!(
            "{} failed with HTTP {}.{because} If it stays so, tell the operator.",
            self.downstream,
            self.status.as_u16()
        );
        let mut error = AdapterError::new(class, sent, message);
        error.retry_after = self.retry_after();
        error
    }

    /// In seconds or as a date (RFC 9110, section 10.2.3); without either, when the limit begins anew.
    fn retry_after(&self) -> Option<Duration> {
        let header = |name: &str| Some(self.headers.get(name)?.to_str().ok()?.trim());
        let until = |moment: Timestamp| Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or_default();
        let stated = header(RETRY_AFTER.as_str()).and_then(|text| {
            let seconds = text.parse().ok().map(Duration::from_secs);
            seconds.or_else(|| Some(until(rfc2822::parse(text).ok()?.timestamp())))
        });
        let anew = || Some(until(header("x-ratelimit-reset")?.parse().ok()?));
        stated.or_else(anew).map(|wait| wait.min(RETRY_AFTER_MAX))
    }

    /// Which limit it was, in a word of Jira's.
    fn reason(&self) -> Option<&str> {
        let reason = self.headers.get("ratelimit-reason")?.to_str().ok()?;
        let fits = reason.len() <= 64 && reason.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (fits && !reason.is_empty()).then_some(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    fn refusal<'a>(status: u16, headers: &'a HeaderMap, body: &'a str, writes: bool) -> Refusal<'a> {
        let status = StatusCode::from_u16(status).expect("a status");
        let body = body.as_bytes();
        Refusal { downstream: "tickets", tool: "add_comment", status, headers, body, writes, credential: None }
    }

    #[test]
    fn every_status_has_its_class() {
        let rows = [
            (400, false, ErrorClass::Rejected, Sent::Yes),
            (409, true, ErrorClass::Rejected, Sent::Yes),
            (401, true, ErrorClass::Unauthorized, Sent::Yes),
            (403, true, ErrorClass::Unauthorized, Sent::Yes),
            (410, false, ErrorClass::Protocol, Sent::Yes),
            (302, true, ErrorClass::Protocol, Sent::Yes),
            (429, true, ErrorClass::Busy, Sent::Yes),
            (500, true, ErrorClass::Protocol, Sent::Unknown),
            (503, true, ErrorClass::Unreachable, Sent::Unknown),
            (503, false, ErrorClass::Unreachable, Sent::Yes),
        ];
        for (status, writes, class, sent) in rows {
            let error = refusal(status, &HeaderMap::new(), "<html>", writes).error();
            assert_eq!((error.class, error.sent), (class, sent), "{status}: {error:?}");
        }
    }

    #[test]
    fn fields_are_called_as_the_arguments_are() {
        let body = r#"{"errorMessages":["No."],"errors":{"summary":"You must specify a summary.","issuetype":"Not valid.","comment":"Empty.","customfield_1":"Is required."}}"#;
        let words = "No. title: You must specify a summary. type: Not valid. text: Empty. customfield_1: Is required.";
        let error = refusal(400, &HeaderMap::new(), body, true).error();
        assert!(matches!(&error.rejection, Some(Rejection::Text(text)) if text == words), "{error:?}");
        let error = refusal(400, &HeaderMap::new(), "gone wrong", true).error();
        assert!(matches!(&error.rejection, Some(Rejection::Text(text)) if text == "HTTP 400, without a reason"));
    }

    #[test]
    fn a_wait_is_understood_in_both_forms_and_told_with_its_reason() {
        let seconds = headers(&[("retry-after", "30"), ("ratelimit-reason", "jira-quota-tenant-based")]);
        let refused = refusal(429, &seconds, "", false);
        let error = refused.error();
        assert_eq!(
            (error.retry_after, refused.pause()),
            (Some(Duration::from_secs(30)), Some(Duration::from_secs(30)))
        );
        assert!(error.message.contains("(jira-quota-tenant-based)") && error.message.contains("in 30 s"), "{error}");

        let later = Timestamp::now() + jiff::SignedDuration::from_secs(90);
        let date = later.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let wait = refusal(429, &headers(&[("retry-after", &date)]), "", false).error().retry_after.expect("a wait");
        assert!((85..=90).contains(&wait.as_secs()), "{wait:?}");

        let reset = headers(&[("x-ratelimit-reset", &later.to_string())]);
        let wait = refusal(429, &reset, "", false).error().retry_after.expect("a wait");
        assert!((85..=90).contains(&wait.as_secs()), "{wait:?}");

        let past = headers(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), ("ratelimit-reason", "<script>")]);
        let error = refusal(429, &past, "", false).error();
        assert_eq!(error.retry_after, Some(Duration::ZERO));
        assert!(!error.message.contains("script"), "{error}");
    }

    #[test]
    fn a_limit_of_one_issue_or_of_one_second_keeps_nobody_else_away() {
        for (reason, pauses) in
            [("jira-per-issue-on-write", false), ("jira-burst-based", false), ("jira-quota-global-based", true)]
        {
            let headers = headers(&[("retry-after", "5"), ("ratelimit-reason", reason)]);
            assert_eq!(refusal(429, &headers, "", true).pause().is_some(), pauses, "{reason}");
        }
    }
}

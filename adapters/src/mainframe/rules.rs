//! What an answer means: the rules of the config for status 2xx, the status itself for all others.

use std::time::Duration;

use config::downstream::mainframe::{ErrorScreen, Meaning};
use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822};

use super::screen::Screen;

/// An answer that is no result.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) means: Means,
    /// What the caller is told of it; empty where there is nothing to tell.
    pub(super) text: String,
    /// Whether nothing was carried out, as far as the answer says.
    pub(super) is_certain: bool,
    pub(super) retry_after: Option<Duration>,
}

/// What an answer that is no result means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    Rejected,
    NotFound,
    Busy,
    Unavailable,
    Unauthorized,
    /// It leads elsewhere, which is never followed.
    Redirected,
}

/// A wait that is longer is not worth telling.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Reads the status, and the screen by the rules. `None` when it is a result.
pub(super) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    screen: &Screen<'_>,
    rules: &[ErrorScreen],
) -> Option<Refusal> {
    if status.is_success() {
        let rule = rules.iter().find(|rule| fits(rule, screen))?;
        let means = match rule.means {
            Meaning::Rejected => Means::Rejected,
            Meaning::NotFound => Means::NotFound,
            Meaning::Busy => Means::Busy,
            Meaning::Unavailable => Means::Unavailable,
            Meaning::Unauthorized => Means::Unauthorized,
        };
        let text = rule.say.clone().unwrap_or_else(|| screen.excerpt());
        return Some(Refusal { means, text, is_certain: true, retry_after: retry_after(headers) });
    }
    let means = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Means::Unauthorized,
        StatusCode::NOT_FOUND | StatusCode::GONE => Means::NotFound,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Means::Busy,
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Means::Unavailable,
        _ if status.is_redirection() => Means::Redirected,
        _ => Means::Rejected,
    };
    let text = match screen.excerpt() {
        empty if empty.is_empty() => format!("status {}", status.as_u16()),
        text => format!("status {}: {text}", status.as_u16()),
    };
    // A server that failed may have failed after it did what was asked (RFC 9110, section 15.6), a gateway while it waited for who
    // does it; and a redirect is what many systems send once they did it.
    let is_certain = status.is_client_error();
    Some(Refusal { means, text, is_certain, retry_after: retry_after(headers) })
}

fn fits(rule: &ErrorScreen, screen: &Screen<'_>) -> bool {
    let by_type = || {
        let wanted = rule.content_type.as_deref()?;
        Some(screen.media_type().is_some_and(|kind| kind.eq_ignore_ascii_case(wanted)))
    };
    let by_value = || {
        let rule = rule.json.as_ref()?;
        let equals = rule.equals.as_ref().map(|value| (value, true));
        let (value, wanted) = equals.or_else(|| rule.other_than.as_ref().map(|value| (value, false)))?;
        Some(screen.json_at(&rule.at).is_some_and(|found| (found == value) == wanted))
    };
    let by_text = || rule.contains.as_deref().map(|text| !text.is_empty() && screen.contains(text));
    let conditions = [by_type(), by_value(), by_text()];
    conditions.contains(&Some(true)) && !conditions.contains(&Some(false))
}

/// `Retry-After` in both of its forms (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let moment = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
            Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or_default()
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::downstream::mainframe::Encoding;
    use http::{HeaderMap, HeaderValue, StatusCode, header};

    use super::{Means, refusal, retry_after};
    use crate::mainframe::screen::Screen;

    #[test]
    fn each_status_has_its_meaning_and_says_whether_a_write_may_have_happened() {
        let headers = HeaderMap::new();
        let screen = Screen::new(&headers, b"", Encoding::Utf8, None);
        for (status, means, is_certain) in [
            (301, Means::Redirected, false),
            (400, Means::Rejected, true),
            (401, Means::Unauthorized, true),
            (403, Means::Unauthorized, true),
            (404, Means::NotFound, true),
            (408, Means::Busy, true),
            (410, Means::NotFound, true),
            (422, Means::Rejected, true),
            (429, Means::Busy, true),
            (500, Means::Rejected, false),
            (502, Means::Unavailable, false),
            (503, Means::Busy, false),
            (504, Means::Unavailable, false),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let found = refusal(status, &headers, &screen, &[]).expect("no result");
            assert_eq!((found.means, found.is_certain), (means, is_certain), "{status}");
            assert_eq!(found.text, format!("status {}", status.as_u16()));
        }
        assert_eq!(refusal(StatusCode::OK, &headers, &screen, &[]), None);
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let read = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]))
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("999999999"), Some(Duration::from_secs(3600)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(read("Tue, 31 Dec 2199 23:59:59 GMT"), Some(Duration::from_secs(3600)));
        assert_eq!(read("soon"), None);
    }
}

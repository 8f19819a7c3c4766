//! When the keys of an issuer are fetched again. Pure: it takes the time.

use std::time::Duration;

use http::{HeaderMap, header};
use tokio::time::Instant;

/// How long keys are taken for fresh, whatever the issuer says.
const FRESH_MIN: Duration = Duration::from_secs(60);
const FRESH_MAX: Duration = Duration::from_secs(24 * 3600);
/// Where the issuer says nothing.
const FRESH: Duration = Duration::from_secs(600);
/// How much of that time passes before they are fetched again.
const REFRESH_AFTER: f64 = 0.9;
/// How far apart fetches are that tokens with unknown keys cause.
const ASKED_EVERY: Duration = Duration::from_secs(60);

/// After how long keys that came with this head are fetched again.
pub(super) fn refresh_after(head: &HeaderMap) -> Duration {
    let values = head.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(str::trim);
    let stated = directives.find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?
    });
    stated.map_or(FRESH, Duration::from_secs).clamp(FRESH_MIN, FRESH_MAX).mul_f64(REFRESH_AFTER)
}

/// Fetches on account of tokens whose key is not known: at most one in a while, for which all wait.
#[derive(Debug, Default)]
pub(super) struct Asked {
    last: Option<(Instant, u64)>,
}

/// What a token with an unknown key does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Has the keys fetched, and waits for them.
    Fetch,
    /// Waits for a fetch that was asked for already.
    Wait,
    /// Takes it that there is no such key.
    GiveUp,
}

impl Asked {
    /// `round` counts the fetches that have ended.
    pub(super) fn ask(&mut self, round: u64, now: Instant) -> Ask {
        match self.last {
            // The fetch that comes with the start has not ended yet.
            _ if round == 0 => Ask::Wait,
            Some((_, asked_in)) if asked_in == round => Ask::Wait,
            Some((at, _)) if now.saturating_duration_since(at) < ASKED_EVERY => Ask::GiveUp,
            _ => {
                self.last = Some((now, round));
                Ask::Fetch
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, header};
    use tokio::time::Instant;

    use super::{Ask, Asked, refresh_after};

    #[test]
    fn keys_are_fetched_again_before_they_are_old() {
        let rows = [
            (None, 540),
            (Some("max-age=1000"), 900),
            (Some("public, Max-Age=\"1000\", must-revalidate"), 900),
            (Some("max-age=0"), 54),
            (Some("no-store"), 540),
            (Some("max-age=99999999999"), 77_760),
            (Some("max-age=soon"), 540),
        ];
        for (said, seconds) in rows {
            let mut head = HeaderMap::new();
            if let Some(said) = said {
                head.insert(header::CACHE_CONTROL, HeaderValue::from_static(said));
            }
            assert_eq!(refresh_after(&head), Duration::from_secs(seconds), "{said:?}");
        }
    }

    #[test]
    fn unknown_keys_cause_one_fetch_a_minute_and_all_wait_for_it() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(asked.ask(0, at(0)), Ask::Wait);
        assert_eq!(asked.ask(1, at(0)), Ask::Fetch);
        assert_eq!(asked.ask(1, at(0)), Ask::Wait);
        assert_eq!(asked.ask(2, at(1)), Ask::GiveUp);
        // One by the timetable in between changes nothing.
        assert_eq!(asked.ask(3, at(59)), Ask::GiveUp);
        assert_eq!(asked.ask(3, at(60)), Ask::Fetch);
        assert_eq!(asked.ask(4, at(61)), Ask::GiveUp);
    }
}

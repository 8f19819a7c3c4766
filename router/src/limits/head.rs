//! What limits say in the head of an answer over HTTP: `Retry-After` (RFC 9110, section 10.2.3), and the fields `RateLimit` and
//! `RateLimit-Policy` of the IETF draft on rate limits, which are lists of Structured Fields (RFC 9651).
//!
//! Names of limits are letters, digits and `-`, so that they need no escaping.

use std::{fmt::Write as _, time::Duration};

use cache::limits::{Limit, Standing};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Limits, TooManyWrong, millis};
use crate::{
    call::Ended,
    error::{CallError, seconds},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl Limits {
    /// For the answer to a call: what is left of the limits that it was charged on its caller's side, and of the one that refused it; and
    /// which scopes it needs.
    pub(crate) fn head(&self, ended: &Ended) -> HeaderMap {
        let mut head = HeaderMap::new();
        let refusal = ended.answer.as_ref().err();
        if let Some(wait_ms) = refusal.and_then(CallError::retry_after_ms) {
            head.insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait_ms)));
        }
        if let Some(CallError::InsufficientScope { needed, .. }) = refusal {
            let challenge =
                HeaderValue::from_str(&needed.challenge).expect("a challenge is made of visible characters");
            head.insert(header::WWW_AUTHENTICATE, challenge);
        }
        let refused_by = match refusal {
            Some(CallError::Limited { limit, retry_after_ms, .. }) => self.named(limit).zip(Some(*retry_after_ms)),
            _ => None,
        };
        let (mut left, mut policies) = (String::new(), String::new());
        for Standing { limit, remaining, reset, .. } in &ended.standings {
            tell(limit, *remaining, Some(millis(*reset)), &mut left, &mut policies);
        }
        if let Some((limit, wait_ms)) = refused_by {
            tell(limit, 0, wait_ms, &mut left, &mut policies);
        }
        insert(&mut head, left, policies);
        head
    }
}

impl TooManyWrong {
    /// For the answer to the one wrong credential that was too many.
    pub(crate) fn head(&self) -> HeaderMap {
        let (mut left, mut policies) = (String::new(), String::new());
        tell(&self.limit, 0, Some(self.retry_after_ms()), &mut left, &mut policies);
        let mut head = HeaderMap::new();
        head.insert(header::RETRY_AFTER, HeaderValue::from(seconds(self.retry_after_ms())));
        insert(&mut head, left, policies);
        head
    }
}

/// Adds one limit to both lists. `r` is what is left, `t` when it is whole again or, of one that refuses, when to try again; `q` comes
/// back in `w` seconds, and `burst` may be taken at once.
fn tell(limit: &Limit, remaining: u64, wait_ms: Option<u64>, left: &mut String, policies: &mut String) {
    let comma = if left.is_empty() { "" } else { ", " };
    let name = &limit.name;
    let until = wait_ms.map(|wait_ms| format!(";t={}", wait_ms.div_ceil(1000))).unwrap_or_default();
    let _ = write!(left, "{comma}\"{name}\";r={remaining}{until}");
    let (quota, window) = (limit.rate.amount, whole_seconds(limit.rate.per));
    let _ = write!(policies, "{comma}\"{name}\";q={quota};w={window}");
    if limit.burst != quota {
        let _ = write!(policies, ";burst={}", limit.burst);
    }
}

fn whole_seconds(period: Duration) -> u64 {
    period.as_secs().max(1)
}

fn insert(head: &mut HeaderMap, left: String, policies: String) {
    if left.is_empty() {
        return;
    }
    for (name, value) in [(RATE_LIMIT, left), (RATE_LIMIT_POLICY, policies)] {
        head.insert(name, HeaderValue::try_from(value).expect("names and numbers are visible ASCII"));
    }
}

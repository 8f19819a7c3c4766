//! `POST /hooks/cache`: another system says what has changed, in a message that it signs (Standard Webhooks, HMAC-SHA-256).
//!
//! A message that is sent again within its time raises the same tags again, which does no more than the first time but costs fetches. So
//! nothing is remembered of those that were taken.

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cache::Tag;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{TAGS_AT_ONCE_MAX, raise, raised_json};
use crate::{
    Router,
    front::{intake, problem, text_header},
    server::Body,
    telemetry,
};

/// The largest message.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// How far the clocks of both sides may be apart, together with the time on the way.
const TOLERANCE_SECONDS: u64 = 5 * 60;
/// A sender that changes its secret signs with both; nobody needs more than a few.
const SIGNATURES_MAX: usize = 16;
/// What the secret begins with where the rest of it is the key in base64, as Standard Webhooks writes it.
const ENCODED: &str = "whsec_";

/// Knows the messages of those who have the secret.
pub(crate) struct Webhook {
    key: hmac::Key,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Headers,
    Time,
    Signature,
}

/// What a message says of itself.
#[derive(Debug, Clone, Copy)]
struct Claims<'a> {
    id: &'a str,
    /// As it was sent, for that is what was signed.
    timestamp: &'a str,
    signatures: &'a str,
}

#[derive(Deserialize)]
struct Message {
    /// Other members are the sender's own.
    tags: Vec<String>,
}

impl Webhook {
    /// `None` when the secret says that it is base64 and is not.
    pub(crate) fn new(secret: &SecretString) -> Option<Self> {
        let secret = secret.expose_secret();
        let key = match secret.strip_prefix(ENCODED) {
            Some(encoded) => STANDARD.decode(encoded).ok()?,
            None => secret.as_bytes().to_vec(),
        };
        Some(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// Whether one of the signatures is right. Takes the same time whatever is wrong with them.
    fn signed(&self, claims: &Claims<'_>, body: &[u8]) -> Result<(), Refused> {
        let mut message = hmac::Context::with_key(&self.key);
        for part in [claims.id.as_bytes(), b".", claims.timestamp.as_bytes(), b".", body] {
            message.update(part);
        }
        // Once, however many are shown: whoever shows them has proven nothing yet.
        let right = message.sign();
        let shown = claims.signatures.split(' ').take(SIGNATURES_MAX).filter_map(|one| one.strip_prefix("v1,"));
        let is_right = |shown: &str| {
            STANDARD.decode(shown).is_ok_and(|shown| verify_slices_are_equal(right.as_ref(), &shown).is_ok())
        };
        shown.map(is_right).fold(false, |any, right| any | right).then_some(()).ok_or(Refused::Signature)
    }
}

impl<'a> Claims<'a> {
    /// Reads the headers; nothing of them is proven yet, but what is too old need not be.
    fn of(headers: &'a HeaderMap, now: Timestamp) -> Result<Self, Refused> {
        let only = |name| (headers.get_all(name).iter().count() == 1).then(|| text_header(headers, name)).flatten();
        let given = (only("webhook-id"), only("webhook-timestamp"), only("webhook-signature"));
        let (Some(id), Some(timestamp), Some(signatures)) = given else { return Err(Refused::Headers) };
        let sent: i64 = timestamp.parse().map_err(|_| Refused::Headers)?;
        if id.is_empty() {
            return Err(Refused::Headers);
        }
        if sent.abs_diff(now.as_second()) > TOLERANCE_SECONDS {
            return Err(Refused::Time);
        }
        Ok(Self { id, timestamp, signatures })
    }
}

/// Answers one message.
pub(crate) async fn receive(router: &Router, webhook: &Webhook, headers: &HeaderMap, body: Incoming) -> Response<Body> {
    let claims = match Claims::of(headers, Timestamp::now()) {
        Ok(claims) => claims,
        Err(refused) => return refused.answer(),
    };
    if let Some(refused) = intake::refuse_by_headers(headers) {
        return refused;
    }
    let taken = match intake::read_up_to(router, body, MESSAGE_BYTES_MAX).await {
        Ok(taken) => taken,
        Err(answer) => return *answer,
    };
    if let Err(refused) = webhook.signed(&claims, &taken.body) {
        return refused.answer();
    }
    match tags_in(router, &taken.body) {
        Ok(tags) => raised_json(tags.len(), raise(&router.tags, "webhook", &tags).await),
        Err(mistake) => problem(StatusCode::BAD_REQUEST, &mistake),
    }
}

fn tags_in(router: &Router, body: &[u8]) -> Result<Vec<Tag>, String> {
    let message: Message = serde_json::from_slice(body).map_err(|_| {
        "The message is no JSON object with a list of texts, such as {\"tags\": [\"customer:CUST-00042\"]}.".to_owned()
    })?;
    if message.tags.len() > TAGS_AT_ONCE_MAX {
        return Err(format!("There are more than {TAGS_AT_ONCE_MAX} tags: send them in several messages."));
    }
    router
        .strict
        .named(message.tags.iter().map(String::as_str))
        .map_err(|error| format!("One of the tags is none: {error}."))
}

impl Refused {
    fn answer(self) -> Response<Body> {
        let (reason, status, text) = match self {
            Self::Headers => (
                "webhook_headers",
                StatusCode::BAD_REQUEST,
                "Send `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature`, each once, as Standard Webhooks says.",
            ),
            Self::Time => (
                "webhook_time",
                StatusCode::FORBIDDEN,
                "The message is more than five minutes away from now: set the clocks right, and sign it again when it is sent again.",
            ),
            Self::Signature => (
                "webhook_signature",
                StatusCode::FORBIDDEN,
                "No signature is right. It is `v1,` and the base64 of HMAC-SHA-256 over `id.timestamp.body`, with the secret of `cache.webhook`.",
            ),
        };
        telemetry::refused_before_auth(reason);
        problem(status, text)
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook(…)")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use http::{HeaderMap, HeaderName, HeaderValue};
    use jiff::Timestamp;
    use secrecy::SecretString;

    use super::{Claims, Refused, Webhook};

    const NOW: i64 = 1_800_000_000;
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn webhook(secret: &str) -> Option<Webhook> {
        Webhook::new(&SecretString::from(secret))
    }

    fn signature(key: &[u8], message: &str) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    }

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).expect("ASCII");
        given.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
    }

    fn judged(id: &str, timestamp: &str, signatures: &str, body: &str) -> Result<(), Refused> {
        let given = [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signatures)];
        let headers = headers(&given);
        let now = Timestamp::from_second(NOW).expect("a time");
        webhook(SECRET).expect("a secret").signed(&Claims::of(&headers, now)?, body.as_bytes())
    }

    #[test]
    fn a_message_is_known_by_one_right_signature_over_all_of_it() {
        let right = signature(SECRET.as_bytes(), "m1.1800000000.{}");
        let other = signature(b"another secret", "m1.1800000000.{}");
        assert_eq!(judged("m1", "1800000000", &right, "{}"), Ok(()));
        assert_eq!(judged("m1", "1800000000", &format!("v1a,x {other} {right}"), "{}"), Ok(()));
        for (id, timestamp, signatures, body) in [
            ("m2", "1800000000", right.as_str(), "{}"),
            ("m1", "1800000001", &right, "{}"),
            ("m1", "1800000000", &right, "{ }"),
            ("m1", "1800000000", &other, "{}"),
            ("m1", "1800000000", &right[3..], "{}"),
            ("m1", "1800000000", "v1,", "{}"),
            ("m1", "1800000000", "v1,not base64", "{}"),
            ("m1", "1800000000", &right[..right.len() - 4], "{}"),
            ("m1", "1800000000", &format!("{right}AAAA"), "{}"),
            ("m1", "+1800000000", &right, "{}"),
            ("m1", "1800000000", &format!("v1,{}", "x ".repeat(16) + &right), "{}"),
        ] {
            assert_eq!(judged(id, timestamp, signatures, body), Err(Refused::Signature), "{id} {signatures} {body}");
        }
    }

    #[test]
    fn a_message_of_another_time_is_refused_whatever_signs_it() {
        for (timestamp, wanted) in [
            (NOW - 300, Ok(())),
            (NOW + 300, Ok(())),
            (NOW - 301, Err(Refused::Time)),
            (NOW + 301, Err(Refused::Time)),
            (i64::MIN, Err(Refused::Time)),
        ] {
            let signed = signature(SECRET.as_bytes(), &format!("m1.{timestamp}.x"));
            assert_eq!(judged("m1", &timestamp.to_string(), &signed, "x"), wanted, "{timestamp}");
        }
    }

    #[test]
    fn each_header_must_be_there_once() {
        let now = Timestamp::from_second(NOW).expect("a time");
        let all = [("webhook-id", "m1"), ("webhook-timestamp", "1800000000"), ("webhook-signature", "v1,x")];
        assert!(Claims::of(&headers(&all), now).is_ok());
        for missing in 0..all.len() {
            let mut given = all.to_vec();
            given.remove(missing);
            assert_eq!(Claims::of(&headers(&given), now).err(), Some(Refused::Headers));
        }
        let mut twice = headers(&all);
        twice.append("webhook-timestamp", HeaderValue::from_static("1800000000"));
        assert_eq!(Claims::of(&twice, now).err(), Some(Refused::Headers));
        assert_eq!(judged("m1", "now", "v1,x", "x"), Err(Refused::Headers));
        assert_eq!(judged("", "1800000000", "v1,x", "x"), Err(Refused::Headers));
    }

    /// The example of the specification's reference libraries.
    #[test]
    fn a_secret_may_be_written_as_the_standard_writes_it() {
        let webhook = webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let claims = Claims {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: "1614265330",
            signatures: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        };
        assert_eq!(webhook.signed(&claims, br#"{"test": 2432232314}"#), Ok(()));
        assert!(self::webhook("whsec_no base64").is_none());
    }
}

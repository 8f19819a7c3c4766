//! What takes the place of a value.

use aws_lc_rs::hmac;
use config::masking::Strategy;

use super::{
    detect::{self, Detector},
    names::alphabet,
};

pub(super) const REDACTED: &str = "[redacted]";
/// Of a shorter value its last four characters would be most.
const LAST4_CHARS_MIN: usize = 8;
const HASH_CHARS: usize = 16;

/// The text for a value; a pseudonym is not made here, and a value that has none is redacted.
pub(super) fn masked(with: Strategy, value: &str, hash_key: &hmac::Key) -> String {
    match with {
        Strategy::Partial => partial(value),
        Strategy::Last4 => {
            let count = value.chars().count();
            let shown: String = value.chars().skip(count.saturating_sub(4)).collect();
            if count < LAST4_CHARS_MIN { "…".to_owned() } else { format!("…{shown}") }
        }
        Strategy::Hash => {
            let mac = hmac::sign(hash_key, value.as_bytes());
            format!("hash_{}", alphabet(mac.as_ref()).take(HASH_CHARS).collect::<String>())
        }
        Strategy::Redact | Strategy::Pseudonym => REDACTED.to_owned(),
    }
}

fn partial(value: &str) -> String {
    let is_whole = |detector: &Detector| {
        let found = detect::find_all(value, std::iter::once((0, detector)));
        matches!(&found[..], [found] if found.range == (0..value.len()))
    };
    let first: String = value.chars().take(1).collect();
    if let Some((_, domain)) = value.rsplit_once('@').filter(|_| is_whole(&Detector::Email)) {
        return format!("{first}…@{domain}");
    }
    if is_whole(&Detector::Phone) {
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        let country = value.starts_with('+').then(|| value.split([' ', '-', '(', '/', '.']).next()).flatten();
        // Without a sign it is not known where the country ends.
        let country = country.filter(|country| country.len() <= 4).map(|country| format!("{country} "));
        return format!("{}… {}", country.unwrap_or_default(), &digits[digits.len() - 2..]);
    }
    // One character alone would be all of it.
    if value.chars().nth(1).is_some() { format!("{first}…") } else { "…".to_owned() }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use config::masking::Strategy;

    use super::masked;

    #[test]
    fn each_strategy_leaves_what_it_says() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        for (with, value, expected) in [
            (Strategy::Partial, "ada@example.com", "a…@example.com"),
            (Strategy::Partial, "+49 30 1234589", "+49 … 89"),
            (Strategy::Partial, "+4930123456789", "… 89"),
            (Strategy::Partial, "(415) 555-2671", "… 71"),
            (Strategy::Partial, "Łovelace", "Ł…"),
            (Strategy::Partial, "x", "…"),
            (Strategy::Partial, "", "…"),
            (Strategy::Last4, "4111111111111111", "…1111"),
            (Strategy::Last4, "1234567", "…"),
            (Strategy::Redact, "x", "[redacted]"),
        ] {
            assert_eq!(masked(with, value, &key), expected, "{value}");
        }
        let hash = masked(Strategy::Hash, "ada", &key);
        assert_eq!(hash.len(), "hash_".len() + 16);
        assert_eq!(hash, masked(Strategy::Hash, "ada", &key));
        assert_ne!(hash, masked(Strategy::Hash, "adb", &key));
        assert_ne!(hash, masked(Strategy::Hash, "ada", &hmac::Key::new(hmac::HMAC_SHA256, b"other")));
    }
}

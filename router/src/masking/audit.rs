//! The mask of log and audit: everything that any detector knows, and every value whose name says that it is secret. No role lifts it.

use std::{borrow::Cow, fmt, sync::Arc};

use adapters::json::string;
use regex::Regex;
use serde_json::value::RawValue;

use super::{
    detect::{self, By, Detector, Found},
    strategy::REDACTED,
    walk::{self, Visit},
};

/// Names of members, written without signs and in small letters: wherever a name has one of these in it, its value is secret,
const PARTS_OF_NAMES: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "accesskey",
    "accountkey",
    "authorization",
    "cookie",
    "credential",
    "signature",
];
/// and wherever it is one of these.
const WHOLE_NAMES: [&str; 16] = [
    "pass",
    "pwd",
    "pin",
    "otp",
    "tan",
    "cvv",
    "cvc",
    "csc",
    "auth",
    "bearer",
    "jwt",
    "sid",
    "sessionid",
    "ssn",
    "seed",
    "mnemonic",
];
/// How deep JSON in strings of JSON is read as what it is. Deeper it is text like any other.
const NESTED_MAX: usize = 4;

/// The `audit` profile: all detectors and sensitive member names, for what Weir itself writes down.
pub(crate) struct AuditMask {
    detectors: Vec<Detector>,
    /// Those of the config, without signs and in small letters.
    names: Vec<String>,
}

impl AuditMask {
    /// The mask of a checked config.
    pub(crate) fn new(config: &config::Masking) -> Self {
        let patterns = config.detectors.values().map(|detector| {
            let pattern = Regex::new(&detector.pattern).expect("the patterns of a checked config are right");
            Detector::Pattern(Arc::new(pattern))
        });
        Self {
            detectors: Detector::BUILT_IN.into_iter().map(|(_, detector)| detector).chain(patterns).collect(),
            names: config.sensitive_names.iter().map(|name| plain(name)).collect(),
        }
    }

    /// A JSON text without anything that must not be written down. What is longer than `bytes_max` then is cut, and says so; what is no
    /// JSON becomes a string.
    pub(crate) fn json(&self, json: &[u8], bytes_max: usize) -> Box<RawValue> {
        let text = String::from_utf8_lossy(json);
        let masked = walk::rewrite(&text, &Place::default(), &mut Masking { mask: self, nested: 0 })
            .map_or_else(|_| string(&self.text(&text)), Cow::into_owned);
        let masked = if masked.len() > bytes_max { cut(&masked, bytes_max) } else { masked };
        let raw = RawValue::from_string(masked);
        raw.unwrap_or_else(|_| RawValue::from_string(string(REDACTED)).expect("a string is JSON"))
    }

    /// A text without anything that must not be written down.
    pub(crate) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.masked(text, 0)
    }

    fn masked<'t>(&self, text: &'t str, nested: usize) -> Cow<'t, str> {
        if nested < NESTED_MAX
            && text.trim_start().starts_with(['{', '[', '"'])
            && let Ok(masked) =
                walk::rewrite_nested(text, &Place::default(), &mut Masking { mask: self, nested: nested + 1 })
        {
            return masked;
        }
        let mut found = detect::find_all(text, (0..).zip(&self.detectors));
        if nested < NESTED_MAX {
            let encoded = detect::encoded_findings(text, |inner| self.finds(inner, nested + 1));
            found.extend(encoded.into_iter().map(|range| Found { range, by: By::One(0) }));
            found = detect::merged(found);
        }
        detect::replaced(text, &found, |_, _| Cow::Borrowed(REDACTED))
    }

    fn finds(&self, text: &str, nested: usize) -> bool {
        matches!(self.masked(text, nested), Cow::Owned(_))
    }

    fn is_sensitive(&self, key: &str) -> bool {
        let name = plain(key);
        PARTS_OF_NAMES.iter().any(|part| name.contains(part))
            || WHOLE_NAMES.contains(&name.as_str())
            || self.names.contains(&name)
    }
}

impl fmt::Debug for AuditMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditMask").field("detectors", &self.detectors.len()).finish_non_exhaustive()
    }
}

/// A name without what different systems write differently.
fn plain(name: &str) -> String {
    name.chars().filter(|char| char.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The beginning of a text that is too long, as a value that says so.
fn cut(masked: &str, bytes_max: usize) -> String {
    let mut end = bytes_max.min(masked.len());
    while !masked.is_char_boundary(end) {
        end -= 1;
    }
    format!(r#"{{"cut":true,"bytes":{},"start":{}}}"#, masked.len(), string(&masked[..end]))
}

/// Whether something above has a sensitive name.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    is_sensitive: bool,
}

struct Masking<'m> {
    mask: &'m AuditMask,
    nested: usize,
}

impl Visit for Masking<'_> {
    type Place = Place;

    fn member(&mut self, parent: &Place, key: &str) -> Place {
        Place { is_sensitive: parent.is_sensitive || self.mask.is_sensitive(key) }
    }

    fn item(&mut self, parent: &Place, _index: usize) -> Place {
        *parent
    }

    fn key(&mut self, _parent: &Place, key: &str) -> Option<String> {
        match self.mask.masked(key, self.nested) {
            Cow::Borrowed(_) => None,
            Cow::Owned(masked) => Some(masked),
        }
    }

    fn string(&mut self, place: &Place, text: &str) -> Option<String> {
        if place.is_sensitive {
            return (!text.is_empty()).then(|| string(REDACTED));
        }
        match self.mask.masked(text, self.nested) {
            Cow::Borrowed(_) => None,
            Cow::Owned(masked) => Some(string(&masked)),
        }
    }

    fn scalar(&mut self, place: &Place, raw: &str) -> Option<String> {
        let hides = place.is_sensitive || self.mask.finds(&detect::plain_number(raw), NESTED_MAX);
        hides.then(|| string(REDACTED))
    }
}

#[cfg(test)]
mod tests;

//! The form of pseudonyms: `cust_7f3ak2m9qx4t`.

use std::sync::Arc;

use aws_lc_rs::rand;

/// Digits and small letters without those that look like others.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 60 bits: who guesses finds none of the few thousand that a caller has.
const RANDOM_CHARS: usize = 12;

/// A value as it stood in an answer: a number that comes back must be a number again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Value {
    Text(Arc<str>),
    /// A number, as it was written.
    Number(Arc<str>),
}

impl Value {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
        }
    }

    /// The value as JSON.
    pub(super) fn json(&self) -> String {
        match self {
            Self::Text(text) => adapters::json::string(text),
            Self::Number(number) => number.as_ref().to_owned(),
        }
    }

    /// What [`json`](Self::json) gave.
    pub(super) fn from_json(json: &str) -> Option<Self> {
        match adapters::json::unquote(json) {
            Some(text) => Some(Self::Text(text.as_ref().into())),
            None => json
                .starts_with(|first: char| first == '-' || first.is_ascii_digit())
                .then(|| Self::Number(json.into())),
        }
    }
}

/// Bytes as characters of the alphabet, one for each.
pub(super) fn alphabet(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
}

/// A new pseudonym of the class.
pub(super) fn new(class: &str) -> String {
    let mut random = [0; RANDOM_CHARS];
    rand::fill(&mut random).expect("the system has random bytes");
    format!("{class}_{}", alphabet(&random).collect::<String>())
}

/// Whether a text has the form of a pseudonym of this class.
pub(super) fn is_name(text: &str, class: &str) -> bool {
    let random = text.strip_prefix(class).and_then(|rest| rest.strip_prefix('_'));
    random.is_some_and(|random| random.len() == RANDOM_CHARS && random.bytes().all(|byte| ALPHABET.contains(&byte)))
}

#[cfg(test)]
mod tests {
    use super::{Value, is_name, new};

    #[test]
    fn a_name_has_its_class_and_is_never_the_same() {
        let name = new("cust");
        assert!(is_name(&name, "cust"));
        assert_ne!(name, new("cust"));
        for (text, class) in [
            ("cust_7f3ak2m9qx", "cust"),
            ("cust_7f3ak2m9qx4i", "cust"),
            (name.as_str(), "cus"),
            (name.as_str(), "c"),
            ("", "cust"),
        ] {
            assert!(!is_name(text, class), "{text}");
        }
    }

    #[test]
    fn a_number_comes_back_as_the_number_it_was() {
        for json in ["9007199254740993.10", "-1e5", "\"12\"", "\"a\\\"b\""] {
            assert_eq!(Value::from_json(json).map(|value| value.json()).as_deref(), Some(json));
        }
        assert_eq!(Value::from_json("{}"), None);
    }
}

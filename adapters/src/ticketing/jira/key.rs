//! The key of an issue.

use std::fmt;

use super::super::arguments::misfit;
use crate::AdapterError;

/// The key of an issue, such as `SUP-123`: nothing else can stand in a path in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IssueKey(String);

const LENGTH_MAX: usize = 255;

impl IssueKey {
    /// Reads what a caller gave.
    ///
    /// # Errors
    /// When it is no key.
    pub(super) fn new(id: &str) -> Result<Self, AdapterError> {
        let key = id.trim();
        let fits = key.len() <= LENGTH_MAX
            && key.split_once('-').is_some_and(|(project, number)| {
                let word = project.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                let number_fits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                project.starts_with(|c: char| c.is_ascii_alphabetic()) && word && number_fits
            });
        if fits {
            Ok(Self(key.to_ascii_uppercase()))
        } else {
            Err(misfit("`id` must be the key of a ticket, such as `SUP-123`."))
        }
    }
}

impl fmt::Display for IssueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::IssueKey;

    #[test]
    fn a_key_is_a_key_and_nothing_else() {
        assert_eq!(IssueKey::new(" sup-12 ").expect("a key").to_string(), "SUP-12");
        assert!(IssueKey::new("A_1-9").is_ok());
        for bad in [
            "",
            "SUP",
            "SUP-",
            "-1",
            "1SUP-1",
            "SUP-1-2",
            "10001",
            "../../admin",
            "%2e%2e%2f",
            "SUP-1/..",
            "SUP-1?x=1",
            "SUP-1#",
            "SUP-1\r\nX-Y: z",
            "..;/",
            "SUP\u{ff0d}1",
            "SUP-\u{ff11}",
            "\u{ff0e}\u{ff0e}",
            "SUP-1 OR 1=1",
            ".",
            "..",
        ] {
            assert!(IssueKey::new(bad).is_err(), "{bad}");
        }
    }
}

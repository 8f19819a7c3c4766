//! Patterns over names: `*` stands for any run of characters, everything else for itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pattern over tool names in which `*` stands for any run of characters, also an empty one. Case counts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Glob(String);

impl Glob {
    /// A pattern from its text.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// The pattern's own text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern can match a name that starts with `prefix` and goes on.
    #[must_use]
    pub fn may_start_with(&self, prefix: &str) -> bool {
        match self.0.split_once('*') {
            Some((head, _)) => head.starts_with(prefix) || prefix.starts_with(head),
            None => self.0.len() > prefix.len() && self.0.starts_with(prefix),
        }
    }

    /// Whether the pattern matches all of `name`. Takes time linear in the product of both lengths at the very worst.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where to go on when a comparison fails: after the last star, one character further into the name.
        let mut retry: Option<(usize, usize)> = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                retry = Some((p + 1, n));
                p += 1;
            } else if pattern.get(p) == Some(&name[n]) {
                p += 1;
                n += 1;
            } else if let Some((after_star, start)) = retry {
                retry = Some((after_star, start + 1));
                p = after_star;
                n = start + 1;
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|&c| c == b'*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn a_star_stands_for_any_run_and_nothing_else_is_special() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "crm__get_customer", true),
            ("crm__get_*", "crm__get_customer", true),
            ("crm__get_*", "crm__set_customer", false),
            ("crm__get_*", "crm__get_", true),
            ("*customer", "crm__get_customer", true),
            ("*customer", "crm__get_customers", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("crm__get_customer", "CRM__get_customer", false),
            ("crm__get_?", "crm__get_x", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern:?} on {name:?}");
        }
    }
}

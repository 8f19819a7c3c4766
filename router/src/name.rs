//! The names callers see. A name is formed once, in the catalog, and from then on carried as parts.

use std::{fmt::Write as _, sync::Arc};

use aws_lc_rs::digest;
use config::{DownstreamName, Names, name::RESERVED};

/// What stands between a downstream's name and a tool's. The first one in a name is the border: downstream names hold none.
pub const SEPARATOR: &str = "__";

/// A tool's name in all its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolName {
    /// What callers see and send.
    pub shown: Arc<str>,
    /// The downstream that has the tool.
    pub downstream: DownstreamName,
    /// What the downstream calls it.
    pub local: Arc<str>,
    /// Whether the shown name stands for one that is too long or holds characters that clients refuse.
    pub is_alias: bool,
}

impl ToolName {
    /// Forms the shown name of `local` in `downstream`.
    #[must_use]
    pub fn form(downstream: &DownstreamName, local: &Arc<str>, names: &Names) -> Self {
        let full = if names.prefix { format!("{downstream}{SEPARATOR}{local}") } else { local.to_string() };
        let is_alias = !is_legal(&full, names.name_length_max);
        let hashed = [downstream.as_str(), local];
        let shown = if is_alias { alias(&full, &hashed, names.name_length_max, 8) } else { full };
        Self { shown: shown.into(), downstream: downstream.clone(), local: local.clone(), is_alias }
    }

    /// The name of one of Weir's own tools.
    #[must_use]
    pub fn own(local: &Arc<str>) -> Self {
        let downstream = DownstreamName::own();
        Self {
            shown: format!("{downstream}{SEPARATOR}{local}").into(),
            downstream,
            local: local.clone(),
            is_alias: false,
        }
    }

    /// Another alias with a longer hash, for the case that the first one is some other tool's name; a different one for each `attempt`.
    #[must_use]
    pub fn with_longer_alias(&self, names: &Names, attempt: u32) -> Self {
        let full =
            if names.prefix { format!("{}{SEPARATOR}{}", self.downstream, self.local) } else { self.local.to_string() };
        let attempt = (attempt > 0).then(|| attempt.to_string());
        let hashed: Vec<&str> = [self.downstream.as_str(), &self.local].into_iter().chain(attempt.as_deref()).collect();
        let shown = alias(&full, &hashed, names.name_length_max, 16);
        Self { shown: shown.into(), is_alias: true, ..self.clone() }
    }
}

/// Claude refuses a whole list for one name outside `[a-zA-Z0-9_-]` or beyond 64 characters, so the router never shows one.
fn is_legal(name: &str, length_max: usize) -> bool {
    let characters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let reserved = name.strip_prefix(RESERVED).is_some_and(|rest| rest.starts_with(SEPARATOR));
    !name.is_empty() && name.len() <= length_max && characters && !reserved
}

/// Head, `_` and hexadecimal digits of SHA-256 over downstream, NUL, tool: the same on every replica and after every restart.
fn alias(full: &str, hashed: &[&str], length_max: usize, digits: usize) -> String {
    let hash = digest::digest(&digest::SHA256, hashed.join("\0").as_bytes());
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    let mut shown: String = full.chars().map(legal).take(length_max.saturating_sub(digits + 1)).collect();
    if shown.starts_with(RESERVED) && shown[RESERVED.len()..].starts_with(SEPARATOR) {
        shown.insert(0, '_');
        shown.truncate(length_max.saturating_sub(digits + 1));
    }
    shown.push('_');
    for byte in &hash.as_ref()[..digits / 2] {
        write!(shown, "{byte:02x}").expect("writing to a string cannot fail");
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::{DownstreamName, Names};
    use proptest::prelude::*;

    use super::ToolName;

    fn form(downstream: &str, local: &str, names: &Names) -> ToolName {
        ToolName::form(&DownstreamName::new(downstream).expect(downstream), &Arc::from(local), names)
    }

    #[test]
    fn a_legal_name_is_shown_as_it_is_and_others_under_a_stable_alias() {
        let names = Names::default();
        for (local, shown) in [
            ("get_customer", "crm__get_customer"),
            ("a__b", "crm__a__b"),
            ("dots.in.name", "crm__dots_in_name_fa291b44"),
            ("ünïcode", "crm___n_code_fe12401c"),
        ] {
            let name = form("crm", local, &names);
            assert_eq!((&*name.shown, name.is_alias), (shown, shown != format!("crm__{local}")));
        }
        let long = form("crm", &"x".repeat(80), &names);
        assert_eq!((long.shown.len(), long.is_alias), (64, true));
        assert_eq!(long, form("crm", &"x".repeat(80), &names));
    }

    #[test]
    fn without_prefix_no_name_looks_like_one_of_our_own() {
        let names = Names { prefix: false, ..Names::default() };
        assert_eq!(&*form("crm", "get", &names).shown, "get");
        let taken = form("crm", "weir__next_page", &names);
        assert!(taken.is_alias && !taken.shown.starts_with("weir__"), "{}", taken.shown);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn any_name_gets_a_legal_one_that_its_parts_survive(
            downstream in "[a-z][a-z0-9-]{0,31}".prop_filter("reserved", |name| name != "weir"),
            local in "\\PC{1,100}",
        ) {
            let name = form(&downstream, &local, &Names::default());
            prop_assert!(name.shown.len() <= 64);
            prop_assert!(name.shown.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            prop_assert_eq!(name.shown.split_once("__").map(|(head, _)| head), Some(downstream.as_str()));
            prop_assert_eq!(&*name.local, local.as_str());
            if !name.is_alias {
                prop_assert_eq!(&*name.shown, format!("{downstream}__{local}"));
            }
        }
    }
}

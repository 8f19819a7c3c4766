//! The keys of one group in JSON.

use std::collections::{HashMap, HashSet};

/// The keys that a group has so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// The number that a name gets when it comes again.
    next: HashMap<String, usize>,
}

impl Names {
    /// The key of a field. A name that comes again is numbered: `amount`, `amount_2`.
    pub(super) fn key(&mut self, name: &str) -> String {
        let plain = in_json(name);
        if self.taken.insert(plain.clone()) {
            return plain;
        }
        let next = self.next.entry(plain.clone()).or_insert(2);
        loop {
            let key = format!("{plain}_{next}");
            *next += 1;
            if self.taken.insert(key.clone()) {
                return key;
            }
        }
    }
}

/// `ACCT-NO` as `acct_no`.
pub(super) fn in_json(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names_that_come_again_are_numbered() {
        let mut names = Names::default();
        let keys = ["ACCT-NO", "AMOUNT", "AMOUNT-2", "AMOUNT", "AMOUNT", "Acct_No"].map(|name| names.key(name));
        assert_eq!(keys, ["acct_no", "amount", "amount_2", "amount_3", "amount_4", "acct_no_2"]);
    }
}

//! Values that are known, wherever they stand in a text.

use aho_corasick::{AhoCorasick, MatchKind};

use super::{
    detect::{By, Found, is_in_word},
    names::Value,
};

/// A shorter value is part of too many words.
pub(super) const CHARS_MIN: usize = 4;
/// A longer one does not come twice by chance.
pub(super) const CHARS_MAX: usize = 1000;
/// From here on a value is found inside of words too.
const ANYWHERE_CHARS_MIN: usize = 8;
/// How many values are looked for at once, and how long they are in all.
pub(super) const VALUES_MAX: usize = 20_000;
pub(super) const BYTES_MAX: usize = 4 << 20;

/// Known values, and what takes the place of each.
#[derive(Debug)]
pub(super) struct Recurring {
    search: Option<AhoCorasick>,
    values: Vec<Known>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) value: Value,
    /// The number of the rule that masks it.
    pub(super) rule: u32,
    /// What stands there instead.
    pub(super) shown: String,
}

impl Recurring {
    /// A search for all of `values`. Of two that are the same the first counts.
    pub(super) fn new(values: Vec<Known>) -> Result<Self, aho_corasick::BuildError> {
        let search = if values.is_empty() {
            None
        } else {
            let texts = values.iter().map(|known| known.value.text());
            let mut builder = AhoCorasick::builder();
            Some(builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest).build(texts)?)
        };
        Ok(Self { search, values })
    }

    /// Adds where they stand in `text`. Each has a number of its own below that of its rule.
    pub(super) fn find(&self, text: &str, found: &mut Vec<Found>) {
        let Some(search) = &self.search else { return };
        for at in search.find_iter(text) {
            let index = at.pattern().as_usize();
            let known = &self.values[index];
            let range = at.range();
            let is_long = range.len() >= ANYWHERE_CHARS_MIN && known.value.text().chars().count() >= ANYWHERE_CHARS_MIN;
            if !range.is_empty() && (is_long || !is_in_word(text, &range)) {
                found.push(Found { range, by: By::One(number(known.rule, index + 1)) });
            }
        }
    }

    /// The one that has this number.
    pub(super) fn known(&self, number: u64) -> Option<&Known> {
        self.values.get((number & u64::from(u32::MAX)).checked_sub(1)? as usize)
    }
}

/// The number of what a rule finds: by its detectors 0, by its values their places from 1 on. So the order of rules is the order of numbers.
pub(super) fn number(rule: u32, place: usize) -> u64 {
    u64::from(rule) << 32 | place as u64
}

//! Values that are known, wherever they stand in a text.

use std::{cmp::Reverse, ops::Range};

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
    /// Those that are found everywhere, each with its place among `values`,
    long: Option<(AhoCorasick, Vec<usize>)>,
    /// and those that must stand alone. What does not may hide one that does, so what overlaps is looked at too.
    short: Option<(AhoCorasick, Vec<usize>)>,
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
        let search = |is_long: bool, kind: MatchKind| {
            let places = values.iter().enumerate().filter(|(_, known)| known.is_long() == is_long);
            let places: Vec<usize> = places.map(|(place, _)| place).collect();
            if places.is_empty() {
                return Ok(None);
            }
            let texts = places.iter().map(|&place| values[place].value.text());
            let search = AhoCorasick::builder().ascii_case_insensitive(true).match_kind(kind).build(texts)?;
            Ok(Some((search, places)))
        };
        let (long, short) = (search(true, MatchKind::LeftmostLongest)?, search(false, MatchKind::Standard)?);
        Ok(Self { long, short, values })
    }

    /// Adds where they stand in `text`. Each has a number of its own below that of its rule.
    pub(super) fn find(&self, text: &str, found: &mut Vec<Found>) {
        let mut all: Vec<(Range<usize>, usize)> = Vec::new();
        if let Some((search, places)) = &self.long {
            all.extend(search.find_iter(text).map(|at| (at.range(), places[at.pattern().as_usize()])));
        }
        if let Some((search, places)) = &self.short {
            let alone = search.find_overlapping_iter(text).filter(|at| !is_in_word(text, &at.range()));
            all.extend(alone.map(|at| (at.range(), places[at.pattern().as_usize()])));
        }
        // What stands inside of another one is a part of that.
        all.sort_by_key(|(range, place)| (range.start, Reverse(range.end), *place));
        let mut end = 0;
        for (range, place) in all.into_iter().filter(|(range, _)| !range.is_empty()) {
            if range.end > end {
                end = range.end;
                found.push(Found { range, by: By::One(number(self.values[place].rule, place + 1)) });
            }
        }
    }

    /// The one that has this number.
    pub(super) fn known(&self, number: u64) -> Option<&Known> {
        self.values.get((number & u64::from(u32::MAX)).checked_sub(1)? as usize)
    }
}

impl Known {
    fn is_long(&self) -> bool {
        self.value.text().chars().count() >= ANYWHERE_CHARS_MIN
    }
}

/// The number of what a rule finds: by its detectors 0, by its values their places from 1 on. So the order of rules is the order of numbers.
pub(super) fn number(rule: u32, place: usize) -> u64 {
    u64::from(rule) << 32 | place as u64
}

//! Finding values by what they look like. Every detector takes linear time: what it looks at for one finding is bounded or is the finding.

mod card;
mod email;
mod encoded;
mod iban;
mod national_id;
mod phone;
mod secret;

use std::{borrow::Cow, fmt, ops::Range, sync::Arc};

use regex::Regex;

/// One kind of value to look for.
#[derive(Clone)]
pub(super) enum Detector {
    Email,
    Card,
    Phone,
    Iban,
    NationalId,
    Secret,
    /// A pattern of the config.
    Pattern(Arc<Regex>),
}

impl Detector {
    /// Those that there are without any config.
    pub(super) const BUILT_IN: [(&'static str, Self); 6] = [
        ("email", Self::Email),
        ("card", Self::Card),
        ("phone", Self::Phone),
        ("iban", Self::Iban),
        ("national_id", Self::NationalId),
        ("secret", Self::Secret),
    ];

    /// Adds where in `text` such values stand.
    fn find(&self, text: &str, found: &mut impl FnMut(Range<usize>)) {
        match self {
            Self::Email => email::find(text, found),
            Self::Card => card::find(text, found),
            Self::Phone => phone::find(text, found),
            Self::Iban => iban::find(text, found),
            Self::NationalId => national_id::find(text, found),
            Self::Secret => secret::find(text, found),
            Self::Pattern(pattern) => {
                pattern.find_iter(text).map(|found| found.range()).filter(|range| !range.is_empty()).for_each(found);
            }
        }
    }
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let built_in = match self {
            Self::Email => "email",
            Self::Card => "card",
            Self::Phone => "phone",
            Self::Iban => "iban",
            Self::NationalId => "national_id",
            Self::Secret => "secret",
            Self::Pattern(pattern) => return f.write_str(pattern.as_str()),
        };
        f.write_str(built_in)
    }
}

/// A value that was found: where, and by which of those who looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    pub(super) by: By,
}

/// Who found a value. What has the smaller number stands before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// The one with this number.
    One(u64),
    /// Several, of which this is the first: no single one can say what may be left of the value.
    Several(u64),
}

impl By {
    /// The first of them.
    pub(super) fn first(self) -> u64 {
        match self {
            Self::One(index) | Self::Several(index) => index,
        }
    }
}

/// All that `detectors` find in `text`, from left to right. What overlaps is one finding.
pub(super) fn find_all<'d>(text: &str, detectors: impl Iterator<Item = (u64, &'d Detector)>) -> Vec<Found> {
    merged(find_each(text, detectors))
}

/// The same as they come, also what overlaps.
pub(super) fn find_each<'d>(text: &str, detectors: impl Iterator<Item = (u64, &'d Detector)>) -> Vec<Found> {
    let mut all = Vec::new();
    // Nothing that is looked for is shorter.
    if text.len() > 3 {
        for (index, detector) in detectors {
            detector.find(text, &mut |range| all.push(Found { range, by: By::One(index) }));
        }
    }
    all
}

/// What overlaps becomes one.
pub(super) fn merged(mut all: Vec<Found>) -> Vec<Found> {
    all.sort_by_key(|found| (found.range.start, found.by, found.range.end));
    let mut merged: Vec<Found> = Vec::with_capacity(all.len());
    for found in all {
        match merged.last_mut() {
            Some(last) if found.range.start < last.range.end => {
                // The first rule that fits the same value counts; only of one that goes further it cannot say what may stay.
                let is_within = found.range.end <= last.range.end && last.by.first() <= found.by.first();
                let is_same = found.range == last.range;
                last.range.end = last.range.end.max(found.range.end);
                if !is_within && !is_same {
                    last.by = By::Several(last.by.first().min(found.by.first()));
                }
            }
            _ => merged.push(found),
        }
    }
    merged
}

/// The text with each finding as `replacement` has it.
pub(super) fn replaced<'t>(
    text: &'t str,
    found: &[Found],
    mut replacement: impl FnMut(&Found, &str) -> Cow<'static, str>,
) -> Cow<'t, str> {
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    for found in found {
        out.push_str(&text[copied..found.range.start]);
        out.push_str(&replacement(found, &text[found.range.clone()]));
        copied = found.range.end;
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// The encoded pieces of `text` that stand for a text in which `finds` finds something.
pub(super) fn encoded_findings(text: &str, mut finds: impl FnMut(&str) -> bool) -> Vec<Range<usize>> {
    encoded::pieces(text)
        .filter(|range| encoded::decoded(&text[range.clone()]).is_some_and(|inner| finds(&inner)))
        .collect()
}

/// A number of JSON with all its digits: `4.111111111111111e15` is a card too.
pub(super) fn plain_number(raw: &str) -> Cow<'_, str> {
    if !raw.contains(['e', 'E', '.']) {
        return Cow::Borrowed(raw);
    }
    match raw.parse::<f64>() {
        // All whole numbers up to here are exact.
        Ok(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
            Cow::Owned(format!("{number:.0}"))
        }
        _ => Cow::Borrowed(raw),
    }
}

/// The character before a place.
fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

/// The character after a place.
fn after(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}

/// Whether what stands from here to there is a part of something longer.
pub(super) fn is_in_word(text: &str, range: &Range<usize>) -> bool {
    let goes_on = |next: Option<char>| next.is_some_and(|next| next.is_alphanumeric() || next == '_');
    goes_on(before(text, range.start)) || goes_on(after(text, range.end))
}

#[cfg(test)]
mod tests;

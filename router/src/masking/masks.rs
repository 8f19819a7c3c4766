//! The rules that count for the answers of one tool to the callers of some roles.

use std::{fmt, sync::Arc};

use aws_lc_rs::{digest, hmac};
use config::masking::{JsonPath, Strategy};

use super::{
    detect::{self, By, Detector, Found},
    names::Value,
    place::Paths,
    recur::{Recurring, number},
    strategy::{REDACTED, masked},
};

/// The number of what a call brought itself: values that were restored in its arguments. They come before all rules.
pub(super) const RESTORED: u32 = 0;

/// The rules for one tool, compiled.
pub(crate) struct Masks {
    /// The profiles they are from, as audit and `weir explain` name them.
    pub(super) profiles: Arc<str>,
    /// By number, from 1 on.
    rules: Vec<Rule>,
    detectors: Vec<(u64, Detector)>,
    pub(super) paths: Paths,
    /// Whether what cannot be looked into is refused.
    pub(super) strict: bool,
    revision: [u8; 32],
    hash_key: hmac::Key,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// Its profile and its place there: `support.rules[0]`.
    pub(super) name: Arc<str>,
    with: Strategy,
    class: Option<Arc<str>>,
}

/// A rule of the config with what it is named by.
pub(super) struct Source<'a> {
    pub(super) name: String,
    pub(super) rule: &'a config::masking::MaskRule,
    /// Its detectors, by the names that the rule has for them.
    pub(super) detectors: Vec<Detector>,
}

impl Masks {
    /// Masks by rules of a checked config.
    pub(super) fn new(profiles: &str, sources: Vec<Source<'_>>, strict: bool, hash_key: hmac::Key) -> Self {
        let (mut rules, mut detectors, mut paths) = (Vec::new(), Vec::new(), Vec::new());
        let mut print = digest::Context::new(&digest::SHA256);
        print.update(&[u8::from(strict)]);
        for source in sources {
            let at = rules.len() as u32 + 1;
            let said = format!("{:?}{:?}", source.rule, source.detectors);
            print.update(&(said.len() as u64).to_be_bytes());
            print.update(said.as_bytes());
            detectors.extend(source.detectors.into_iter().map(|detector| (number(at, 0), detector)));
            if let Some(path) = source.rule.path.as_deref().and_then(|path| JsonPath::parse(path).ok()) {
                paths.push((at, path));
            }
            let class = source.rule.class.as_deref().map(Into::into);
            rules.push(Rule { name: source.name.into(), with: source.rule.with, class });
        }
        let revision = print.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        Self { profiles: profiles.into(), rules, detectors, paths: Paths::new(paths), strict, revision, hash_key }
    }

    /// Changes with everything that decides what an answer looks like.
    pub(crate) fn revision(&self) -> &[u8; 32] {
        &self.revision
    }

    /// Whether what callers get is for one of them alone.
    pub(crate) fn has_pseudonyms(&self) -> bool {
        self.rules.iter().any(|rule| rule.with == Strategy::Pseudonym)
    }

    /// The rules by name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.name)
    }

    pub(super) fn rule(&self, at: u32) -> Option<&Rule> {
        self.rules.get((at as usize).checked_sub(1)?)
    }

    /// The class of the pseudonyms that the rule gives, if it gives any.
    pub(super) fn class(&self, at: u32) -> Option<&Arc<str>> {
        self.rule(at)?.class.as_ref()
    }

    /// What stands for a value by a rule; a value that has no pseudonym is redacted.
    pub(super) fn shown(&self, at: u32, value: &str) -> String {
        self.rule(at).map_or_else(|| REDACTED.to_owned(), |rule| masked(rule.with, value, &self.hash_key))
    }

    /// All that stands in a text, be it found by its looks or known.
    pub(super) fn find(&self, text: &str, known: &Recurring) -> Vec<Found> {
        let mut found = detect::find_each(text, self.detectors.iter().map(|(at, detector)| (*at, detector)));
        known.find(text, &mut found);
        detect::merged(found)
    }

    /// The rule that counts for a whole value at a place that the rule `at` leads to: one before it, if that finds this very value.
    pub(super) fn first_rule(&self, at: u32, text: &str) -> u32 {
        let before = self.detectors.iter().take_while(|(number, _)| rule_of(*number) < at);
        let found = detect::find_all(text, before.map(|(number, detector)| (*number, detector)));
        match &found[..] {
            [Found { range, by: By::One(by) }] if *range == (0..text.len()) => rule_of(*by),
            _ => at,
        }
    }
}

/// The rule behind the number of a finding.
pub(super) fn rule_of(number: u64) -> u32 {
    (number >> 32) as u32
}

/// Values as they are looked for under one rule.
pub(super) type Wanted = (Arc<str>, Value);

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masks").field("profiles", &self.profiles).field("rules", &self.rules).finish_non_exhaustive()
    }
}

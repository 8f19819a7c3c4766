//! Joins what callers were told of their writes with what the system did: acknowledged is exactly once, in doubt is once or not at all, and an
//! error before anything was sent is not at all.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, ensure};
use serde_json::Value;

/// What a caller was told of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was done.
    Done,
    /// Its outcome is unknown, or nothing was told at all: the connection to Weir was lost.
    Doubt {
        /// Names the write, where that was told.
        operation: Option<String>,
    },
    /// Nothing was done.
    NotMade,
    /// A write with the same key still runs.
    Running,
}

/// All that callers were told, by write. A write is one call, or all calls with one key.
#[derive(Debug, Default)]
pub struct History {
    writes: BTreeMap<String, Vec<Told>>,
}

/// How many writes came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Acknowledged.
    pub done: usize,
    /// In doubt and done.
    pub doubt_done: usize,
    /// In doubt and not done.
    pub doubt_not_made: usize,
    /// Refused before anything was sent.
    pub not_made: usize,
}

impl Told {
    /// What the `result` of a call says.
    #[must_use]
    pub fn of(result: &Value) -> Self {
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        let operation = result["_meta"]["weir/operation_id"].as_str().map(str::to_owned);
        match () {
            () if result["isError"] != true => Self::Done,
            () if text.contains("is unknown") => Self::Doubt { operation },
            () if text.contains("still runs") => Self::Running,
            () => Self::NotMade,
        }
    }
}

impl History {
    /// A caller was told this of a write.
    pub fn note(&mut self, write: &str, told: Told) {
        self.writes.entry(write.to_owned()).or_default().push(told);
    }

    /// Every operation that somebody was told to be in doubt.
    #[must_use]
    pub fn in_doubt(&self) -> Vec<(String, String)> {
        let doubt = |(write, told): (&String, &Vec<Told>)| {
            let operation = told.iter().find_map(|told| match told {
                Told::Doubt { operation } => operation.clone(),
                Told::Done | Told::NotMade | Told::Running => None,
            });
            operation.map(|operation| (write.clone(), operation))
        };
        self.writes.iter().filter_map(doubt).collect()
    }

    /// Compares it with how often the system did each write.
    ///
    /// # Errors
    /// The first write that was told wrong.
    pub fn check(&self, done: &HashMap<String, usize>) -> Result<Counts> {
        let mut counts = Counts::default();
        for (write, told) in &self.writes {
            let times = done.get(write).copied().unwrap_or_default();
            ensure!(times <= 1, "{write} was done {times} times: {told:?}");
            let acknowledged = told.contains(&Told::Done);
            let doubt = told.iter().any(|told| matches!(told, Told::Doubt { .. } | Told::Running));
            match (acknowledged, doubt, times) {
                (true, _, 1) => counts.done += 1,
                (false, true, 1) => counts.doubt_done += 1,
                (false, true, _) => counts.doubt_not_made += 1,
                (false, false, 0) => counts.not_made += 1,
                (true, ..) => anyhow::bail!("{write} was acknowledged and not done: {told:?}"),
                (false, false, _) => {
                    anyhow::bail!("{write} was done, and its caller was told that it was not: {told:?}")
                }
            }
        }
        let unknown = done.keys().find(|write| !self.writes.contains_key(*write));
        ensure!(unknown.is_none(), "nobody asked for {unknown:?}");
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Counts, History, Told};

    fn checked(told: &[Told], times: usize) -> Option<Counts> {
        let mut history = History::default();
        told.iter().for_each(|told| history.note("w", told.clone()));
        history.check(&HashMap::from([("w".to_owned(), times)])).ok()
    }

    #[test]
    fn a_history_that_was_told_wrong_is_found() {
        let doubt = Told::Doubt { operation: None };
        for (told, right) in [
            (&[Told::Done][..], [false, true, false]),
            (&[Told::NotMade], [true, false, false]),
            (std::slice::from_ref(&doubt), [true, true, false]),
            (&[Told::NotMade, Told::Done], [false, true, false]),
            (&[doubt.clone(), Told::Done], [false, true, false]),
            (&[Told::NotMade, Told::Running], [true, true, false]),
        ] {
            for (times, right) in right.into_iter().enumerate() {
                assert_eq!(checked(told, times).is_some(), right, "{told:?} {times}");
            }
        }
        let nobody = History::default().check(&HashMap::from([("w".to_owned(), 1)]));
        assert!(nobody.is_err());
    }
}

//! What a log shows of a time, by the criteria of an audit.

pub mod criteria;
mod summary;

use std::{collections::BTreeMap, io, ops::ControlFlow, path::Path};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    age::Identity,
    records::{Filter, Found, Unread, each},
    verify::Report,
};
pub use criteria::{Criterion, Selector};
pub use summary::summary;

/// How many records of each sort stand in the bundle as samples: the first, and the last of the time.
const SAMPLES_MAX: usize = 5;
/// A longer record is named and not shown.
const SAMPLE_BYTES_MAX: usize = 16 << 10;
/// How many different words of one sort are counted each by itself.
const WORDS_MAX: usize = 256;
/// How many configs that were in force are listed.
const CONFIGS_MAX: usize = 1000;

/// What a log shows of a time.
#[derive(Debug, Default, Serialize)]
pub struct Evidence {
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// The records of each sort.
    pub sorts: BTreeMap<&'static str, Sort>,
    /// Calls by what became of them.
    pub outcomes: BTreeMap<String, u64>,
    /// Calls by how their callers were authenticated.
    pub authenticated_by: BTreeMap<String, u64>,
    /// Requests that are no calls, by reason.
    pub counted: BTreeMap<String, u64>,
    /// Events by name.
    pub events: BTreeMap<String, u64>,
    /// The configs that came into force: when, and their digests.
    pub configs: Vec<Value>,
    /// What the last of them said of security.
    pub config: Value,
    /// Records that could not be read.
    pub unread: Unread,
}

/// The records of one sort.
#[derive(Debug, Default, Serialize)]
pub struct Sort {
    /// How many requests they stand for.
    pub count: u64,
    /// Some of them.
    pub samples: Vec<Value>,
}

/// Reads the records of a time.
///
/// # Errors
/// When the folder or a segment cannot be read.
pub fn collect(dir: &Path, identity: Option<&Identity>, filter: &Filter) -> io::Result<Evidence> {
    let mut evidence = Evidence { since: filter.since, until: filter.until, ..Evidence::default() };
    evidence.sorts.extend(Selector::ALL.map(|selector| (selector.name(), Sort::default())));
    // The config that was in force when the time began was recorded before it: that of the last start counts.
    let all = Filter { since: None, until: filter.until, ..Filter::default() };
    let unread = each(dir, identity, &all, |found| {
        let Ok(record) = serde_json::from_str::<Map<String, Value>>(&found.text) else {
            return Ok(ControlFlow::Continue(()));
        };
        if filter.since.is_none_or(|since| found.time >= since) {
            evidence.take(&found, &record);
        } else if Selector::Configs.takes(&record) {
            evidence.in_force(&found, &record);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    evidence.unread = unread;
    Ok(evidence)
}

impl Evidence {
    fn take(&mut self, found: &Found, record: &Map<String, Value>) {
        let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
        let requests = record.get("count").and_then(Value::as_u64).unwrap_or(1);
        for selector in Selector::ALL.into_iter().filter(|selector| selector.takes(record)) {
            let sort = self.sorts.entry(selector.name()).or_default();
            sort.count += requests;
            let sample = || json!({ "chain": found.chain, "seq": found.seq, "record": shown(found, record) });
            if sort.samples.len() < SAMPLES_MAX {
                sort.samples.push(sample());
            } else if let Some(last) = sort.samples.last_mut() {
                *last = sample();
            }
        }
        match text("kind").as_deref() {
            Some("call") => {
                add(&mut self.outcomes, text("outcome"), 1);
                add(&mut self.authenticated_by, text("authenticated_by"), 1);
            }
            Some("counted") => add(&mut self.counted, text("reason"), requests),
            Some("event") => add(&mut self.events, text("event"), 1),
            _ => {}
        }
        if Selector::Configs.takes(record) {
            self.in_force(found, record);
        }
    }

    /// A config came into force.
    fn in_force(&mut self, found: &Found, record: &Map<String, Value>) {
        let config = record.get("details").map(|details| details["config"].clone()).unwrap_or_default();
        if self.since.is_some_and(|since| found.time < since) {
            self.configs.clear();
        }
        if self.configs.len() < CONFIGS_MAX {
            let (digest, weir) = (&config["config_digest"], &config["weir"]);
            self.configs.push(json!({ "time": found.time, "chain": found.chain, "seq": found.seq, "config_digest": digest, "weir": weir }));
        }
        self.config = config;
    }
}

fn shown(found: &Found, record: &Map<String, Value>) -> Value {
    if found.text.len() <= SAMPLE_BYTES_MAX {
        Value::Object(record.clone())
    } else {
        json!({ "bytes": found.text.len() })
    }
}

fn add(counts: &mut BTreeMap<String, u64>, word: Option<String>, count: u64) {
    let word = word.unwrap_or_else(|| "none".to_owned());
    let is_full = counts.len() >= WORDS_MAX && !counts.contains_key(&word);
    *counts.entry(if is_full { "others".to_owned() } else { word }).or_default() += count;
}

/// The bundle as one JSON value.
#[must_use]
pub fn bundle(evidence: &Evidence, criteria: &[&Criterion], report: &Report, now: Timestamp) -> Value {
    let criteria: Vec<Value> = criteria
        .iter()
        .map(|criterion| {
            let Criterion { id, asks, does, shown_by, settings, not_shown } = criterion;
            let records: Map<String, Value> =
                shown_by.iter().map(|selector| (selector.name().to_owned(), json!(evidence.sorts[selector.name()].count))).collect();
            let settings: Map<String, Value> =
                settings.iter().map(|&name| (name.to_owned(), evidence.config[name].clone())).collect();
            json!({ "id": id, "asks": asks, "does": does, "records": records, "settings": settings, "not_shown": not_shown })
        })
        .collect();
    json!({ "made": now, "evidence": evidence, "criteria": criteria, "verification": report })
}

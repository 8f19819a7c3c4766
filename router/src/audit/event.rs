//! Events of the process itself: start, end, and another config.

use config::Config;
use serde_json::{Map, Value, json};

use super::{Audit, facts};
use crate::reload::Refused;

impl Audit {
    /// The process serves from now on, with this config.
    pub(crate) fn started(&self, config: &Config) {
        self.of_process("started", json!({ "weir": env!("CARGO_PKG_VERSION"), "config": facts::of(config) }));
    }

    /// Another config is in force.
    pub(crate) fn reloaded(&self, before: &Config, now: &Config, waiting: &[&'static str]) {
        let changed = changed(&sections(before), &sections(now));
        self.of_process("config_reloaded", json!({ "changed": changed, "waiting": waiting, "config": facts::of(now) }));
    }

    /// Another config was read and is not in force.
    pub(crate) fn refused(&self, refused: &Refused) {
        self.of_process("config_refused", json!({ "problems": refused.lines().len() }));
    }

    /// The process ends in order.
    pub(crate) fn stopped(&self) {
        self.of_process("stopped", json!({}));
    }
}

/// The sections of a config. Secrets stand in it as references.
pub(super) fn sections(config: &Config) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(sections)) => sections,
        other => unreachable!("a config has a JSON form: {:?}", other.err()),
    }
}

fn changed(before: &Map<String, Value>, now: &Map<String, Value>) -> Vec<String> {
    let names = now.keys().chain(before.keys().filter(|name| !now.contains_key(*name)));
    names.filter(|name| before.get(*name) != now.get(*name)).cloned().collect()
}

//! Events of the process itself: start, end, and another config.

use std::collections::HashMap;

use config::{Config, KeyRecord};
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

    /// What became of the API keys between two key files: who may come in, and who may not any more.
    pub(crate) fn keys_changed(&self, before: &[KeyRecord], now: &[KeyRecord]) {
        for (kind, key) in key_changes(before, now) {
            let KeyRecord { id, hash: _, subject, tenant, roles, created: _, expires, revoked } = key;
            let details = json!({
                "by": "key_file", "id": id, "subject": subject, "tenant": tenant, "roles": roles, "expires": expires, "revoked": revoked,
            });
            self.of_process(kind, details);
        }
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

fn key_changes<'k>(
    before: &'k [KeyRecord],
    now: &'k [KeyRecord],
) -> impl Iterator<Item = (&'static str, &'k KeyRecord)> {
    let by_id = |records: &'k [KeyRecord]| records.iter().map(|key| (key.id.as_str(), key)).collect::<HashMap<_, _>>();
    let (known, kept) = (by_id(before), by_id(now));
    let gone = before.iter().filter(move |key| !kept.contains_key(key.id.as_str())).map(|key| ("key_removed", key));
    let changed = now.iter().filter_map(move |key| match known.get(key.id.as_str()) {
        None => Some(("key_created", key)),
        Some(before) if key.revoked.is_some() && before.revoked.is_none() => Some(("key_revoked", key)),
        Some(before) if *before != key => Some(("key_changed", key)),
        Some(_) => None,
    });
    changed.chain(gone)
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

#[cfg(test)]
mod tests {
    use config::KeyRecord;

    use super::key_changes;

    #[test]
    fn every_change_of_the_key_file_has_its_event() {
        let key = |id: &str, role: &str, revoked: Option<&str>| KeyRecord {
            id: id.to_owned(),
            hash: "0".repeat(64),
            subject: "ann".to_owned(),
            tenant: None,
            roles: vec![role.to_owned()],
            created: None,
            expires: None,
            revoked: revoked.map(str::to_owned),
        };
        let at = Some("2027-01-31T00:00:00Z");
        let before = [key("same", "a", None), key("gone", "a", None), key("ended", "a", None), key("given", "a", None)];
        let now = [key("same", "a", None), key("ended", "a", at), key("given", "b", None), key("new", "a", None)];
        let changes: Vec<_> = key_changes(&before, &now).map(|(kind, key)| (kind, key.id.as_str())).collect();
        let expected =
            [("key_revoked", "ended"), ("key_changed", "given"), ("key_created", "new"), ("key_removed", "gone")];
        assert_eq!(changes, expected);
        assert_eq!(key_changes(&now, &now).count(), 0);
    }
}

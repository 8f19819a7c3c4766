//! What `weir lock` does: a lock file made anew from what downstreams offer now, and what that changes.

use std::collections::BTreeMap;

use adapters::Offer;
use config::downstream::Expose;

use super::{Digest, Finding, Lock, diff, findings, visible};

/// What another lock file says otherwise of one tool.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Change {
    /// Whose tool it is.
    pub downstream: String,
    /// What its downstream calls it; nothing in it is hidden.
    pub tool: String,
    /// `added`, `changed` or `removed`.
    pub what: &'static str,
    /// What deserves a look in the definition of now.
    pub findings: Vec<Finding>,
    /// The lines of before and of now; none where the tool is not offered any more.
    pub diff: Vec<String>,
}

impl Lock {
    /// Pins all that a downstream offers and its config exposes, and nothing else of it. Says what has changed.
    pub fn renew(&mut self, downstream: &str, config: &config::Downstream, offer: &Offer) -> Vec<Change> {
        let before = self.of(downstream).cloned().unwrap_or_default();
        self.forget(downstream);
        let is_exposed = |name: &str| config.expose == Expose::All || config.tools.contains_key(name);
        let offered: BTreeMap<&str, &str> =
            offer.tools.iter().map(|tool| (&*tool.local_name, tool.definition.get())).collect();
        let change = |tool: &str, what, findings, diff| {
            let tool = visible::shown(tool).into_owned();
            Change { downstream: downstream.to_owned(), tool, what, findings, diff }
        };
        let mut changes = Vec::new();
        for tool in offer.tools.iter().filter(|tool| is_exposed(&tool.local_name)) {
            let (name, definition) = (&*tool.local_name, tool.definition.get());
            self.pin(downstream, name, &tool.definition);
            let old = before.get(name);
            if old.is_some_and(|old| old.digest == Digest::of(definition)) {
                continue;
            }
            let what = if old.is_some() { "changed" } else { "added" };
            let lines = diff(old.map(|old| old.definition.get()), definition);
            changes.push(change(name, what, findings(definition), lines));
        }
        let is_gone = |name: &&String| !offered.contains_key(name.as_str()) || !is_exposed(name);
        changes.extend(before.keys().filter(is_gone).map(|name| change(name, "removed", Vec::new(), Vec::new())));
        changes
    }

    /// Forgets the downstreams that `is_known` does not know, and says which.
    pub fn forget_others(&mut self, is_known: impl Fn(&str) -> bool) -> Vec<String> {
        let others: Vec<String> = self.downstreams().filter(|name| !is_known(name)).map(str::to_owned).collect();
        others.iter().for_each(|name| self.forget(name));
        others
    }
}

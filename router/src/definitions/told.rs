//! What operators are told of definitions when they ask.

use std::sync::{Arc, PoisonError};

use config::{DownstreamName, Names};
use serde_json::{Value, json};

use super::{Definitions, Judged, Lock, Seen, diff, visible};
use crate::name::ToolName;

/// How many diffs are shown at once; one asks for the others by name.
const DIFFS_MAX: usize = 25;

impl Definitions {
    /// How many tools of a downstream are held back.
    pub(crate) fn held_count(&self, downstream: &DownstreamName) -> usize {
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(downstream).map_or(0, |seen| seen.held.len())
    }

    /// Which downstream has the held tool that callers would see by this name, and what it is called there.
    pub(crate) fn named(&self, shown: &str, names: &Names) -> Option<(DownstreamName, Arc<str>)> {
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |(name, seen): (&DownstreamName, &Seen)| {
            let tool = seen.held.iter().find(|tool| *ToolName::form(name, tool, names).shown == *shown)?;
            Some((name.clone(), tool.clone()))
        };
        all.iter().find_map(named)
    }

    /// All of it, or what is said of the held tool that callers would see as `only`, with its definition.
    pub(crate) fn told(&self, names: &Names, only: Option<&str>) -> Value {
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut downstreams: Vec<_> = all.iter().collect();
        downstreams.sort_by_key(|(name, _)| *name);
        let (mut held, mut missing, mut suspicious) = (Vec::new(), Vec::new(), Vec::new());
        for (name, seen) in downstreams {
            let mut tools: Vec<_> = seen.tools.iter().collect();
            tools.sort_by_key(|(local, _)| *local);
            for (local, judged) in tools {
                let shown = ToolName::form(name, local, names).shown;
                if only.is_some_and(|only| *only != *shown) {
                    continue;
                }
                if judged.held.is_some() {
                    let whole = only.is_some() || held.len() < DIFFS_MAX;
                    held.push(self.one(name, seen, (local, &shown), judged, whole, only.is_some()));
                } else if !judged.findings.is_empty() {
                    suspicious.push(json!({
                        "name": shown, "downstream": name, "tool": visible::shown(local), "findings": judged.findings,
                    }));
                }
            }
            missing.extend(seen.missing.iter().map(|tool| json!({ "downstream": name, "tool": visible::shown(tool) })));
        }
        json!({
            "pinned": self.lock.as_ref().map(Lock::len), "held": held, "missing": missing, "suspicious": suspicious,
        })
    }

    fn one(
        &self,
        name: &DownstreamName,
        seen: &Seen,
        (local, shown): (&Arc<str>, &str),
        judged: &Judged,
        with_diff: bool,
        with_definition: bool,
    ) -> Value {
        let offered = seen.offer.tools.iter().find(|tool| tool.local_name == *local);
        let definition = offered.map(|tool| tool.definition.get()).unwrap_or_default();
        let base = self.lock.as_ref().and_then(|lock| lock.get(name.as_str(), local));
        let lines = with_diff.then(|| diff(base.map(|locked| locked.definition.get()), definition));
        let mut told = json!({
            "name": shown, "downstream": name, "tool": visible::shown(local), "digest": judged.digest.to_string(),
            "why": judged.held.map(|held| held.why.as_str()), "since": judged.held.map(|held| held.since),
            "findings": judged.findings, "diff": lines,
        });
        if with_definition {
            told["definition"] = json!(super::canonical::pretty(definition, 0));
        }
        told
    }

    /// The lock file as it would be with everything in it that callers see now. What is held back, or not offered now, stays as it was.
    pub(crate) fn exported(&self) -> Lock {
        let mut lock = self.lock.clone().unwrap_or_default();
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, seen) in all.iter() {
            let shown = |local: &Arc<str>| seen.tools.get(local).is_some_and(|judged| judged.held.is_none());
            for tool in seen.offer.tools.iter().filter(|tool| shown(&tool.local_name)) {
                lock.pin(name.as_str(), &tool.local_name, &tool.definition);
            }
        }
        lock
    }
}

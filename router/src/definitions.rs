//! Whether callers see a tool: its definition must be one that somebody has looked at.
//!
//! Pinned is what other programs say of their tools (MCP servers). What the config or Weir itself defines changes by the operator's own
//! hand. The lock file is the base; what was approved since lies with all replicas, until it is exported into the file.

mod board;
mod canonical;
mod diff;
mod lock;
mod renew;
mod report;
mod suspicion;
mod told;
mod visible;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use adapters::{Offer, OfferedTool};
use cache::{Approved, NotApproved, Reach};
use config::{Config, DownstreamName, definitions::NewTools, downstream::Kind};
use jiff::Timestamp;

use crate::{Downstream, StartError, audit::Audit};

pub use canonical::{Digest, NoDigest};
pub use lock::{Lock, LockError, Locked};
pub use renew::Change;
pub use suspicion::{Finding, findings, findings_in_text};

pub(crate) use board::{Board, follow};
pub(crate) use diff::diff;
use report::{Budget, Report};

/// Which definitions callers may see, under one config.
#[derive(Debug)]
pub(crate) struct Definitions {
    /// Without it nothing is held back, and changes are only reported.
    lock: Option<Lock>,
    new: NewTools,
    board: Arc<Board>,
    audit: Arc<Audit>,
    seen: Mutex<HashMap<DownstreamName, Seen>>,
}

/// What was seen of one downstream last.
#[derive(Debug, Clone)]
struct Seen {
    offer: Arc<Offer>,
    /// Of the approvals by which it was judged; none where another lock file counts by now.
    judged_by: Option<u64>,
    tools: HashMap<Arc<str>, Judged>,
    held: Arc<HashSet<Arc<str>>>,
    /// Those of the lock file that are not offered.
    missing: BTreeSet<String>,
    budget: Budget,
}

/// One tool as it is offered now.
#[derive(Debug, Clone)]
struct Judged {
    digest: Digest,
    findings: Arc<[Finding]>,
    held: Option<Held>,
}

/// Why callers do not see a tool, and since when.
#[derive(Debug, Clone, Copy)]
struct Held {
    why: Why,
    since: Timestamp,
}

/// Why callers do not see a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Another definition of it was approved.
    Changed,
    /// Nobody has looked at it yet.
    New,
    /// It is new, would be shown, and there is something in it that deserves a look.
    Suspicious,
}

impl Why {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::New => "new",
            Self::Suspicious => "suspicious",
        }
    }
}

/// Why a definition was not approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No definition of this tool is held back.
    NotHeld,
    /// The one that is held back is another one by now.
    Another(Digest),
    /// The approval could not be kept.
    NotKept(NotApproved),
}

impl Definitions {
    /// What the lock file of a config says, in the place of what counted `before`.
    ///
    /// # Errors
    /// When the lock file cannot be used.
    pub(crate) fn new(
        config: &Config,
        base: &std::path::Path,
        board: Arc<Board>,
        audit: Arc<Audit>,
        before: Option<&Self>,
    ) -> Result<Arc<Self>, StartError> {
        let path = config.definitions.lock.as_ref().map(|lock| base.join(lock));
        let lock = path.map(|path| Lock::read(&path)).transpose().map_err(StartError::Definitions)?;
        let kept = |before: &Self| {
            let seen = before.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let again = |(name, seen)| (name, Seen { judged_by: None, ..seen });
            seen.into_iter().filter(|(name, _)| config.downstreams.contains_key(name)).map(again).collect()
        };
        let seen = Mutex::new(before.map(kept).unwrap_or_default());
        Ok(Arc::new(Self { lock, new: config.definitions.new, board, audit, seen }))
    }

    /// Where approvals are.
    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Whether anything can be held back.
    pub(crate) fn holds(&self) -> bool {
        self.lock.is_some()
    }

    /// The tools of an offer, `exposed` by the config, that callers are not to see. What is new about it is reported.
    pub(crate) fn held_of(
        &self,
        downstream: &Downstream,
        offer: &Arc<Offer>,
        exposed: impl Fn(&OfferedTool) -> bool,
    ) -> Arc<HashSet<Arc<str>>> {
        if !is_pinned(downstream) {
            return Arc::default();
        }
        let version = self.board.approvals().version();
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(&downstream.name);
        if let Some(seen) = before.filter(|seen| Arc::ptr_eq(&seen.offer, offer) && seen.judged_by == Some(version)) {
            return seen.held.clone();
        }
        let mut reports = Vec::new();
        let mut seen = self.judge(downstream, offer, exposed, before, &mut reports);
        seen.judged_by = Some(version);
        let held = seen.held.clone();
        report::tell(&self.audit, downstream.name.as_str(), reports, &mut seen.budget);
        all.insert(downstream.name.clone(), seen);
        held
    }

    fn judge<'a>(
        &'a self,
        downstream: &Downstream,
        offer: &'a Arc<Offer>,
        exposed: impl Fn(&OfferedTool) -> bool,
        before: Option<&'a Seen>,
        reports: &mut Vec<Report<'a>>,
    ) -> Seen {
        let owner = downstream.name.as_str();
        let old: HashMap<&str, &OfferedTool> =
            before.iter().flat_map(|seen| &seen.offer.tools).map(|tool| (&*tool.local_name, tool)).collect();
        let mut tools = HashMap::with_capacity(offer.tools.len());
        for tool in offer.tools.iter().filter(|tool| exposed(tool)) {
            let (name, definition) = (&tool.local_name, tool.definition.get());
            let known = before.and_then(|seen| seen.tools.get(name));
            let old = old.get(&**name).map(|old| old.definition.get());
            let (digest, found) = match known.filter(|_| old == Some(definition)) {
                Some(known) => (known.digest, known.findings.clone()),
                None => (Digest::of(definition), findings(definition).into()),
            };
            let locked = self.lock.as_ref().and_then(|lock| lock.get(owner, name));
            let why = self.verdict(&Approved { owner, name, digest: digest.as_bytes() }, locked, &found);
            let was = known.and_then(|known| known.held);
            let is_same = known.is_some_and(|known| known.digest == digest);
            let since = was.filter(|was| is_same && Some(was.why) == why).map_or_else(Timestamp::now, |was| was.since);
            let base = locked.map(|locked| locked.definition.get());
            match why {
                Some(why) if !is_same || was.is_none_or(|was| was.why != why) => {
                    reports.push(Report::Held { name, why, digest, base, definition, findings: found.clone() });
                }
                Some(_) => {}
                None if was.is_some() => reports.push(Report::Released { name, digest }),
                None if known.is_some() && !is_same => {
                    reports.push(Report::Changed { name, digest, old, definition, findings: found.clone() });
                }
                None if known.is_none() && self.lock.is_none() && !found.is_empty() => {
                    reports.push(Report::Suspicious { name, digest, findings: found.clone() });
                }
                None => {}
            }
            let held = why.map(|why| Held { why, since });
            tools.insert(name.clone(), Judged { digest, findings: found, held });
        }
        let held = tools.iter().filter(|(_, judged)| judged.held.is_some()).map(|(name, _)| name.clone());
        let held = Arc::new(held.collect());
        let locked = self.lock.as_ref().and_then(|lock| lock.of(owner)).into_iter().flat_map(|tools| tools.keys());
        let missing: BTreeSet<String> = locked.filter(|&name| !tools.contains_key(name.as_str())).cloned().collect();
        let told = before.map(|seen| seen.missing.clone()).unwrap_or_default();
        reports.extend(missing.difference(&told).cloned().map(|name| Report::Missing { name }));
        let budget = before.map(|seen| seen.budget).unwrap_or_default();
        Seen { offer: offer.clone(), judged_by: None, tools, held, missing, budget }
    }

    /// Why callers are not to see a tool; `None` where they may.
    fn verdict(&self, what: &Approved<'_>, locked: Option<&Locked>, findings: &[Finding]) -> Option<Why> {
        self.lock.as_ref()?;
        let approvals = self.board.approvals();
        if let Some(locked) = locked {
            let is_approved = locked.digest.as_bytes() == what.digest || approvals.has(what);
            return (!is_approved).then_some(Why::Changed);
        }
        match self.new {
            NewTools::Hold => (!approvals.has(what)).then_some(Why::New),
            NewTools::Show => {
                // Asked first, so that what was seen first is known also where it was approved or held back.
                let is_first = approvals.is_first(what);
                match (approvals.has(what), is_first, findings.is_empty()) {
                    (true, ..) | (false, true, true) => None,
                    (false, false, _) => Some(Why::Changed),
                    (false, true, false) => Some(Why::Suspicious),
                }
            }
        }
    }

    /// Approves the definition of a tool that is held back, if it is still the one with this digest: what changed since somebody looked at
    /// it, nobody has looked at.
    pub(crate) async fn approve(&self, downstream: &str, tool: &str, digest: Digest) -> Result<Reach, Refusal> {
        let held = {
            let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = all.iter().find(|(name, _)| name.as_str() == downstream).map(|(_, seen)| seen);
            let judged = seen.and_then(|seen| seen.tools.get(tool)).filter(|judged| judged.held.is_some());
            judged.map(|judged| judged.digest).ok_or(Refusal::NotHeld)?
        };
        if held != digest {
            return Err(Refusal::Another(held));
        }
        let what = Approved { owner: downstream, name: tool, digest: digest.as_bytes() };
        let reach = self.board.approvals().approve(&what).await.map_err(Refusal::NotKept)?;
        report::approved(&self.audit, downstream, tool, digest);
        self.board.announce();
        Ok(reach)
    }
}

/// Whether others define the tools of a downstream.
pub(crate) fn is_pinned(downstream: &Downstream) -> bool {
    defines_its_tools(&downstream.config)
}

/// Whether it says itself what its tools are; those of other kinds are defined by the config or by Weir.
#[must_use]
pub fn defines_its_tools(downstream: &config::Downstream) -> bool {
    matches!(downstream.kind(), Some(Kind::Mcp(_)))
}

/// What deserves a look in the descriptions that a config gives itself, each with the keys of its setting.
#[must_use]
pub fn findings_in_config(config: &Config) -> Vec<(Vec<String>, Finding)> {
    let mut found = Vec::new();
    for (name, downstream) in &config.downstreams {
        for (tool, settings) in &downstream.tools {
            let findings = settings.description.as_deref().map(|text| findings_in_text("description", text));
            let keys = ["downstreams", name.as_str(), "tools", tool, "description"].map(str::to_owned);
            found.extend(findings.into_iter().flatten().map(|finding| (keys.to_vec(), finding)));
        }
    }
    found
}

#[cfg(test)]
mod tests;

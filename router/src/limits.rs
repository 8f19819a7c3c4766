//! The limits of the config: which ones are for a call, what it costs them, and what is said when one refuses it.
//!
//! How much of each is left is the business of `cache::limits`, here and on the other replicas.

mod addresses;
mod explained;
mod head;
mod refused_calls;
mod rules;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use adapters::Caller;
use cache::limits::{Charge, Denied, Limit, Limiter, Side, Standing};
use config::Per;

use crate::{call::Trail, catalog::Tool, error::CallError, telemetry};

use refused_calls::RefusedCalls;
use rules::{Rule, Subjects};

pub(crate) use addresses::TooManyWrong;
pub(crate) use rules::OfTool;

/// The limits of one config.
#[derive(Debug)]
pub(crate) struct Limits {
    rules: Box<[Rule]>,
    /// Those of wrong credentials.
    addresses: Box<[Arc<Limit>]>,
    limiter: Limiter,
    subjects: Subjects,
    refused_calls: Arc<RefusedCalls>,
    /// Tells what was worked out by these limits from what was by those of another config.
    revision: u64,
}

impl Limits {
    /// The limits of a config. What they count has names made by `subjects`, so that nobody reads callers out of a Redis.
    pub(crate) fn new(config: &config::Config, limiter: Limiter, subjects: cache::limits::Subjects) -> Self {
        Self::with(config, limiter, Subjects::new(subjects), Arc::new(RefusedCalls::new()))
    }

    /// Those of the next config. What was counted stays counted.
    pub(crate) fn succeeding(before: &Self, config: &config::Config) -> Self {
        Self::with(config, before.limiter.clone(), before.subjects.clone(), before.refused_calls.clone())
    }

    fn with(config: &config::Config, limiter: Limiter, subjects: Subjects, refused_calls: Arc<RefusedCalls>) -> Self {
        static REVISION: AtomicU64 = AtomicU64::new(1);
        let (addresses, calls): (Vec<_>, Vec<_>) = config.limits.iter().partition(|limit| limit.per == Per::Address);
        let mut addresses: Box<[_]> = addresses.into_iter().map(rules::limit).collect();
        if addresses.is_empty() {
            addresses = Box::new([rules::limit(&config::Limit::failed_logins())]);
        }
        let revision = REVISION.fetch_add(1, Ordering::Relaxed);
        Self {
            rules: calls.into_iter().map(Rule::new).collect(),
            addresses,
            limiter,
            subjects,
            refused_calls,
            revision,
        }
    }

    /// Counts a call on its caller's side, in one step for all limits there, and says what is left of each.
    ///
    /// # Errors
    /// Nothing was counted then.
    pub(crate) async fn admit_caller(
        &self,
        caller: &Caller,
        tool: &Tool,
        trail: &Trail,
    ) -> Result<Vec<Standing>, CallError> {
        let charges = self.of_caller(caller, tool);
        if charges.is_empty() {
            return Ok(Vec::new());
        }
        let tenant = self.subjects.tenant(caller);
        match self.limiter.admit(Side::Caller { tenant }, &charges).await {
            Ok(standings) => {
                charged(&charges, trail);
                Ok(standings)
            }
            Err(denied) => Err(self.refused(tool, denied, trail)),
        }
    }

    /// What a call of `tool` is charged on the side of its downstream.
    pub(crate) fn of_downstream(&self, tool: &Tool) -> Arc<[Charge]> {
        self.of(tool).downstream.clone()
    }

    /// What a refusal by a limit is to the caller, and to the record of the call.
    pub(crate) fn refused(&self, tool: &Tool, denied: Denied, trail: &Trail) -> CallError {
        let (limit, wait) = match denied {
            Denied::Over { limit, wait, .. } => (limit, Some(wait)),
            Denied::Never { limit } => (limit, None),
            Denied::Closed { limit, wait } => {
                noted(&limit, "uncounted", trail);
                return CallError::Uncounted { limit: limit.name.clone(), retry_after_ms: millis(wait) };
            }
        };
        noted(&limit, "over", trail);
        let rule = self.rules.iter().find(|rule| rule.limit.name == limit.name);
        let counts = rule.map_or_else(|| "you".to_owned(), |rule| rule.counts(tool));
        CallError::Limited { limit: limit.name.clone(), counts, retry_after_ms: wait.map(millis) }
    }

    /// Refuses a caller of whom too many calls were refused for what they asked. It hears nothing of what it asks now.
    pub(crate) fn refuse_guessing(&self, caller: &Caller, trail: &Trail) -> Result<(), CallError> {
        let Some(wait) = self.refused_calls.wait(&caller.principal, tokio::time::Instant::now()) else { return Ok(()) };
        let limit = self.refused_calls.limit();
        noted(limit, "over", trail);
        let counts = "your calls of unknown tools and with arguments that do not fit".to_owned();
        Err(CallError::Limited { limit: limit.name.clone(), counts, retry_after_ms: Some(millis(wait)) })
    }

    /// A call was refused for what it asked.
    pub(crate) fn was_refused(&self, caller: &Caller) {
        self.refused_calls.count(&caller.principal, tokio::time::Instant::now());
    }

    fn of_caller(&self, caller: &Caller, tool: &Tool) -> Vec<Charge> {
        self.of(tool).caller.iter().filter_map(|rule| rule.charge(caller, &self.subjects)).collect()
    }

    /// The limits that are for `tool`, worked out at its first call.
    fn of(&self, tool: &Tool) -> Arc<OfTool> {
        let known = tool.limits.load();
        if let Some(known) = known.as_ref().filter(|known| known.revision == self.revision) {
            return known.clone();
        }
        let made = Arc::new(OfTool::new(self.revision, &self.rules, tool, &self.subjects));
        tool.limits.store(Some(made.clone()));
        made
    }

    /// The limit of this name.
    fn named(&self, name: &str) -> Option<&Arc<Limit>> {
        let all = self.rules.iter().map(|rule| &rule.limit).chain(&self.addresses);
        all.chain([self.refused_calls.limit()]).find(|limit| &*limit.name == name)
    }
}

/// The limits that a call was charged, for its record.
pub(crate) fn charged(charges: &[Charge], trail: &Trail) {
    trail.note(|decisions| decisions.limits.extend(charges.iter().map(|charge| charge.limit.name.clone())));
}

/// Leaves in a call's record, and in the metrics, which limit refused it.
fn noted(limit: &Limit, reason: &'static str, trail: &Trail) {
    trail.note(|decisions| decisions.limited_by = Some(limit.name.clone()));
    telemetry::limited(&limit.name, reason);
}

/// Never so few that a caller comes back too early.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

//! One limit of the config at the calls that it is for.

use std::sync::Arc;

use adapters::Caller;
use cache::limits::{self, Charge, Limit, Rate, Subject, WhenGone};
use config::{Glob, Per, RedisGone};

use crate::catalog::Tool;

/// A limit of calls.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) limit: Arc<Limit>,
    pub(super) per: Per,
    role: Option<Box<str>>,
    pattern: Glob,
}

/// The limits that are for one tool, and what its calls cost them.
#[derive(Debug)]
pub(crate) struct OfTool {
    pub(super) revision: u64,
    pub(super) caller: Box<[OfCaller]>,
    pub(super) downstream: Arc<[Charge]>,
}

/// A limit on the caller's side that is for one tool.
#[derive(Debug)]
pub(super) struct OfCaller {
    rule: Rule,
    tool: Arc<str>,
    cost: u64,
}

/// Makes the names of what is counted.
#[derive(Debug, Clone)]
pub(super) struct Subjects(Arc<limits::Subjects>);

impl Rule {
    pub(super) fn new(config: &config::Limit) -> Self {
        Self {
            limit: limit(config),
            per: config.per,
            role: config.role.as_deref().map(Into::into),
            pattern: config.pattern.clone(),
        }
    }

    /// Whom it counts, as a subject that "reached the limit".
    pub(super) fn counts(&self, tool: &Tool) -> String {
        let name = &tool.name.shown;
        match self.per {
            Per::Caller => "you".to_owned(),
            Per::Role => format!("your tenant's callers with the role `{}`", self.role.as_deref().unwrap_or_default()),
            Per::Tenant => "your tenant".to_owned(),
            Per::CallerTool => format!("your calls of {name}"),
            Per::TenantTool => format!("your tenant's calls of {name}"),
            Per::Tool => format!("the calls of {name} by all callers"),
            Per::Downstream => format!("the calls to {} by all callers", tool.name.downstream),
            Per::Address => "your address".to_owned(),
        }
    }

    fn is_of_caller(&self) -> bool {
        match self.per {
            Per::Caller | Per::Role | Per::Tenant | Per::CallerTool | Per::TenantTool => true,
            Per::Tool | Per::Downstream | Per::Address => false,
        }
    }
}

impl OfTool {
    pub(super) fn new(revision: u64, rules: &[Rule], tool: &Tool, subjects: &Subjects) -> Self {
        let cost = tool.settings().and_then(|settings| settings.cost).unwrap_or(1);
        // A tool that costs nothing is let through also where nothing is left.
        let fit = rules.iter().filter(|rule| cost > 0 && rule.pattern.matches(&tool.name.shown));
        let (caller, downstream): (Vec<&Rule>, Vec<&Rule>) = fit.partition(|rule| rule.is_of_caller());
        let of_caller = |rule: &Rule| OfCaller { rule: rule.clone(), tool: tool.name.shown.clone(), cost };
        // What is done by Weir itself protects nothing behind it.
        let downstream = downstream.into_iter().filter(|_| !tool.downstream.is_own());
        let of_downstream =
            |rule: &Rule| Charge { limit: rule.limit.clone(), subject: subjects.of_downstream(rule, tool), cost };
        Self {
            revision,
            caller: caller.into_iter().map(of_caller).collect(),
            downstream: downstream.map(of_downstream).collect(),
        }
    }
}

impl OfCaller {
    /// What a call by `caller` is charged; nothing where the limit is not for it.
    pub(super) fn charge(&self, caller: &Caller, subjects: &Subjects) -> Option<Charge> {
        let has_role = |role: &str| caller.roles.iter().any(|held| **held == *role);
        if !self.rule.role.as_deref().is_none_or(has_role) {
            return None;
        }
        let subject = subjects.of_caller(&self.rule, caller, &self.tool);
        Some(Charge { limit: self.rule.limit.clone(), subject, cost: self.cost })
    }
}

impl Subjects {
    pub(super) fn new(subjects: limits::Subjects) -> Self {
        Self(Arc::new(subjects))
    }

    /// The name of a caller's tenant. Callers without one are of one more, which no other can be called.
    pub(super) fn tenant(&self, caller: &Caller) -> Subject {
        self.0.of("tenant", &[&tenant(caller)])
    }

    fn of_caller(&self, rule: &Rule, caller: &Caller, tool: &str) -> Subject {
        let (principal, tenant) = (&caller.principal, tenant(caller));
        let (issuer, subject): (&[u8], &[u8]) = (principal.issuer.as_bytes(), principal.subject.as_bytes());
        let of = |parts: &[&[u8]]| self.0.of(&rule.limit.name, parts);
        match rule.per {
            Per::Caller => of(&[b"caller", issuer, subject, &tenant]),
            Per::CallerTool => of(&[b"caller_tool", issuer, subject, &tenant, tool.as_bytes()]),
            Per::TenantTool => of(&[b"tenant_tool", &tenant, tool.as_bytes()]),
            Per::Role => of(&[b"role", &tenant, rule.role.as_deref().unwrap_or_default().as_bytes()]),
            Per::Tenant | Per::Tool | Per::Downstream | Per::Address => of(&[b"tenant", &tenant]),
        }
    }

    fn of_downstream(&self, rule: &Rule, tool: &Tool) -> Subject {
        let downstream = tool.downstream.name.as_str().as_bytes();
        match rule.per {
            Per::Tool => self.0.of(&rule.limit.name, &[b"tool", downstream, tool.name.local.as_bytes()]),
            _ => self.0.of(&rule.limit.name, &[b"downstream", downstream]),
        }
    }

    /// The name of an address, or of a network that one customer of a provider has.
    pub(super) fn of_network(&self, limit: &Limit, network: &[u8]) -> Subject {
        self.0.of(&limit.name, &[b"address", network])
    }
}

/// The tenant as bytes that no other caller's are.
fn tenant(caller: &Caller) -> Vec<u8> {
    match caller.principal.tenant.as_deref() {
        Some(tenant) => [b"+", tenant.as_bytes()].concat(),
        None => b"-".to_vec(),
    }
}

/// A limit as it is counted.
pub(super) fn limit(config: &config::Limit) -> Arc<Limit> {
    let when_gone = match config.redis_gone {
        RedisGone::LocalShare => WhenGone::LocalShare,
        RedisGone::Closed => WhenGone::Closed,
        RedisGone::Open => WhenGone::Open,
    };
    let rate = Rate { amount: config.rate.amount, per: config.rate.per };
    Arc::new(Limit { name: config.name.as_str().into(), rate, burst: config.burst(), when_gone })
}

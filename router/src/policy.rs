//! Who may call what: roles with patterns over namespaced names and conditions on them, default deny.
//!
//! Names are compared byte by byte: nothing is folded, normalised or decoded on the way, so a name that only looks like another one is an
//! unknown name.

mod check;
mod cost;
mod decision;
mod expression;
mod facts;
mod lints;
mod roles;
mod tree;
mod views;

use std::{collections::HashMap, sync::Arc};

use adapters::Caller;
use config::Glob;
use jiff::{Timestamp, tz::TimeZone};

pub use check::check;
use expression::Expression;

use facts::Facts;
pub(crate) use facts::{Asked, Unheld};
pub(crate) use roles::RoleSet;
pub use views::NamedView;

/// The roles and views of a config, ready to be asked.
#[derive(Debug)]
pub struct Policy {
    roles: Vec<Arc<Role>>,
    by_name: HashMap<Box<str>, usize>,
    views: HashMap<Box<str>, Arc<NamedView>>,
    time_zone: TimeZone,
}

#[derive(Debug)]
struct Role {
    name: Box<str>,
    allow: Vec<Glob>,
    deny: Vec<Glob>,
    conditions: Vec<Condition>,
    resources: Vec<Glob>,
    prompts: Vec<Glob>,
    masking: Option<Box<str>>,
}

#[derive(Debug)]
struct Condition {
    pattern: Glob,
    expression: Expression,
    /// Role and expression, for the audit record.
    shown: Arc<str>,
}

/// The rule that allows a call: role and pattern, for the audit record.
pub type Rule = Arc<str>;

/// That a caller may use a tool, and by which of its roles.
#[derive(Debug)]
pub struct Grant {
    /// The rule of the first role that allows it.
    pub rule: Rule,
    /// Each role that allows it by itself, in the order of the config; none for Weir's own tools.
    ways: Box<[Way]>,
}

/// One role that allows a tool.
#[derive(Debug, Clone)]
struct Way {
    role: Arc<Role>,
    rule: Rule,
    /// Those of its conditions that are for the tool, by place: those that can be judged before a call is made,
    before: Arc<[usize]>,
    /// and those on its arguments.
    on_arguments: Arc<[usize]>,
}

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) now: Timestamp,
}

/// What conditions make of a grant.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// What is left of it: the roles all of whose conditions hold.
    pub(crate) grant: Option<Arc<Grant>>,
    /// What was judged.
    pub(crate) verdicts: Vec<Verdict>,
}

/// One condition that was judged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Verdict {
    /// Its role and its text.
    pub(crate) condition: Arc<str>,
    /// `true`, or why it does not hold.
    pub(crate) verdict: &'static str,
}

impl Grant {
    /// The one place in which a grant is made; `None` when no role is left.
    fn new(ways: Box<[Way]>) -> Option<Arc<Self>> {
        let rule = ways.first()?.rule.clone();
        Some(Arc::new(Self { rule, ways }))
    }

    /// The grant of a tool of Weir's own, which no role has to allow: who has a use for it may use it.
    pub(crate) fn of_weir(rule: &str) -> Arc<Self> {
        Arc::new(Self { rule: rule.into(), ways: Box::default() })
    }

    /// The masking profile of each role that allows the tool; `None` for one that sees everything.
    pub fn maskings(&self) -> impl Iterator<Item = Option<&str>> {
        self.ways.iter().map(|way| way.role.masking.as_deref())
    }

    /// Whether an answer may come masked, as far as it can be known before there is a call.
    pub(crate) fn may_be_masked(&self) -> bool {
        let decides = self.is_conditional() || self.needs_arguments();
        let mut masked = self.ways.iter().map(|way| way.role.masking.is_some());
        if decides {
            masked.any(|is_masked| is_masked)
        } else {
            !self.ways.is_empty() && masked.all(|is_masked| is_masked)
        }
    }

    /// Whether who asks, or when, decides about it.
    pub(crate) fn is_conditional(&self) -> bool {
        self.ways.iter().any(|way| !way.before.is_empty())
    }

    /// Whether its conditions may come out otherwise for the same caller a moment later, or from another place.
    pub(crate) fn may_change(&self) -> bool {
        self.ways.iter().any(|way| way.before.iter().any(|&at| way.role.conditions[at].expression.may_change()))
    }

    /// Whether the arguments of a call decide about it.
    pub(crate) fn needs_arguments(&self) -> bool {
        self.ways.iter().any(|way| !way.on_arguments.is_empty())
    }
}

impl Policy {
    /// The policy of a config.
    ///
    /// # Errors
    /// Every condition that makes no sense, with its role and its place among its conditions.
    pub fn new(config: &config::Config) -> Result<Arc<Self>, Vec<(String, usize, String)>> {
        let mut mistakes = Vec::new();
        let roles = config.policy.roles.iter().map(|(name, role)| Arc::new(Role::new(name, role, &mut mistakes)));
        let roles: Vec<_> = roles.collect();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let by_name = roles.iter().enumerate().map(|(at, role)| (role.name.clone(), at)).collect();
        let views = config
            .views
            .iter()
            .enumerate()
            .map(|(at, (name, view))| (name.as_str().into(), Arc::new(NamedView::new(name, view, at))));
        // That the zone is known was checked with the config.
        let time_zone = TimeZone::get(&config.policy.time_zone).unwrap_or(TimeZone::UTC);
        Ok(Arc::new(Self { roles, by_name, views: views.collect(), time_zone }))
    }

    /// The roles of `caller` that the policy has: callers with the same ones have the same grants.
    pub(crate) fn roles_of(&self, caller: &Caller) -> RoleSet {
        caller.roles.iter().filter_map(|role| self.by_name.get(role).copied()).collect()
    }

    /// By what a caller with `roles` may use `tool_name`, if the conditions of the grant hold; `None` when no role allows it. Each role
    /// stands for itself: what one denies another may allow.
    pub(crate) fn grant(&self, roles: RoleSet, tool_name: &str) -> Option<Arc<Grant>> {
        let held = self.roles.iter().enumerate().filter(|(at, _)| roles.has(*at));
        Grant::new(held.filter_map(|(_, role)| role.way_to(tool_name)).collect())
    }

    /// What the conditions make of a grant: without `arguments` those that can be judged before there is a call, with them those on the
    /// arguments.
    pub(crate) fn judge(
        &self,
        grant: &Arc<Grant>,
        asker: Asker<'_>,
        tool: Asked<'_>,
        arguments: Option<&str>,
    ) -> Judged {
        let conditions_of = |way: &Way| if arguments.is_some() { way.on_arguments.clone() } else { way.before.clone() };
        if grant.ways.iter().all(|way| conditions_of(way).is_empty()) {
            return Judged { grant: Some(grant.clone()), verdicts: Vec::new() };
        }
        let facts = Facts { caller: asker.caller, now: asker.now, time_zone: &self.time_zone, tool, arguments };
        let mut verdicts = Vec::new();
        let mut all_hold = |way: &&Way| {
            conditions_of(way).iter().all(|&at| {
                let condition = &way.role.conditions[at];
                let held = condition.expression.holds(&facts);
                let verdict = held.err().map_or("true", Unheld::as_str);
                verdicts.push(Verdict { condition: condition.shown.clone(), verdict });
                held.is_ok()
            })
        };
        let left: Box<[Way]> = grant.ways.iter().filter(|way| all_hold(way)).cloned().collect();
        let grant = if left.len() == grant.ways.len() { Some(grant.clone()) } else { Grant::new(left) };
        Judged { grant, verdicts }
    }

    /// By what `asker` may use the tool now, as far as it can be known without the arguments of a call.
    pub(crate) fn grant_now(&self, asker: Asker<'_>, tool: Asked<'_>) -> Option<Arc<Grant>> {
        self.judge(&self.grant(self.roles_of(asker.caller), tool.name)?, asker, tool, None).grant
    }

    /// The rule by which a caller with `roles` may read the resource of this URI; conditions are for tools alone.
    fn resource_rule(&self, roles: RoleSet, uri: &str) -> Option<Rule> {
        self.rule_among(roles, uri, |role| &role.resources)
    }

    /// The rule by which a caller with `roles` may have the prompt of this name.
    fn prompt_rule(&self, roles: RoleSet, name: &str) -> Option<Rule> {
        self.rule_among(roles, name, |role| &role.prompts)
    }

    fn rule_among(&self, roles: RoleSet, name: &str, patterns: fn(&Role) -> &[Glob]) -> Option<Rule> {
        let held = self.roles.iter().enumerate().filter(|(at, _)| roles.has(*at));
        held.map(|(_, role)| role).find_map(|role| {
            let pattern = patterns(role).iter().find(|pattern| pattern.matches(name))?;
            Some(format!("{}: {pattern}", role.name).into())
        })
    }

    /// Why a caller who may not use a tool may not: `role`, `view` or `condition`.
    pub(crate) fn why_denied(&self, caller: &Caller, tool_name: &str, view: Option<&NamedView>) -> &'static str {
        match self.grant(self.roles_of(caller), tool_name) {
            None => "role",
            Some(_) if view.is_some_and(|view| !view.shows(tool_name)) => "view",
            Some(_) => "condition",
        }
    }

    /// Whether one of `roles` could allow some tool whose name starts with `prefix`, be there such a tool or not.
    pub(crate) fn reaches(&self, roles: RoleSet, prefix: &str) -> bool {
        let held = self.roles.iter().enumerate().filter(|(at, _)| roles.has(*at));
        held.flat_map(|(_, role)| &role.allow).any(|pattern| pattern.may_start_with(prefix))
    }

    /// The roles of `caller` that the policy knows, in the order of the config.
    #[must_use]
    pub fn known_roles(&self, caller: &Caller) -> Vec<Box<str>> {
        self.roles.iter().filter(|role| caller.roles.contains(&role.name)).map(|role| role.name.clone()).collect()
    }

    /// The view of this very name.
    #[must_use]
    pub fn view(&self, name: &str) -> Option<&Arc<NamedView>> {
        self.views.get(name)
    }
}

impl Role {
    fn new(name: &str, role: &config::policy::Role, mistakes: &mut Vec<(String, usize, String)>) -> Self {
        let mut conditions = Vec::with_capacity(role.conditions.len());
        for (at, condition) in role.conditions.iter().enumerate() {
            match Expression::read(&condition.when) {
                Ok(expression) => conditions.push(Condition {
                    pattern: condition.pattern.clone(),
                    shown: format!("{name}: {}", expression.text()).into(),
                    expression,
                }),
                Err(mistake) => mistakes.push((name.to_owned(), at, mistake)),
            }
        }
        Self {
            name: name.into(),
            allow: role.allow.clone(),
            deny: role.deny.clone(),
            conditions,
            resources: role.resources.clone(),
            prompts: role.prompts.clone(),
            masking: role.masking.as_deref().map(Into::into),
        }
    }

    fn way_to(self: &Arc<Self>, tool_name: &str) -> Option<Way> {
        if self.deny.iter().any(|pattern| pattern.matches(tool_name)) {
            return None;
        }
        let pattern = self.allow.iter().find(|pattern| pattern.matches(tool_name))?;
        let rule = format!("{}: {pattern}", self.name).into();
        let fitting = self.conditions.iter().enumerate().filter(|(_, condition)| condition.pattern.matches(tool_name));
        let (on_arguments, before): (Vec<_>, Vec<_>) =
            fitting.partition(|(_, condition)| condition.expression.needs_arguments());
        let places = |conditions: Vec<(usize, &Condition)>| conditions.into_iter().map(|(at, _)| at).collect();
        Some(Way { role: self.clone(), rule, before: places(before), on_arguments: places(on_arguments) })
    }
}

#[cfg(test)]
mod tests;

//! What the policy says of one call, with all its reasons: for `weir explain` and for the tests of a policy.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Asked, Asker, Grant, NamedView, Policy, Verdict};

/// What becomes of a call, and why.
#[derive(Debug)]
pub(crate) struct Decision {
    /// By what it is allowed.
    pub(crate) grant: Option<Arc<Grant>>,
    /// Why it is not: `role`, `view`, `condition`, `arguments`.
    pub(crate) denied_by: Option<&'static str>,
    /// The conditions that were judged.
    pub(crate) verdicts: Vec<Verdict>,
    /// What each of the caller's roles says of the name.
    pub(crate) looked_at: Vec<Looked>,
}

/// What one role says of a tool's name.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Looked {
    pub(crate) role: Box<str>,
    /// The pattern that allows it.
    pub(crate) allow: Option<Box<str>>,
    /// The pattern that denies it all the same.
    pub(crate) deny: Option<Box<str>>,
}

impl Policy {
    /// What becomes of a call of `tool` with these arguments, by the same steps as a call goes.
    pub(crate) fn decide(
        &self,
        asker: Asker<'_>,
        tool: Asked<'_>,
        view: Option<&NamedView>,
        arguments: &str,
    ) -> Decision {
        let roles = self.roles_of(asker.caller);
        let held = self.roles.iter().enumerate().filter(|(at, _)| roles.has(*at)).map(|(_, role)| role);
        let looked_at = held.map(|role| {
            let first = |patterns: &[config::Glob]| {
                patterns.iter().find(|pattern| pattern.matches(tool.name)).map(|pattern| pattern.as_str().into())
            };
            Looked { role: role.name.clone(), allow: first(&role.allow), deny: first(&role.deny) }
        });
        let mut decision =
            Decision { grant: None, denied_by: None, verdicts: Vec::new(), looked_at: looked_at.collect() };
        let shown = view.is_none_or(|view| view.shows(tool.name));
        let Some(grant) = self.grant(roles, tool.name).filter(|_| shown) else {
            decision.denied_by = Some(self.why_denied(asker.caller, tool.name, view));
            return decision;
        };
        let before = self.judge(&grant, asker, tool, None);
        decision.verdicts.extend(before.verdicts);
        let Some(grant) = before.grant else {
            decision.denied_by = Some("condition");
            return decision;
        };
        let with = self.judge(&grant, asker, tool, Some(arguments));
        decision.verdicts.extend(with.verdicts);
        decision.denied_by = with.grant.is_none().then_some("arguments");
        decision.grant = with.grant;
        decision
    }
}

impl Decision {
    /// The decision for operators.
    pub(crate) fn told(&self) -> Value {
        json!({
            "decision": if self.grant.is_some() { "allowed" } else { "denied" },
            "rule": self.grant.as_ref().map(|grant| &*grant.rule),
            "denied_by": self.denied_by,
            "conditions": self.verdicts,
            "looked_at": self.looked_at,
        })
    }

    /// Why it is allowed or denied, in a clause.
    pub(crate) fn because(&self) -> String {
        let unheld = || {
            let unheld = self.verdicts.iter().filter(|verdict| verdict.verdict != "true");
            unheld.map(|verdict| format!("`{}`: {}", verdict.condition, verdict.verdict)).collect::<Vec<_>>().join("; ")
        };
        match (&self.grant, self.denied_by) {
            (Some(grant), _) => format!("allowed by `{}`", grant.rule),
            (None, Some("view")) => "denied: the view does not show it".to_owned(),
            (None, Some("condition" | "arguments")) => format!("denied by a condition: {}", unheld()),
            (None, _) => format!("denied: {}", self.by_roles()),
        }
    }

    fn by_roles(&self) -> String {
        let one = |looked: &Looked| match (&looked.allow, &looked.deny) {
            (_, Some(deny)) => format!("role `{}` denies `{deny}`", looked.role),
            _ => format!("role `{}` has no pattern for it", looked.role),
        };
        match &self.looked_at[..] {
            [] => "the caller has no role that the policy knows".to_owned(),
            looked => looked.iter().map(one).collect::<Vec<_>>().join(", "),
        }
    }
}

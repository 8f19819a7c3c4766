//! Who may call what: roles with patterns over namespaced names, default deny.

use std::sync::Arc;

use adapters::Caller;
use config::Glob;

/// The roles of the config, ready to be asked.
#[derive(Debug)]
pub struct Policy {
    roles: Vec<Role>,
}

#[derive(Debug)]
struct Role {
    name: Box<str>,
    allow: Vec<Glob>,
    deny: Vec<Glob>,
}

/// The rule that allows a call: role and pattern, for the audit record.
pub type Rule = Arc<str>;

impl Policy {
    /// The policy of a config.
    #[must_use]
    pub fn new(config: &config::Policy) -> Self {
        let role = |(name, role): (&String, &config::policy::Role)| Role {
            name: name.as_str().into(),
            allow: role.allow.clone(),
            deny: role.deny.clone(),
        };
        Self { roles: config.roles.iter().map(role).collect() }
    }

    /// The rule by which a caller with `roles` may use `tool_name`; `None` when no role allows it. Each role stands for itself: what
    /// one denies another may allow.
    #[must_use]
    pub fn rule_for(&self, roles: &[Box<str>], tool_name: &str) -> Option<Rule> {
        let held = self.roles.iter().filter(|role| roles.contains(&role.name));
        held.filter(|role| !role.deny.iter().any(|pattern| pattern.matches(tool_name))).find_map(|role| {
            let pattern = role.allow.iter().find(|pattern| pattern.matches(tool_name))?;
            Some(format!("{}: {pattern}", role.name).into())
        })
    }

    /// Whether one of `roles` could allow some tool whose name starts with `prefix`, be there such a tool or not.
    #[must_use]
    pub fn reaches(&self, roles: &[Box<str>], prefix: &str) -> bool {
        let held = self.roles.iter().filter(|role| roles.contains(&role.name));
        held.flat_map(|role| &role.allow).any(|pattern| pattern.may_start_with(prefix))
    }

    /// The roles of `caller` that the policy knows, in the order of the config: callers with the same ones have the same rights.
    #[must_use]
    pub fn known_roles(&self, caller: &Caller) -> Vec<Box<str>> {
        self.roles.iter().filter(|role| caller.roles.contains(&role.name)).map(|role| role.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use config::{Glob, policy::Role};

    use super::Policy;

    #[test]
    fn nothing_is_allowed_that_no_role_allows() {
        let role = |allow: &[&str], deny: &[&str]| Role {
            allow: allow.iter().map(|&pattern| Glob::new(pattern)).collect(),
            deny: deny.iter().map(|&pattern| Glob::new(pattern)).collect(),
            ..Role::default()
        };
        let config = config::Policy {
            roles: [
                ("support".to_owned(), role(&["crm__get_*", "crm__list_*"], &["crm__get_secret"])),
                ("admin".to_owned(), role(&["*"], &[])),
                ("empty".to_owned(), role(&[], &[])),
            ]
            .into_iter()
            .collect(),
            ..config::Policy::default()
        };
        let policy = Policy::new(&config);
        let rule = |roles: &[&str], tool: &str| {
            let roles: Vec<Box<str>> = roles.iter().map(|&role| role.into()).collect();
            policy.rule_for(&roles, tool).map(|rule| rule.to_string())
        };
        assert_eq!(rule(&["support"], "crm__get_customer").as_deref(), Some("support: crm__get_*"));
        for (roles, tool) in [
            (&["support"][..], "crm__delete_customer"),
            (&["support"], "crm__get_secret"),
            (&["support"], "CRM__get_customer"),
            (&["support"], "crm__Get_customer"),
            (&["support"], "crm_get_customer"),
            (&["support"], "crm__gét_customer"),
            (&["empty"], "crm__get_customer"),
            (&["Admin"], "crm__get_customer"),
            (&[], "crm__get_customer"),
        ] {
            assert_eq!(rule(roles, tool), None, "{roles:?} {tool}");
        }
        assert_eq!(rule(&["support", "admin"], "crm__get_secret").as_deref(), Some("admin: *"));
    }
}

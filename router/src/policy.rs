//! Who may call what: roles with patterns over namespaced names, default deny.

use std::sync::Arc;

use adapters::Caller;
use config::Glob;

/// The roles of the config, ready to be asked.
#[derive(Debug)]
pub struct Policy {
    roles: Vec<Arc<Role>>,
}

#[derive(Debug)]
struct Role {
    name: Box<str>,
    allow: Vec<Glob>,
    deny: Vec<Glob>,
    masking: Option<Box<str>>,
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
}

impl Policy {
    /// The policy of a config.
    #[must_use]
    pub fn new(config: &config::Policy) -> Self {
        let role = |(name, role): (&String, &config::policy::Role)| {
            Arc::new(Role {
                name: name.as_str().into(),
                allow: role.allow.clone(),
                deny: role.deny.clone(),
                masking: role.masking.as_deref().map(Into::into),
            })
        };
        Self { roles: config.roles.iter().map(role).collect() }
    }

    /// By what a caller with `roles` may use `tool_name`; `None` when no role allows it. Each role stands for itself: what one denies
    /// another may allow.
    #[must_use]
    pub fn grant(&self, roles: &[Box<str>], tool_name: &str) -> Option<Arc<Grant>> {
        let held = self.roles.iter().filter(|role| roles.contains(&role.name));
        Grant::new(held.filter_map(|role| role.way_to(tool_name)).collect())
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

impl Role {
    fn way_to(self: &Arc<Self>, tool_name: &str) -> Option<Way> {
        if self.deny.iter().any(|pattern| pattern.matches(tool_name)) {
            return None;
        }
        let pattern = self.allow.iter().find(|pattern| pattern.matches(tool_name))?;
        Some(Way { role: self.clone(), rule: format!("{}: {pattern}", self.name).into() })
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
            policy.grant(&roles, tool).map(|grant| grant.rule.to_string())
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

//! What is not wrong with a policy, and deserves a look: grants that nobody can use, writes that nothing limits, roles that allow more than
//! they seem to.

use std::collections::BTreeSet;

use config::{
    Config, Downstream, DownstreamName, Glob, KeyRecord, Per,
    downstream::{Expose, Label},
    policy::Role,
};

use crate::SEPARATOR;

/// One thing that deserves a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lint {
    /// The keys on the way to the setting, and the place in the list where it is one.
    pub(super) at: Vec<String>,
    pub(super) index: Option<usize>,
    pub(super) what: String,
    pub(super) help: String,
}

/// A tool that a role may call, as far as the config knows it.
struct Reached<'c> {
    downstream: &'c Downstream,
    /// Its local name, or a pattern for those that are not known yet.
    local: String,
    shown: String,
}

pub(super) fn lints(config: &Config, keys: Option<&[KeyRecord]>) -> Vec<Lint> {
    let held = keys.map(|keys| roles_that_somebody_has(config, keys));
    let mut lints = Vec::new();
    for (name, role) in &config.policy.roles {
        lints.extend(shadowed(name, role));
        lints.extend(everything(name, role, config));
        lints.extend(all_three(name, role, config));
        if held.as_ref().is_some_and(|held| !held.contains(name.as_str())) {
            lints.push(Lint {
                at: role_path(name, &[]),
                index: None,
                what: "nobody can have this role: no API key, no token, no certificate and no signature gives it"
                    .to_owned(),
                help: "give it to somebody under `identity` or with `weir keys create --role`, or take it out"
                    .to_owned(),
            });
        }
    }
    lints.extend(unlimited_writes(config));
    lints
}

fn role_path(name: &str, below: &[&str]) -> Vec<String> {
    ["policy", "roles", name].iter().chain(below).map(|key| (*key).to_owned()).collect()
}

fn roles_that_somebody_has<'c>(config: &'c Config, keys: &'c [KeyRecord]) -> BTreeSet<&'c str> {
    let identity = &config.identity;
    let tokens = identity.jwt.iter().flat_map(|issuer| issuer.roles.values().chain(issuer.scopes.values()).flatten());
    let certificates = identity.mtls.iter().flat_map(|mtls| &mtls.callers).flat_map(|rule| &rule.roles);
    let signatures = identity.signatures.iter().flat_map(|signed| signed.keys.values()).flat_map(|key| &key.roles);
    let keys = keys.iter().flat_map(|key| &key.roles);
    let all = identity.local.roles.iter().chain(tokens).chain(certificates).chain(signatures).chain(keys);
    all.map(String::as_str).collect()
}

/// A pattern that another one covers as a whole: `crm__*` covers `crm__get_*`.
fn covers(wide: &Glob, narrow: &str) -> bool {
    wide.matches(narrow)
}

fn shadowed(name: &str, role: &Role) -> Vec<Lint> {
    let deny_of = |pattern: &Glob| role.deny.iter().find(|deny| covers(deny, pattern.as_str()));
    let shadowed = role.allow.iter().enumerate().filter_map(|(at, pattern)| Some((at, pattern, deny_of(pattern)?)));
    let lint = |(at, pattern, deny): (usize, &Glob, &Glob)| Lint {
        at: role_path(name, &["allow"]),
        index: Some(at),
        what: format!("`{pattern}` allows nothing: `deny` has `{deny}`, which takes all of it back"),
        help: "take one of the two out".to_owned(),
    };
    shadowed.map(lint).collect()
}

fn everything(name: &str, role: &Role, config: &Config) -> Option<Lint> {
    let at = role.allow.iter().position(|pattern| pattern.as_str() == "*")?;
    let writes = reached(role, config).iter().any(|tool| tool.downstream.effect_of(&tool.local).writes());
    (writes && !name.contains("admin")).then(|| Lint {
        at: role_path(name, &["allow"]),
        index: Some(at),
        what: "`*` allows every tool, also those that write and those that are still to come".to_owned(),
        help: "name what the role is for, such as `crm__get_*`; a role that is meant to do everything has `admin` in its name".to_owned(),
    })
}

fn all_three(name: &str, role: &Role, config: &Config) -> Option<Lint> {
    let reached = reached(role, config);
    let with = |label: Label| {
        let tool = reached.iter().find(|tool| tool.downstream.labels_of(&tool.local).contains(&label))?;
        Some(format!("`{}` is {}", tool.shown, label.as_str()))
    };
    let (private, untrusted, outward) = (with(Label::Private)?, with(Label::Untrusted)?, with(Label::Outward)?);
    Some(Lint {
        at: role_path(name, &[]),
        index: None,
        what: format!(
            "combines private data, untrusted content and a way out ({private}, {untrusted}, {outward}): \
             who writes what the model reads could have it send away what it may see"
        ),
        help: "split the role, or state `labels` where a tool is none of these".to_owned(),
    })
}

/// One warning for each downstream.
fn unlimited_writes(config: &Config) -> Vec<Lint> {
    let mut lints = Vec::new();
    for (name, downstream) in &config.downstreams {
        let is_limited =
            |shown: &str| config.limits.iter().any(|limit| limit.per != Per::Address && covers(&limit.pattern, shown));
        let mut writes = BTreeSet::new();
        let mut roles = BTreeSet::new();
        for (role_name, role) in &config.policy.roles {
            for tool in reached_of(role, name, downstream, config) {
                if downstream.effect_of(&tool.local).writes() && !is_limited(&tool.shown) {
                    writes.insert(tool.shown);
                    roles.insert(role_name.as_str());
                }
            }
        }
        if writes.is_empty() {
            continue;
        }
        let list = |names: Vec<String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        lints.push(Lint {
            at: vec!["downstreams".to_owned(), name.to_string()],
            index: None,
            what: format!(
                "nothing limits how often {} may be called, which write, and which {} may call",
                list(writes.into_iter().collect()),
                list(roles.into_iter().map(str::to_owned).collect())
            ),
            help: format!("add one under `limits`: {{ name: {name}-writes, match: \"{name}{SEPARATOR}*\", per: caller_tool, rate: 60/h }}"),
        });
    }
    lints
}

fn reached<'c>(role: &Role, config: &'c Config) -> Vec<Reached<'c>> {
    config.downstreams.iter().flat_map(|(name, downstream)| reached_of(role, name, downstream, config)).collect()
}

/// The tools of a downstream that a role may call: those that the config knows, and a pattern for each grant of those that it does not.
fn reached_of<'c>(role: &Role, name: &DownstreamName, downstream: &'c Downstream, config: &Config) -> Vec<Reached<'c>> {
    let prefix = if config.names.prefix { format!("{name}{SEPARATOR}") } else { String::new() };
    let allows = |shown: &str| {
        role.allow.iter().any(|pattern| pattern.matches(shown)) && !role.deny.iter().any(|deny| deny.matches(shown))
    };
    let ticketing = downstream.ticketing.iter().flat_map(|_| config::downstream::Ticketing::TOOLS);
    let ticketing = ticketing
        .map(|(local, _)| local.to_owned())
        .filter(|local| downstream.expose == Expose::All || downstream.tools.contains_key(local));
    let known: BTreeSet<String> = downstream.tools.keys().cloned().chain(ticketing).collect();
    let known = known.into_iter().map(|local| Reached { downstream, shown: format!("{prefix}{local}"), local });
    let mut reached: Vec<Reached<'c>> = known.filter(|tool| allows(&tool.shown)).collect();
    if downstream.mcp.is_some() && downstream.expose == Expose::All {
        let fitting = role.allow.iter().filter(|pattern| pattern.may_start_with(&prefix));
        for pattern in fitting {
            // What is left of a pattern below the prefix: `get_*` of `enrich__get_*`, and everything of a pattern with a star before it.
            let local = pattern.as_str().strip_prefix(&prefix).unwrap_or("*").to_owned();
            let shown = format!("{prefix}{local}");
            if !role.deny.iter().any(|deny| covers(deny, &shown)) {
                reached.push(Reached { downstream, local, shown });
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests;

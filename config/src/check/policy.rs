//! `policy`.

use crate::{Config, Downstream, Glob, downstream::Expose, name::RESERVED, nearest::nearest};

use super::Scope;

/// Refuses a role that the policy does not have.
pub(crate) fn known_role(role: &str, known: &[&str], scope: &Scope<'_>) {
    if known.contains(&role) {
        return;
    }
    let help = match nearest(role, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "define it under `policy.roles`, or use one of those there".to_owned(),
    };
    scope.refuse(format!("names the role `{role}`, which `policy.roles` does not have"), help);
}

pub(super) fn policy(config: &Config, root: &Scope<'_>) {
    let roles = root.key("policy").key("roles");
    if roles.keys().is_empty() && root.key("downstreams").given() {
        root.warn(
            "`policy.roles` is empty: nobody may call anything",
            "a role with `allow: [\"*\"]` may call everything",
        );
    }
    // A pattern may mean a downstream that could not be read because of another mistake.
    if root.key("downstreams").keys().len() != config.downstreams.len() {
        return;
    }
    for (name, role) in &config.policy.roles {
        let scope = roles.key(name);
        for (list, patterns) in [("allow", &role.allow), ("deny", &role.deny)] {
            for (scope, pattern) in scope.key(list).items(patterns) {
                pattern_means_something(pattern, config, &scope);
            }
        }
    }
}

/// Warns of a pattern over shown names that fits no tool.
pub(super) fn pattern_means_something(pattern: &Glob, config: &Config, scope: &Scope<'_>) {
    let own = format!("{RESERVED}__");
    let may_match = pattern.may_start_with(&own)
        || config.downstreams.iter().any(|(name, downstream)| {
            let prefix = if config.names.prefix { format!("{name}__") } else { String::new() };
            may_match_tool_of(pattern, &prefix, downstream)
        });
    if may_match || config.downstreams.is_empty() {
        return;
    }
    let downstream = config.downstreams.keys().next().map_or("crm", |name| name.as_str());
    let help = if config.names.prefix {
        format!("names are `<downstream>__<tool>`, so `{downstream}__*` means all tools of `{downstream}`")
    } else {
        "with `names.prefix: false` names are those of the tools alone".to_owned()
    };
    scope.warn(format!("matches no tool of any downstream: `{pattern}`"), help);
}

/// Whether the pattern can match a tool of the downstream. Which tools an MCP server brings is not known here.
fn may_match_tool_of(pattern: &Glob, prefix: &str, downstream: &Downstream) -> bool {
    let tools_are_known = downstream.postgres.is_some() || downstream.expose == Expose::Listed;
    // Long or odd names are shown under an alias, which is not known here either.
    if tools_are_known && downstream.tools.keys().all(|tool| is_plain(tool)) {
        return downstream.tools.keys().any(|tool| pattern.matches(&format!("{prefix}{tool}")));
    }
    pattern.may_start_with(prefix)
}

/// Whether the local name is part of the shown one as it stands.
pub(super) fn is_plain(tool: &str) -> bool {
    tool.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') && tool.len() <= 20
}

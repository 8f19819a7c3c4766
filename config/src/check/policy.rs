//! `policy`.

use jiff::{Timestamp, tz::TimeZone};

use crate::{Config, Downstream, Glob, downstream::Expose, name::RESERVED, nearest::nearest};

use super::Scope;

/// How many roles a policy has at most.
const ROLES_MAX: usize = 512;
/// The longest name of a view.
const VIEW_LENGTH_MAX: usize = 64;

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
    if roles.keys().len() > ROLES_MAX {
        roles.refuse(
            format!("has more than {ROLES_MAX} roles"),
            "give callers several smaller roles instead of one of their own",
        );
    }
    let time_zone = root.key("policy").key("time_zone");
    if TimeZone::get(&config.policy.time_zone).is_err() {
        time_zone.refuse(
            format!("is no time zone: `{}`", config.policy.time_zone),
            "write it as the IANA database names it: `Europe/Berlin`, `America/New_York`, `UTC`",
        );
    }
    tests(config, root);
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

fn tests(config: &Config, root: &Scope<'_>) {
    let (roles, views) = (root.key("policy").key("roles").keys(), root.key("views").keys());
    for (scope, test) in root.key("policy").key("tests").items(&config.policy.tests) {
        for (scope, role) in scope.key("roles").items(&test.roles) {
            known_role(role, &roles, &scope);
        }
        if let Some(view) = test.view.as_deref().filter(|view| !views.contains(view)) {
            scope.key("view").refuse(format!("names the view `{view}`, which `views` does not have"), "");
        }
        if let Some(time) = test.time.as_deref().filter(|time| time.parse::<Timestamp>().is_err()) {
            scope.key("time").refuse(format!("is no moment: `{time}`"), "write it as `2027-01-31T12:00:00Z`");
        }
        if test.is_empty() {
            scope.warn("tests nothing", "name tools under `allowed` or `denied`");
        }
    }
}

/// `views`.
pub(super) fn views(config: &Config, root: &Scope<'_>) {
    let all = root.key("views");
    for (name, view) in &config.views {
        let scope = all.key(name);
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
            && name.len() <= VIEW_LENGTH_MAX;
        if !is_name {
            scope.refuse(
                "cannot be part of an address",
                format!("use a lower-case letter followed by lower-case letters, digits or `-`, at most {VIEW_LENGTH_MAX} characters"),
            );
        }
        let tools = scope.key("tools");
        if view.tools.is_empty() && !tools.given() {
            scope.warn("shows no tool", "name some under `tools`: `tools: [\"crm__get_*\"]`");
        }
        if root.key("downstreams").keys().len() == config.downstreams.len() {
            for (scope, pattern) in tools.items(&view.tools) {
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

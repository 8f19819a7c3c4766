//! `limits`, and the `cost` of tools.

use std::time::Duration;

use crate::{
    Config, Limit, Per, Rate,
    limits::{BURST_MAX, FAILED_LOGINS, NAME_LENGTH_MAX, RATE_MAX, REFUSED_CALLS},
};

use super::{
    Scope, known_role,
    policy::{is_plain, pattern_means_something},
};

/// Nobody waits longer for a limit to be whole again.
const FULL_AGAIN_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

pub(super) fn limits(config: &Config, root: &Scope<'_>) {
    let all = root.key("limits").items(&config.limits);
    // A pattern may mean a downstream that could not be read because of another mistake.
    let all_downstreams_are_read = root.key("downstreams").keys().len() == config.downstreams.len();
    for (index, (scope, limit)) in all.iter().enumerate() {
        name(limit, &config.limits[..index], scope);
        quantities(limit, scope);
        role(limit, &root.key("policy").key("roles").keys(), scope);
        if limit.per == Per::Address {
            pattern_of_addresses(scope);
        } else if all_downstreams_are_read && scope.key("match").given() {
            pattern_means_something(&limit.pattern, config, &scope.key("match"));
        }
        never_bites(limit, &config.limits, scope);
    }
    costs(config, &all, root);
}

fn name(limit: &Limit, before: &[Limit], scope: &Scope<'_>) {
    let (name, scope) = (limit.name.as_str(), scope.key("name"));
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let goes_on_well = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    if !starts_well || !goes_on_well || name.len() > NAME_LENGTH_MAX {
        scope.refuse(
            format!("is `{name}`, which cannot name a limit"),
            format!(
                "use a lower-case letter followed by lower-case letters, digits or `-`, at most {NAME_LENGTH_MAX} characters, \
                 for example `exports`"
            ),
        );
    } else if before.iter().any(|other| other.name == name) {
        scope.refuse(
            format!("is `{name}`, which another limit has"),
            "callers are told a limit by its name: give each its own",
        );
    } else if name == REFUSED_CALLS || (name == FAILED_LOGINS && limit.per != Per::Address) {
        scope.refuse(format!("is `{name}`, which names a limit of Weir's own"), "choose another name");
    }
}

fn quantities(limit: &Limit, scope: &Scope<'_>) {
    let Rate { amount, per } = limit.rate;
    if amount == 0 {
        let help = "to forbid tools, leave them out of the roles' `allow`, or name them under `deny`";
        scope.key("rate").refuse(format!("is `{}`, so that nothing would ever be let through", limit.rate), help);
        return;
    }
    if amount > RATE_MAX * per.as_secs() {
        scope.key("rate").refuse(
            format!("is `{}`, more than can be counted: at most `{RATE_MAX}/s`", limit.rate),
            "remove the limit: no system is protected by one so high",
        );
        return;
    }
    match limit.burst {
        Some(0) => scope.key("burst").refuse(
            "is 0, so that nothing would ever be let through",
            "it is how many calls may come at once after a rest: 1 spreads them evenly",
        ),
        Some(burst) if burst > BURST_MAX => {
            scope.key("burst").refuse(format!("is {burst}; it must be at most {BURST_MAX}"), "");
        }
        Some(burst) if full_again(burst, limit.rate) > FULL_AGAIN_MAX => scope.key("burst").refuse(
            format!("is {burst}, which at `{}` takes more than a year to come back", limit.rate),
            "lower it, or raise `rate`",
        ),
        Some(_) | None => {}
    }
}

/// How long a limit takes from nothing left to all of it.
fn full_again(burst: u64, rate: Rate) -> Duration {
    let seconds = u128::from(burst) * u128::from(rate.per.as_secs()) / u128::from(rate.amount);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX))
}

fn role(limit: &Limit, known: &[&str], scope: &Scope<'_>) {
    let place = scope.key("role");
    match (&limit.role, limit.per == Per::Role) {
        (Some(role), true) => known_role(role, known, &place),
        (None, true) if !place.given() => {
            scope.refuse("is `per: role` and names no `role`", "say which: callers with other roles are not counted");
        }
        (_, false) if place.given() => {
            place.refuse("is for `per: role` alone", "say `per: role`, or remove it: all callers are counted");
        }
        _ => {}
    }
}

fn pattern_of_addresses(scope: &Scope<'_>) {
    let place = scope.key("match");
    if place.given() {
        place.refuse(
            "is for limits of calls; `per: address` counts wrong credentials, which name no tool yet",
            "remove it",
        );
    }
}

/// Warns of a limit that another one always goes before.
fn never_bites(limit: &Limit, all: &[Limit], scope: &Scope<'_>) {
    let is_tighter = |other: &&Limit| {
        let counts_all_of_it = counts_all_of(other, limit);
        let same = counts_all_of_it && counts_all_of(limit, other) && goes_before(limit, other);
        // Of two that say the same, the second one is told of.
        let stands_before = std::ptr::from_ref(*other) < std::ptr::from_ref(limit);
        !std::ptr::eq(*other, limit) && counts_all_of_it && goes_before(other, limit) && (!same || stands_before)
    };
    if let Some(other) = all.iter().find(is_tighter) {
        scope.warn(
            format!("never refuses anything: `{}` counts the same calls and lets fewer through", other.name),
            "lower it, or remove it",
        );
    }
}

/// Whether a count of `wide` holds every call that is in a count of `narrow`.
fn counts_all_of(wide: &Limit, narrow: &Limit) -> bool {
    let per = match (narrow.per, wide.per) {
        (Per::Role, Per::Role) => narrow.role == wide.role,
        (narrow, wide) if narrow == wide => true,
        (Per::Caller | Per::Role | Per::CallerTool | Per::TenantTool, Per::Tenant)
        | (Per::CallerTool, Per::Caller | Per::TenantTool)
        | (Per::Tool, Per::Downstream) => true,
        _ => false,
    };
    per && wide.redis_gone == narrow.redis_gone && (wide.pattern.as_str() == "*" || wide.pattern == narrow.pattern)
}

/// Whether `tight` never lets through more than `loose`.
fn goes_before(tight: &Limit, loose: &Limit) -> bool {
    let in_one_time = |one: &Limit, other: &Limit| u128::from(one.rate.amount) * u128::from(other.rate.per.as_secs());
    in_one_time(tight, loose) <= in_one_time(loose, tight) && tight.burst() <= loose.burst()
}

/// Refuses a tool that costs more than a limit ever has.
fn costs(config: &Config, all: &[(Scope<'_>, &Limit)], root: &Scope<'_>) {
    for (downstream_name, downstream) in &config.downstreams {
        for (tool_name, tool) in &downstream.tools {
            // A long or odd name is shown under an alias, which is not known here.
            let Some(cost) = tool.cost.filter(|_| is_plain(tool_name)) else { continue };
            let shown = if config.names.prefix { format!("{downstream_name}__{tool_name}") } else { tool_name.clone() };
            let fits = |limit: &Limit| limit.per != Per::Address && limit.pattern.matches(&shown);
            let too_small = all.iter().map(|(_, limit)| *limit).find(|limit| fits(limit) && limit.burst() < cost);
            if let Some(limit) = too_small {
                root.key("downstreams").key(downstream_name.as_str()).key("tools").key(tool_name).key("cost").refuse(
                    format!(
                        "is {cost}, more than the limit `{}` ever has at once, which is {}: no call would be let through",
                        limit.name,
                        limit.burst()
                    ),
                    "lower it, or raise the limit's `burst`",
                );
            }
        }
    }
}

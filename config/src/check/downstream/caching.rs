//! `cache`, `invalidates` and `settles_within` of a tool: what would give someone a wrong answer, or nothing at all.

mod tags;

use crate::{
    Deadlines, Downstream, Effect, Period,
    downstream::{Partition, Sharing, ToolCache},
};

use super::{Scope, defined::states_effect};

/// An answer that nobody has asked for in so long is not worth its place, and no tag is remembered for longer.
const AGE_MAX: Period = Period::s(7 * 24 * 60 * 60);

pub(super) fn tools(downstream: &Downstream, deadlines: &Deadlines, scope: &Scope<'_>) {
    for (name, tool) in &downstream.tools {
        let scope = scope.key("tools").key(name);
        match downstream.effect_of(name) {
            Effect::Read => reads(&scope),
            Effect::IdempotentWrite | Effect::Write => writes(downstream, name, &scope),
        }
        if let Some(cache) = &tool.cache {
            let scope = scope.key("cache");
            let deadline = tool.deadline.or(downstream.deadline).unwrap_or(deadlines.default).min(deadlines.max);
            ages(cache, &scope);
            waiting(cache, deadline, &scope);
            sharing(downstream, cache, &scope);
        }
    }
    tags::tags(downstream, scope);
}

fn reads(scope: &Scope<'_>) {
    for key in ["invalidates", "settles_within"] {
        let scope = scope.key(key);
        if scope.given() {
            scope.refuse(
                "is for tools that write, and the effect of this one is `read`",
                "remove it, or state `effect: write`: a read that changes something must not be called a read",
            );
        }
    }
}

fn writes(downstream: &Downstream, name: &str, scope: &Scope<'_>) {
    let cache = scope.key("cache");
    if cache.given() {
        let known = downstream.ticketing.is_some() && crate::downstream::Ticketing::effect_of(name).is_some();
        if known || states_effect(downstream, name, scope) {
            cache.refuse(
                format!(
                    "is for tools that read, and the effect of this one is `{}`",
                    downstream.effect_of(name).as_str()
                ),
                "remove it: an answer that was kept would be a write that did not happen",
            );
        } else {
            cache.refuse(
                "is for tools that read; this one states no `effect` and so counts as a write",
                "state `effect: read` if it changes nothing, or remove `cache`",
            );
        }
    }
    if scope.key("settles_within").given() && !scope.key("invalidates").given() {
        scope.key("settles_within").warn(
            "means nothing without `invalidates`",
            "state what the write changes: `invalidates: [\"customer:{customer_id}\"]`",
        );
    }
}

/// Figures are ages: the first is the shortest.
fn ages(cache: &ToolCache, scope: &Scope<'_>) {
    let fresh_for = cache.fresh_for;
    let all = [
        ("fresh_for", Some(fresh_for)),
        ("stale_while_refreshing", cache.stale_while_refreshing),
        ("stale_on_error", cache.stale_on_error),
        ("not_found_for", cache.not_found_for),
    ];
    for (key, age) in all {
        if let Some(age) = age.filter(|age| *age > AGE_MAX) {
            scope.key(key).refuse(format!("must be at most `{AGE_MAX}`, not `{age}`"), "");
        }
    }
    for (key, age) in
        [("stale_while_refreshing", cache.stale_while_refreshing), ("stale_on_error", cache.stale_on_error)]
    {
        if let Some(age) = age.filter(|age| *age <= fresh_for) {
            scope.key(key).refuse(
                format!("is `{age}`, no longer than `fresh_for`, which is `{fresh_for}`, so that it never counts"),
                "each figure is an age, counted from the fetch, not a time on top of `fresh_for`",
            );
        }
    }
    if all.iter().all(|(_, age)| age.is_none_or(|age| age.0.is_zero())) && scope.key("fresh_for").given() {
        scope.key("fresh_for").refuse("is nothing, so that no answer is ever kept", "state an age, or remove `cache`");
    }
}

fn waiting(cache: &ToolCache, deadline: Period, scope: &Scope<'_>) {
    let Some(waiting) = cache.stale_after_waiting else { return };
    let place = scope.key("stale_after_waiting");
    if !scope.key("stale_on_error").given() {
        place.refuse(
            "needs `stale_on_error`, which says how old an answer may be that is given in place of a slow one",
            "state both, such as `stale_after_waiting: 2s` and `stale_on_error: 10m`",
        );
    }
    if waiting.0.is_zero() {
        place.refuse("must be longer than nothing", "for an older answer at once, state `stale_while_refreshing`");
    } else if waiting >= deadline {
        place.warn(
            format!(
                "is `{waiting}`, no shorter than the tool's deadline, which is `{deadline}`, so that it never counts"
            ),
            "shorten it: an older answer comes in place of a failure in any case",
        );
    }
}

/// Who may have one and the same answer, by what is known of the downstream without asking it.
fn sharing(downstream: &Downstream, cache: &ToolCache, scope: &Scope<'_>) {
    let Some(mcp) = &downstream.mcp else { return };
    match (mcp.sharing, cache.partition) {
        (Sharing::PerCall, _) => scope.refuse(
            "is for a server with `sharing: per_call`, of which it is not known what makes its results, so none may be given twice",
            "use `sharing: per_caller` or `shared`, if what it answers does not depend on the connection, or remove `cache`",
        ),
        (Sharing::PerCaller, Partition::Shared) => scope.key("partition").refuse(
            "is `shared`, but with `sharing: per_caller` the server knows its callers, and one would get what was meant for another",
            "use `partition: private`, or `sharing: shared` for the server if all callers get the same",
        ),
        (Sharing::PerCaller, Partition::Private | Partition::Token) | (Sharing::Shared, _) => {}
    }
}

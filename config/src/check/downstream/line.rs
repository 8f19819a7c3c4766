//! `calls_max`, `calls_max_shared` and `line` of a downstream.

use crate::Downstream;

use super::Scope;

/// A longer line is not worth its wait, and each position in it is worked out by going through it.
const WAITING_MAX: usize = 10_000;

pub(super) fn line(downstream: &Downstream, scope: &Scope<'_>) {
    if let Some(calls_max) = downstream.calls_max {
        scope.key("calls_max").at_least_one(calls_max);
    }
    let shared = scope.key("calls_max_shared");
    if let Some(calls_max) = downstream.calls_max_shared {
        shared.at_least_one(calls_max);
    }
    if shared.given() && scope.key("mainframe").given() {
        shared.refuse(
            "is what `mainframe.concurrency` says for a mainframe",
            "remove it, and write the number of calls at `mainframe.concurrency`",
        );
    }
    if downstream.line.max > WAITING_MAX {
        scope.key("line").key("max").refuse(
            format!("must be at most {WAITING_MAX}, not {}", downstream.line.max),
            "who would wait longer than its call may take is refused at once in any case",
        );
    }
    let without_effect = |(_, most): &(_, usize)| downstream.calls_max.is_some_and(|stated| stated > *most);
    if let Some((setting, most)) = bound(downstream).filter(without_effect) {
        scope.key("calls_max").warn(
            format!("has no effect: `{setting}` is {most}, and more calls than that do not run at once"),
            format!("raise `{setting}` too, or remove this"),
        );
    }
}

/// What else bounds the calls that run at once.
fn bound(downstream: &Downstream) -> Option<(&'static str, usize)> {
    let shared = downstream.calls_max_shared.map(|most| ("calls_max_shared", most));
    let connections = [
        downstream.postgres.as_ref().map(|postgres| ("postgres.pool_max", postgres.pool_max)),
        downstream.ticketing.as_ref().map(|ticketing| ("ticketing.connections_max", ticketing.connections_max)),
        downstream.mainframe.as_ref().map(|mainframe| ("mainframe.concurrency", mainframe.concurrency)),
    ];
    connections.into_iter().flatten().chain(shared).min_by_key(|(_, most)| *most)
}

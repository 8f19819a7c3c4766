//! `operations`.

use crate::{Config, Period};

use super::Scope;

/// A caller repeats a call within a minute or so.
const KEPT_FOR_MIN: Period = Period::s(60);
/// What is kept for longer fills Redis without any use.
const KEPT_FOR_MAX: Period = Period::s(30 * 24 * 60 * 60);

pub(super) fn operations(config: &Config, scope: &Scope<'_>) {
    let operations = config.operations;
    let scope = scope.key("operations");
    scope.key("kept_for").time_within(operations.kept_for, KEPT_FOR_MIN, KEPT_FOR_MAX);
    if let Some(refused) = operations.refused_after_loss.filter(|refused| *refused > operations.kept_for) {
        scope.key("refused_after_loss").refuse(
            format!("is `{refused}`, longer than `operations.kept_for`, which is `{}`", operations.kept_for),
            "a key that is older than that is a new one anyway",
        );
    }
}

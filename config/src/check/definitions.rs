//! `definitions`.

use crate::Config;

use super::Scope;

pub(super) fn definitions(config: &Config, root: &Scope<'_>) {
    let scope = root.key("definitions");
    let has_lock = scope.key("lock").given();
    if scope.key("new").given() && !has_lock {
        scope.key("new").warn(
            "counts for nothing without `definitions.lock`: every tool is shown",
            "write a lock file with `weir lock`, and name it: `definitions: { lock: weir.lock }`",
        );
    }
    if has_lock && config.definitions.lock.as_ref().is_some_and(|lock| lock.as_os_str().is_empty()) {
        scope.key("lock").refuse("names no file", "such as `definitions: { lock: weir.lock }`");
    }
}

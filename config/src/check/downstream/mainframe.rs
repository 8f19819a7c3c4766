//! A `mainframe` downstream: its tools are requests.

use crate::{ByteSize, Deadlines, Downstream, downstream::Mainframe};

use super::{CONNECT_TIMEOUT, Scope, attempt_timeout, belongs_to_others, offers_something, url};

pub(super) fn connection(mainframe: &Mainframe, deadlines: &Deadlines, scope: &Scope<'_>) {
    url::base(&mainframe.base_url, url::credential(mainframe.credential.as_ref(), scope), &scope.key("base_url"));
    scope.key("concurrency").at_least_one(mainframe.concurrency);
    scope.key("connect_timeout").time_within(mainframe.connect_timeout, CONNECT_TIMEOUT.0, CONNECT_TIMEOUT.1);
    attempt_timeout(mainframe.attempt_timeout, deadlines, &scope.key("attempt_timeout"));
    scope.key("idle_timeout").some_time(mainframe.idle_timeout);
    if mainframe.answer_bytes_max == ByteSize(0) {
        scope.key("answer_bytes_max").refuse("must be larger than nothing", "the default is `1MiB`");
    }
}

pub(super) fn tools(downstream: &Downstream, scope: &Scope<'_>) {
    offers_something(downstream, scope);
    for name in downstream.tools.keys() {
        let scope = scope.key("tools").key(name);
        belongs_to_others(&["sql"], "a mainframe has requests: write `request`", &scope);
    }
}

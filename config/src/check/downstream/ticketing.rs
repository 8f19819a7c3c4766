//! A `ticketing` downstream.

use crate::{ByteSize, Deadlines, Downstream, downstream::Ticketing};

use super::{CONNECT_TIMEOUT, Scope, attempt_timeout, belongs_to_others, offers_something, url};

pub(super) fn connection(ticketing: &Ticketing, deadlines: &Deadlines, scope: &Scope<'_>) {
    url::base(&ticketing.base_url, url::credential(ticketing.credential.as_ref(), scope), &scope.key("base_url"));
    scope.key("connect_timeout").time_within(ticketing.connect_timeout, CONNECT_TIMEOUT.0, CONNECT_TIMEOUT.1);
    attempt_timeout(ticketing.attempt_timeout, deadlines, &scope.key("attempt_timeout"));
    scope.key("idle_timeout").some_time(ticketing.idle_timeout);
    scope.key("connections_max").at_least_one(ticketing.connections_max);
    if ticketing.answer_bytes_max == ByteSize(0) {
        scope.key("answer_bytes_max").refuse("must be larger than nothing", "the default is `4MiB`");
    }
}

pub(super) fn tools(downstream: &Downstream, scope: &Scope<'_>) {
    offers_something(downstream, scope);
    for name in downstream.tools.keys() {
        let scope = scope.key("tools").key(name);
        belongs_to_others(&["sql", "request", "answer", "arguments"], "a ticketing system brings its tools", &scope);
    }
}

//! An `mcp` downstream.

mod environment;
#[cfg(test)]
mod tests;

use crate::{
    ByteSize, Deadlines, Downstream, Period,
    downstream::{Expose, Mcp, McpHttp, Stdio, WebSocket},
};

use super::{CONNECT_TIMEOUT, Scope, attempt_timeout, credential, listed, offers_something, url};

/// A smaller limit would refuse the server's first answer.
const MESSAGE_BYTES_LEAST: ByteSize = ByteSize(4 << 10);
/// A connection that died is noticed after two of these: beyond five minutes callers would wait for nothing.
const PING_EVERY: (Period, Period) = (Period::ms(100), Period::s(300));
/// A program that is broken is not to be started more often; one that was mended is not to wait for longer.
const QUARANTINE: (Period, Period) = (Period::ms(100), Period::s(3_600));
/// The end of Weir waits for it.
const STOP_TIMEOUT_MOST: Period = Period::s(30);
const TRANSPORTS: [&str; 3] = ["websocket", "http", "stdio"];
const LIST_REFRESH: (Period, Period) = (Period::ms(100), Period::s(86_400));

pub(super) fn connection(mcp: &Mcp, deadlines: &Deadlines, scope: &Scope<'_>) {
    let given: Vec<&str> = TRANSPORTS.into_iter().filter(|transport| scope.key(transport).given()).collect();
    match given[..] {
        [] => scope.refuse("does not say how the server is reached", format!("give one of {}", listed(&TRANSPORTS))),
        [_] => {}
        _ => scope.refuse(
            format!("says several ways to reach the server: {}", listed(&given)),
            "keep one; another server is another downstream with a name of its own",
        ),
    }
    mcp.websocket.iter().for_each(|socket| web_socket(socket, &scope.key("websocket")));
    mcp.http.iter().for_each(|endpoint| http(endpoint, &scope.key("http")));
    mcp.stdio.iter().for_each(|process| stdio(process, &scope.key("stdio")));
    attempt_timeout(mcp.attempt_timeout, deadlines, &scope.key("attempt_timeout"));
    scope.key("list_refresh").time_within(mcp.list_refresh, LIST_REFRESH.0, LIST_REFRESH.1);
}

fn web_socket(socket: &WebSocket, scope: &Scope<'_>) {
    url::web_socket(&socket.url, credential::credential(socket.credential.as_ref(), scope), &scope.key("url"));
    credential::certificates(&socket.url, scope);
    scope.key("connect_timeout").time_within(socket.connect_timeout, CONNECT_TIMEOUT.0, CONNECT_TIMEOUT.1);
    scope.key("ping_every").time_within(socket.ping_every, PING_EVERY.0, PING_EVERY.1);
    scope.key("connections_max").at_least_one(socket.connections_max);
    message_bytes_max(socket.message_bytes_max, scope);
}

fn http(endpoint: &McpHttp, scope: &Scope<'_>) {
    url::http(&endpoint.url, credential::credential(endpoint.credential.as_ref(), scope), &scope.key("url"));
    credential::certificates(&endpoint.url, scope);
    scope.key("connect_timeout").time_within(endpoint.connect_timeout, CONNECT_TIMEOUT.0, CONNECT_TIMEOUT.1);
    scope.key("idle_timeout").some_time(endpoint.idle_timeout);
    scope.key("connections_max").at_least_one(endpoint.connections_max);
    message_bytes_max(endpoint.message_bytes_max, scope);
}

fn stdio(process: &Stdio, scope: &Scope<'_>) {
    let command = scope.key("command");
    if process.command.first().is_none_or(String::is_empty) {
        command.refuse("names no program", "write the program and its arguments: `[my-server, --stdio]`");
    }
    if process.command.iter().any(|word| word.contains('\0')) {
        command.refuse("has a NUL character, which no program can be given", "remove it");
    }
    // There are programs that take their secrets as arguments.
    command.items(&process.command).into_iter().skip(1).for_each(|(argument, _)| argument.hide());
    environment::check(process, scope);
    scope.key("start_timeout").some_time(process.start_timeout);
    scope.key("quarantine").time_within(process.quarantine, QUARANTINE.0, QUARANTINE.1);
    scope.key("stop_timeout").time_within(process.stop_timeout, Period::s(0), STOP_TIMEOUT_MOST);
    scope.key("processes_max").at_least_one(process.processes_max);
    message_bytes_max(process.message_bytes_max, scope);
}

fn message_bytes_max(stated: ByteSize, scope: &Scope<'_>) {
    if stated < MESSAGE_BYTES_LEAST {
        scope.key("message_bytes_max").refuse(
            format!("must be at least `{MESSAGE_BYTES_LEAST}`, not `{stated}`"),
            "a list of tools alone may be larger",
        );
    }
}

pub(super) fn tools(downstream: &Downstream, scope: &Scope<'_>) {
    offers_something(downstream, scope);
    for name in downstream.tools.keys() {
        let scope = scope.key("tools").key(name);
        super::belongs_to_others(&["sql", "request", "answer", "arguments"], "an MCP server brings its tools", &scope);
        if name.is_empty() {
            scope.refuse("has no name", "write the name that the server gives the tool");
        }
    }
    let redundant = downstream.expose == Expose::Listed && !downstream.effects.is_empty();
    for (scope, rule) in scope.key("effects").items(&downstream.effects) {
        if redundant && !downstream.tools.keys().any(|tool| rule.pattern.matches(tool)) {
            scope.warn(
                format!("matches none of the tools named here: `{}`", rule.pattern),
                "with `expose: listed` no others are offered",
            );
        }
    }
}

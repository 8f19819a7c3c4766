//! An `mcp` downstream.

use crate::{
    ByteSize, Deadlines, Downstream, Period,
    downstream::{Expose, Mcp, WebSocket},
    web::WebUrl,
};

use super::{Scope, offers_something};

/// A smaller limit would refuse the server's first answer.
const MESSAGE_BYTES_LEAST: ByteSize = ByteSize(4 << 10);
/// A connection that died is noticed after two of these: beyond five minutes callers would wait for nothing.
const PING_EVERY: (Period, Period) = (Period::ms(100), Period::s(300));
const CONNECT_TIMEOUT: (Period, Period) = (Period::ms(10), Period::s(60));
const LIST_REFRESH: (Period, Period) = (Period::ms(100), Period::s(86_400));

pub(super) fn connection(mcp: &Mcp, deadlines: &Deadlines, scope: &Scope<'_>) {
    web_socket(&mcp.websocket, &scope.key("websocket"));
    let attempt = scope.key("attempt_timeout");
    attempt.some_time(mcp.attempt_timeout);
    if attempt.given() && mcp.attempt_timeout > deadlines.max {
        attempt.refuse(
            format!("is `{}`, longer than `deadlines.max`, which is `{}`", mcp.attempt_timeout, deadlines.max),
            "no call may take that long",
        );
    }
    scope.key("list_refresh").time_within(mcp.list_refresh, LIST_REFRESH.0, LIST_REFRESH.1);
}

fn web_socket(socket: &WebSocket, scope: &Scope<'_>) {
    url(&socket.url, socket.credential.is_some() || scope.key("credential").given(), &scope.key("url"));
    scope.key("connect_timeout").time_within(socket.connect_timeout, CONNECT_TIMEOUT.0, CONNECT_TIMEOUT.1);
    scope.key("ping_every").time_within(socket.ping_every, PING_EVERY.0, PING_EVERY.1);
    scope.key("connections_max").at_least_one(socket.connections_max);
    if socket.message_bytes_max < MESSAGE_BYTES_LEAST {
        scope.key("message_bytes_max").refuse(
            format!("must be at least `{MESSAGE_BYTES_LEAST}`, not `{}`", socket.message_bytes_max),
            "a list of tools alone may be larger",
        );
    }
}

fn url(text: &str, with_credential: bool, scope: &Scope<'_>) {
    const FORM: &str = "write `wss://host/path`";
    let Some(url) = WebUrl::parse(text) else {
        // What cannot be taken apart may hold a password anywhere.
        if text.contains('@') {
            scope.hide();
            return scope.refuse("must be a WebSocket URL", FORM);
        }
        return scope.refuse(format!("must be a WebSocket URL, not `{text}`"), FORM);
    };
    if url.has_credentials() {
        scope.hide();
        scope.refuse("must not hold credentials", "give them as `credential: { bearer: { env: NAME } }`");
    } else if !["ws", "wss"].contains(&url.scheme()) {
        scope.refuse(format!("must be a WebSocket URL, not `{text}`"), FORM);
    } else if url.has_fragment() {
        scope.refuse(format!("must not have a fragment: `{text}`"), "remove `#` and what follows");
    } else if url.scheme() == "ws" && !url.is_loopback() {
        if with_credential {
            scope.refuse("would send the credential unencrypted to another machine", "use `wss://`");
        } else {
            scope.warn("speaks unencrypted with another machine", "use `wss://` unless you trust the way there");
        }
    }
}

pub(super) fn tools(downstream: &Downstream, scope: &Scope<'_>) {
    offers_something(downstream, scope);
    for (name, tool) in &downstream.tools {
        let scope = scope.key("tools").key(name);
        if tool.sql.is_some() {
            scope.key("sql").refuse("is for `postgres` downstreams", "an MCP server brings its tools: remove it");
        }
        if !tool.arguments.is_empty() {
            scope
                .key("arguments")
                .refuse("is for `postgres` downstreams", "an MCP server brings the schemas of its tools: remove it");
        }
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

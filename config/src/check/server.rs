//! `server` and `deadlines`.

use std::net::SocketAddr;

use crate::{ByteSize, Config, Deadlines, Network, Server, web::WebUrl};

use super::Scope;

pub(super) fn server(config: &Config, scope: &Scope<'_>, root: &Scope<'_>) {
    let server = &config.server;
    listeners(server, scope, root);
    if let Some(url) = &server.public_url {
        public_url(url, &scope.key("public_url"));
    }
    for (scope, network) in scope.key("trusted_proxies").items(&server.trusted_proxies) {
        trusted_proxy(network, &scope);
    }
    for (scope, host) in scope.key("hosts").items(&server.hosts) {
        if host.parse::<http::uri::Authority>().is_err() || host.contains('@') {
            scope.refuse(
                format!("must be a host as `Host` has it, not `{host}`"),
                "write `weir.example` or `weir.example:8443`",
            );
        }
    }
    for (scope, origin) in scope.key("origins").items(&server.origins) {
        if WebUrl::parse(origin).is_none_or(|url| !url.is_origin(&["http", "https"])) {
            scope.refuse(
                format!("must be an origin, not `{origin}`"),
                "write scheme and host alone: `https://app.example`",
            );
        }
    }
    if server.body_bytes_max == ByteSize(0) {
        scope.key("body_bytes_max").refuse("must be larger than nothing", "the default is `4MiB`");
    }
    scope.key("header_timeout").some_time(server.header_timeout);
    scope.key("body_timeout").some_time(server.body_timeout);
    scope.key("write_timeout").some_time(server.write_timeout);
    scope.key("connections_max").at_least_one(server.connections_max);
    scope.key("calls_max").at_least_one(server.calls_max);
}

pub(super) fn deadlines(deadlines: &Deadlines, scope: &Scope<'_>) {
    scope.key("default").some_time(deadlines.default);
    scope.key("max").some_time(deadlines.max);
    if deadlines.default > deadlines.max {
        let (default, max) = (deadlines.default, deadlines.max);
        scope.key("default").refuse(format!("is `{default}`, longer than `deadlines.max`, which is `{max}`"), "");
    }
}

/// Whether only this machine can reach the address.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn listeners(server: &Server, scope: &Scope<'_>, root: &Scope<'_>) {
    let listen = scope.key("listen");
    if !is_loopback(server.listen) {
        if !scope.key("tls").given() && !server.behind_tls_proxy {
            listen.refuse(
                format!("is `{}`, which other machines reach, and speaks no TLS", server.listen),
                "give `server.tls`, or say `server.behind_tls_proxy: true` where a proxy in front ends TLS, or listen on `127.0.0.1`",
            );
        }
        let kinds = ["api_keys", "jwt", "mtls", "signatures"];
        if !kinds.iter().any(|kind| root.key("identity").key(kind).given()) {
            listen.refuse(
                format!("is `{}`, which other machines reach, and no credentials are configured", server.listen),
                "give `identity.api_keys` or another kind of credential, or listen on `127.0.0.1`",
            );
        }
    }
    // Port 0 is any free port, another one for each listener.
    if server.admin.port() == server.listen.port() && server.admin.port() != 0 {
        let (here, other) = if scope.key("admin").given() { ("admin", "listen") } else { ("listen", "admin") };
        scope.key(here).refuse(
            format!("has the port {} of `server.{other}`", server.admin.port()),
            "the two listeners need a port each: callers must not reach the admin listener",
        );
    }
}

fn public_url(url: &str, scope: &Scope<'_>) {
    let parsed = WebUrl::parse(url);
    if parsed.as_ref().is_some_and(WebUrl::has_credentials) {
        scope.hide();
        scope.refuse("must not hold credentials", "write scheme and host alone: `https://weir.example`");
    } else if parsed.is_none_or(|url| !url.is_origin(&["http", "https"])) {
        scope.refuse(
            format!("must be the URL of a host, not `{url}`"),
            "write scheme and host, and no path: `https://weir.example`",
        );
    }
}

fn trusted_proxy(network: &str, scope: &Scope<'_>) {
    match network.parse::<Network>() {
        Err(message) => scope.refuse(format!("is not right: {message}"), ""),
        Ok(network) if network.is_everything() => scope.warn(
            format!("is `{network}`: every caller may claim any address with `X-Forwarded-For`"),
            "name the networks of your own proxies alone",
        ),
        Ok(_) => {}
    }
}

//! `definitions`.

use crate::{
    Config,
    downstream::{Credential, Kind},
};

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
    for (name, downstream) in &config.downstreams {
        let Some(Kind::Mcp(mcp)) = downstream.kind() else { continue };
        let by_lock =
            matches!(mcp.credential(), Some(Credential::TokenExchange(exchange)) if exchange.catalog.is_none());
        if by_lock && !has_lock {
            let carrier = if mcp.websocket.is_some() { "websocket" } else { "http" };
            let scope = root.key("downstreams").key(name.as_str()).key("mcp").key(carrier);
            scope.key("credential").key("token_exchange").refuse(
                "has no `catalog`, and there is no `definitions.lock`: nobody can ask for the list of its tools",
                "say with what lists are asked for (`catalog: { bearer: … }`), or take the tools from a lock file",
            );
        }
    }
}

//! Checks of where Weir's own connections may lead.

use super::Scope;
use crate::{Config, Network};

pub(super) fn outbound(config: &Config, scope: &Scope<'_>) {
    let Some(networks) = &config.outbound.private_networks else { return };
    for (scope, network) in scope.key("outbound").key("private_networks").items(networks) {
        if let Err(message) = network.parse::<Network>() {
            scope.refuse(format!("is not right: {message}"), "");
        }
    }
}

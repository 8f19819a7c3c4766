//! Where Weir's own connections may lead.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Network;

/// Where Weir's own connections may lead. Never to link-local addresses and the places where clouds hand out credentials, and
/// to this machine only where `localhost` or a loopback address is written.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// The private networks (`10.0.0.0/8`, `fd00::/8`, …) that the hosts of this config may lead to. Not stated: all; an empty list: none.
    pub private_networks: Option<Vec<String>>,
}

impl Outbound {
    /// The networks, as far as they are some.
    pub(crate) fn networks(&self) -> Option<Arc<[Network]>> {
        let networks = self.private_networks.as_ref()?;
        Some(networks.iter().filter_map(|network| network.parse().ok()).collect())
    }
}

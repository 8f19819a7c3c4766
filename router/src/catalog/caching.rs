//! What the config says of the cache for one tool, worked out once.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use cache::{Contract, Tag};
use config::{
    Period, TagTemplate,
    downstream::{Partition, ToolCache},
};

use crate::{Downstream, invalidate};

/// How the results of one tool are cached.
#[derive(Debug)]
pub(crate) struct Caching {
    pub(crate) contract: Contract,
    pub(crate) stale_after_waiting: Option<Duration>,
    pub(crate) partition: Partition,
    pub(crate) templates: Box<[TagTemplate]>,
    /// A hash of the tool's definition as the downstream gave it: another definition is another tool.
    pub(crate) definition: [u8; 32],
    /// The tags that every entry of the tool has, whatever the call.
    pub(crate) own_tags: [Tag; 3],
}

impl Caching {
    pub(super) fn new(settings: &ToolCache, downstream: &Downstream, local_name: &str, definition: &str) -> Self {
        let name = downstream.name.as_str();
        Self {
            contract: contract(settings),
            stale_after_waiting: settings.stale_after_waiting.map(|period| period.0),
            partition: settings.partition,
            templates: settings.tags.clone().into(),
            definition: digest(&SHA256, definition.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes"),
            own_tags: [
                invalidate::everything(),
                invalidate::of_downstream(name),
                invalidate::of_tool(name, local_name),
            ],
        }
    }
}

fn contract(settings: &ToolCache) -> Contract {
    let ms = |period: Period| u64::try_from(period.0.as_millis()).unwrap_or(u64::MAX);
    Contract {
        fresh_for_ms: ms(settings.fresh_for),
        stale_while_refreshing_ms: settings.stale_while_refreshing.map_or(0, ms),
        stale_on_error_ms: settings.stale_on_error.map_or(0, ms),
        not_found_for_ms: settings.not_found_for.map_or(0, ms),
    }
}

//! `cache`: what all cached tools share.

use std::collections::BTreeSet;

use crate::{ByteSize, Config, Period, nearest::nearest, tag::is_family};

use super::Scope;

/// A replica that is gone is waited for at least so long, and one that is slow must not be taken for gone.
const LEASE: (Period, Period) = (Period::s(1), Period::s(60));

pub(super) fn cache(config: &Config, root: &Scope<'_>) {
    let (cache, scope) = (&config.cache, root.key("cache"));
    for (key, size) in [("local_bytes_max", cache.local_bytes_max), ("value_bytes_max", cache.value_bytes_max)] {
        if size == ByteSize(0) {
            scope.key(key).refuse("must be larger than nothing", "a tool is not cached when it states no `cache`");
        }
    }
    if cache.value_bytes_max > cache.local_bytes_max {
        scope.key("value_bytes_max").refuse(
            format!(
                "is `{}`, more than `cache.local_bytes_max`, which is `{}`: the largest result would find no room",
                cache.value_bytes_max, cache.local_bytes_max
            ),
            "",
        );
    }
    scope.key("lease").time_within(cache.lease, LEASE.0, LEASE.1);
    scope.key("fetches_max").at_least_one(cache.fetches_max);
    scope.key("waiters_max").at_least_one(cache.waiters_max);
    if cache.waiters_max < cache.fetches_max {
        scope.key("waiters_max").refuse(
            format!("is {}, less than `cache.fetches_max`, which is {}", cache.waiters_max, cache.fetches_max),
            "for each fetch that runs at least one call waits",
        );
    }
    strict(config, &scope.key("strict"), root);
}

fn strict(config: &Config, scope: &Scope<'_>, root: &Scope<'_>) {
    // A tag may stand in a downstream that could not be read because of another mistake.
    let all_are_read = root.key("downstreams").keys().len() == config.downstreams.len();
    let families = families(config);
    for (index, (scope, family)) in scope.items(&config.cache.strict).into_iter().enumerate() {
        if !is_family(family) {
            scope.refuse(
                format!("is `{family}`, which is no family of tags: letters, digits, `_` and `-`"),
                "name the part of a tag before its first `:`, such as `customer` for `customer:{customer_id}`",
            );
        } else if family == "weir" {
            scope.refuse("is `weir`, which is Weir's own", "name a family of the config's own tags");
        } else if config.cache.strict[..index].contains(family) {
            scope.refuse(format!("is `{family}`, which stands there already"), "remove one of them");
        } else if all_are_read && !families.contains(family.as_str()) {
            let help = match nearest(family, families.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "a family is strict for the tools that have a tag of it, and there is none".to_owned(),
            };
            scope.warn(format!("is `{family}`, of which no cached tool has a tag"), help);
        }
    }
}

/// The families of tags that cached answers have.
fn families(config: &Config) -> BTreeSet<&str> {
    let tools = config.downstreams.values().flat_map(|downstream| downstream.tools.values());
    let tags = tools.filter_map(|tool| tool.cache.as_ref()).flat_map(|cache| &cache.tags);
    tags.map(crate::TagTemplate::family).collect()
}

//! What the cache would be to a call, for the operator: the parts of the key, never its secret, or what keeps the call out.

use std::sync::Arc;

use adapters::Caller;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use cache::{Ask, Canonical};
use config::{TagTemplate, downstream::Partition};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Trail, plan};
use crate::{
    Router,
    catalog::{Caching, Tool},
    masking::{CallMask, Sight},
    policy::{Asker, Grant},
};

/// What the cache would be to this call of `tool`. Asks no downstream.
pub(crate) async fn explain_cache(router: &Router, caller: &Caller, tool: &Tool, arguments: Option<&Bytes>) -> Value {
    let mut told = Map::new();
    let grant = router.policy.grant_now(Asker { caller, now: Timestamp::now() }, tool.asked());
    let sight =
        |grant: Arc<Grant>| router.masking.sight(&grant, caller, &tool.name.shown, Vec::new(), &Trail::default());
    let sight = grant.map(sight);
    let mask = sight.as_ref().and_then(Sight::mask);
    match (plan::cache_plan(router, caller, tool, b"{}", arguments, mask), &tool.caching) {
        (Ok(plan), Some(caching)) => {
            told.insert("cached".to_owned(), json!(true));
            told.insert("key".to_owned(), json!(plan.key.to_string()));
            told.insert("parts".to_owned(), parts(router, caller, tool, caching, &plan, mask));
            told.insert("contract".to_owned(), contract(caching));
            told.insert("tags".to_owned(), tags(tool));
            told.insert("held".to_owned(), held(router, caching, plan).await);
        }
        (Err(bypass), _) => {
            told.insert("cached".to_owned(), json!(false));
            told.insert("bypass".to_owned(), json!(bypass.as_str()));
            told.insert("reason".to_owned(), json!(bypass.to_string()));
        }
        (Ok(_), None) => unreachable!("only a tool with a contract has a plan"),
    }
    if tool.effect.writes() {
        let invalidates = tool.settings().map(|settings| settings.invalidates.as_slice()).unwrap_or_default();
        told.insert("invalidates".to_owned(), json!(invalidates.iter().map(TagTemplate::as_str).collect::<Vec<_>>()));
    }
    told.into()
}

/// What goes into the key. Nothing here says what the arguments, the secrets or the key's own secret are.
fn parts(
    router: &Router,
    caller: &Caller,
    tool: &Tool,
    caching: &Caching,
    plan: &plan::Plan,
    mask: Option<&CallMask>,
) -> Value {
    let mut roles = router.policy.known_roles(caller);
    roles.sort();
    let canonical = Canonical::of(&plan.arguments).expect("they have a key");
    let (canonical, principal) = (canonical.as_str(), &caller.principal);
    let mut partition = Map::from_iter([("roles".to_owned(), json!(roles))]);
    let word = match caching.partition {
        Partition::Private => "private",
        Partition::Token => "token",
        Partition::Shared => "shared",
    };
    if caching.partition != Partition::Shared {
        partition.insert("issuer".to_owned(), json!(principal.issuer));
        partition.insert("subject".to_owned(), json!(principal.subject));
        partition.insert("tenant".to_owned(), json!(principal.tenant));
    }
    if caching.partition == Partition::Token {
        partition.insert("credential".to_owned(), json!(caller.credential_id));
    }
    json!({
        "downstream": tool.downstream.name.as_str(),
        "config_revision": short(&tool.downstream.revision.shown),
        "tool": tool.name.local,
        "definition": short(&caching.definition),
        "arguments": { "canonical_bytes": canonical.len(), "hash": short(digest(&SHA256, canonical.as_bytes()).as_ref()) },
        "partition": { "kind": word, "of": partition },
        "mask": mask.map(|mask| short(&digest(&SHA256, &mask.revision()).as_ref()[..8])),
    })
}

fn contract(caching: &Caching) -> Value {
    let contract = &caching.contract;
    json!({
        "fresh_for_ms": contract.fresh_for_ms,
        "stale_while_refreshing_ms": contract.stale_while_refreshing_ms,
        "stale_after_waiting_ms": caching.stale_after_waiting.map(|waiting| waiting.as_millis() as u64),
        "stale_on_error_ms": contract.stale_on_error_ms,
        "not_found_for_ms": contract.not_found_for_ms,
    })
}

/// The templates, not what becomes of them: that would tell arguments.
fn tags(tool: &Tool) -> Value {
    let templates = tool.caching.iter().flat_map(|caching| caching.templates.iter());
    let (downstream, tool) = (tool.downstream.name.as_str(), &tool.name.local);
    let own =
        ["weir:all".to_owned(), format!("weir:downstream:{downstream}"), format!("weir:tool:{downstream}/{tool}")];
    templates.map(|template| template.as_str().to_owned()).chain(own).collect::<Vec<_>>().into()
}

/// What is held under the key now.
async fn held(router: &Router, caching: &Caching, plan: plan::Plan) -> Value {
    let ask = Ask {
        key: plan.key,
        contract: caching.contract,
        stale_after_waiting: None,
        tags: plan.tags,
        templates: plan.templates,
        fetch_period: std::time::Duration::ZERO,
        wait_by: Instant::now(),
    };
    let Some(cached) = router.cache.look(&ask).await else { return Value::Null };
    json!({
        "state": cached.state.as_str(), "tier": cached.tier.as_str(), "age_ms": cached.age_ms, "value_bytes": cached.value.len(),
        "fetch_ms": cached.fetch_ms, "verified": cached.verified,
    })
}

/// Enough of a hash to tell two of them apart.
fn short(hash: &[u8]) -> String {
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

//! `tools/list`: what the caller may see, in pages, from memory.

use adapters::json::{self, Object};
use bytes::Bytes;
use jiff::Timestamp;

use super::{
    Post, Version,
    answer::{RpcError, Wire},
};
use crate::policy::Asker;

/// Answers `tools/list` with these params.
pub(super) async fn tools(post: &Post<'_>, params: &Object<'_>, version: Version) -> Wire {
    let (router, caller) = (post.router, &post.caller);
    let cursor = match params.get("cursor").map(json::unquote) {
        None => None,
        Some(Some(cursor)) => Some(cursor),
        Some(None) => return RpcError::invalid_params("`cursor` must be a string that an earlier answer gave").wire(),
    };
    let view = router.catalog.settled_view().await;
    let rights = view.rights(&router.policy, caller, post.view.as_deref());
    let list = view.list(&rights, &router.policy, Asker { caller, now: Timestamp::now() });
    let Some(page) = list.page(cursor.as_deref()) else {
        return RpcError::invalid_params("`cursor` is none that an earlier answer gave: start again without one")
            .wire();
    };
    let mut end = String::from("]");
    if let Some(next) = page.next_cursor {
        end.push_str(",\"nextCursor\":");
        end.push_str(&json::string(&next));
    }
    if version.is_modern() {
        // MCP 2026-07-28, server/utilities/caching. What a caller sees depends on its roles, so the scope is `private`. The lists of the
        // downstreams are asked for with Weir's own credential, so one of theirs that is `private` is Weir's to show by role.
        let ttl_ms = router.catalog.list_holds_for(&view, &rights, caller).as_millis();
        end.push_str(&format!(",\"ttlMs\":{ttl_ms},\"cacheScope\":\"private\",\"resultType\":\"complete\""));
    }
    end.push('}');
    Wire::Result(vec![Bytes::from_static(b"{\"tools\":["), page.definitions, end.into()])
}

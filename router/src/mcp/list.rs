//! `tools/list`: what the caller may see, in pages, from memory.

use std::sync::Arc;

use adapters::{
    Caller,
    json::{self, Object},
};
use bytes::Bytes;

use super::{
    Version,
    answer::{RpcError, Wire},
};
use crate::Router;

/// Answers `tools/list` with these params.
pub(super) async fn tools(router: &Router, caller: &Arc<Caller>, params: &Object<'_>, version: Version) -> Wire {
    let cursor = match params.get("cursor").map(json::unquote) {
        None => None,
        Some(Some(cursor)) => Some(cursor),
        Some(None) => return RpcError::invalid_params("`cursor` must be a string that an earlier answer gave").wire(),
    };
    let rights = router.catalog.settled_view().await.rights(&router.policy, caller);
    let Some(page) = rights.page(cursor.as_deref()) else {
        return RpcError::invalid_params("`cursor` is none that an earlier answer gave: start again without one")
            .wire();
    };
    let mut end = String::from("]");
    if let Some(next) = page.next_cursor {
        end.push_str(",\"nextCursor\":");
        end.push_str(&json::string(&next));
    }
    if version.is_modern() {
        // What a caller sees depends on its roles. The list may change at any moment, and nobody is told before it asks again.
        end.push_str(",\"ttlMs\":0,\"cacheScope\":\"private\",\"resultType\":\"complete\"");
    }
    end.push('}');
    Wire::Result(vec![Bytes::from_static(b"{\"tools\":["), page.definitions, end.into()])
}

//! `weir__next_page`: the rest of long answers, for whoever got the beginning.

use std::sync::Arc;

use adapters::{
    AdapterError, CallContext, ErrorClass, OfferedTool, Reply, Request,
    json::{self, Object},
};
use cache::Pages;
use jiff::Timestamp;
use serde_json::{json, value::to_raw_value};

use super::{Kept, owner, read_kept};
use crate::{
    masking::Masking,
    own,
    policy::{Asked, Asker, Policy},
};

/// Its name below the name of Weir's own tools.
pub(crate) const LOCAL_NAME: &str = "next_page";
const DESCRIPTION: &str = "Gives the next part of a long answer. When an answer of another tool ends by saying that it is a part, call this \
    with the handle that it names; the parts after that are had in the same way.";
/// The same for a handle that never was, that is somebody else's, and whose time is over, and for an answer of a tool that is denied by now.
const UNKNOWN: &str = "There is no next part for this handle: it is not one that was given to you, or its time is over. Give the handle exactly \
    as the part before names it, or call the tool itself again.";

/// Redis holds it, and is not there.
const GONE: &str = "What is kept of long answers cannot be reached now. Try again in a few seconds with the same handle, or call the tool itself again.";

/// Serves the rest of long answers.
#[derive(Debug)]
pub(crate) struct NextPage {
    pages: Arc<Pages>,
    policy: Arc<Policy>,
    masking: Arc<Masking>,
}

impl NextPage {
    pub(crate) fn new(pages: Arc<Pages>, policy: Arc<Policy>, masking: Arc<Masking>) -> Self {
        Self { pages, policy, masking }
    }

    pub(crate) fn offered() -> OfferedTool {
        let definition = json!({
            "name": LOCAL_NAME,
            "title": "Next part of a long answer",
            "description": DESCRIPTION,
            "inputSchema": {
                "type": "object",
                "properties": { "handle": { "type": "string", "description": "The handle that the part before names." } },
                "required": ["handle"],
                "additionalProperties": false,
            },
            "annotations": { "readOnlyHint": true, "idempotentHint": true, "openWorldHint": false },
        });
        own::offered(LOCAL_NAME, to_raw_value(&definition).expect("a JSON value has a JSON text"))
    }

    pub(crate) async fn page(&self, ctx: &CallContext, request: &Request) -> Result<Reply, AdapterError> {
        let arguments = request.arguments.as_deref().map(std::str::from_utf8).and_then(Result::ok);
        let handle = arguments.and_then(Object::parse).and_then(|arguments| arguments.get("handle"));
        let handle = handle.and_then(json::unquote).unwrap_or_default();
        let gone = |_gone| AdapterError::not_sent(ErrorClass::Unreachable, GONE);
        let found = self.pages.find(&owner(&ctx.caller), &handle).await.map_err(gone)?;
        // Another replica, or this one under another config, may have kept it.
        let asker = Asker { caller: &ctx.caller, now: Timestamp::now() };
        let sees_the_same = |kept: &Kept<'_>| {
            let grant = self.policy.grant_now(asker, Asked { name: kept.tool_name, place: None });
            grant.is_some_and(|grant| self.masking.print(&grant, &kept.tool_name.into()) == *kept.print)
        };
        let page = found.as_ref().and_then(read_kept).filter(sees_the_same);
        Ok(Reply::Complete(page.map(|kept| kept.part).unwrap_or_else(|| {
            json!({ "content": [{ "type": "text", "text": UNKNOWN }], "isError": true }).to_string().into()
        })))
    }
}

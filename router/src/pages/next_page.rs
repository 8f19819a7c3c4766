//! `weir__next_page`: Weir's own tool, behind the same trait as every downstream, so that a call of it takes the same way.

use std::sync::Arc;

use adapters::{
    Adapter, AdapterError, AdapterEvent, CallContext, CallerInput, CallerInputs, ErrorClass, Offer, OfferedTool, Reply,
    Request,
    json::{self, Object},
};
use cache::Pages;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use serde_json::{json, value::to_raw_value};

use super::{owner, read_kept};
use crate::policy::Policy;

/// Its name below the name of Weir's own tools.
const LOCAL_NAME: &str = "next_page";
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
    policy: Policy,
}

impl NextPage {
    pub(crate) fn new(pages: Arc<Pages>, policy: Policy) -> Self {
        Self { pages, policy }
    }

    /// The one tool.
    pub(crate) fn offer() -> Offer {
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
        let definition = to_raw_value(&definition).expect("a JSON value has a JSON text");
        let caller_inputs = CallerInputs::Known(vec![CallerInput::Principal]);
        let tool = OfferedTool { local_name: LOCAL_NAME.into(), definition, caller_inputs };
        Offer { tools: vec![tool], ..Offer::default() }
    }

    async fn page(&self, ctx: &CallContext, request: &Request) -> Result<Reply, AdapterError> {
        let arguments = request.arguments.as_deref().map(std::str::from_utf8).and_then(Result::ok);
        let handle = arguments.and_then(Object::parse).and_then(|arguments| arguments.get("handle"));
        let handle = handle.and_then(json::unquote).unwrap_or_default();
        let gone = |_gone| AdapterError::not_sent(ErrorClass::Unreachable, GONE);
        let found = self.pages.find(&owner(&ctx.caller), &handle).await.map_err(gone)?;
        // Another replica, or this one under another config, may have kept it.
        let is_allowed = |tool_name: &str| self.policy.rule_for(&ctx.caller.roles, tool_name).is_some();
        let page = found.as_ref().and_then(read_kept).filter(|(tool_name, _)| is_allowed(tool_name));
        Ok(Reply::Complete(page.map(|(_, page)| page).unwrap_or_else(|| {
            json!({ "content": [{ "type": "text", "text": UNKNOWN }], "isError": true }).to_string().into()
        })))
    }
}

impl Adapter for NextPage {
    fn list<'a>(&'a self, _ctx: &'a CallContext) -> BoxFuture<'a, Result<Offer, AdapterError>> {
        future::ready(Ok(Self::offer())).boxed()
    }

    fn call<'a>(&'a self, ctx: &'a CallContext, request: Request) -> BoxFuture<'a, Result<Reply, AdapterError>> {
        async move { self.page(ctx, &request).await }.boxed()
    }

    fn events(&self) -> BoxStream<'static, AdapterEvent> {
        stream::pending().boxed()
    }
}

//! Weir's own tools, behind the same trait as every downstream, so that a call of one takes the same way.

use std::sync::Arc;

use adapters::{
    Adapter, AdapterError, AdapterEvent, CallContext, CallerInput, CallerInputs, ErrorClass, Offer, OfferedTool, Reply,
    Request,
};
use cache::Pages;
use config::Config;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use serde_json::value::RawValue;

use crate::{
    Downstream,
    masking::Masking,
    operations::{Operations, Status},
    pages::{self, NextPage},
    policy::Policy,
};

/// Serves Weir's own tools.
#[derive(Debug)]
struct Own {
    next_page: NextPage,
    status: Status,
}

/// What stands behind Weir's own tools; nothing where a config has no use for any.
pub(crate) fn downstream(
    config: &Config,
    pages: &Arc<Pages>,
    operations: &Operations,
    downstreams: &[Arc<Downstream>],
    policy: &Arc<Policy>,
    masking: &Arc<Masking>,
) -> Option<Downstream> {
    let (parts, writes) = (pages::may_be_cut(config), config.downstreams.values().any(config::Downstream::may_write));
    if !parts && !writes {
        return None;
    }
    let own = Own {
        next_page: NextPage::new(pages.clone(), policy.clone(), masking.clone()),
        status: Status::new(operations.clone(), policy.clone(), masking.clone(), downstreams.to_vec()),
    };
    let parts = parts.then(NextPage::offered);
    let tools = parts.into_iter().chain(writes.then(Status::offered)).collect();
    Some(Downstream::own(Arc::new(own), Offer { tools, ..Offer::default() }))
}

/// One of them.
pub(crate) fn offered(local_name: &'static str, definition: Box<RawValue>) -> OfferedTool {
    let caller_inputs = CallerInputs::Known(vec![CallerInput::Principal]);
    OfferedTool { local_name: local_name.into(), definition, caller_inputs }
}

impl Adapter for Own {
    /// What there is was said when it was made.
    fn list<'a>(&'a self, _ctx: &'a CallContext) -> BoxFuture<'a, Result<Offer, AdapterError>> {
        future::ready(Ok(Offer::default())).boxed()
    }

    fn call<'a>(&'a self, ctx: &'a CallContext, request: Request) -> BoxFuture<'a, Result<Reply, AdapterError>> {
        async move {
            match &*request.local_name {
                pages::LOCAL_NAME => self.next_page.page(ctx, &request).await,
                crate::operations::STATUS => self.status.tell(ctx, &request).await,
                _ => Err(AdapterError::not_sent(ErrorClass::Rejected, "Weir has no tool of this name.")),
            }
        }
        .boxed()
    }

    fn events(&self) -> BoxStream<'static, AdapterEvent> {
        stream::pending().boxed()
    }
}

//! A ticketing system: five tools and one shape of results, whatever the provider.
//!
//! What is said here holds for every provider. A new one brings what [`jira`] brings: how each [`Call`] is made, and a probe.

mod arguments;
mod cursor;
mod jira;
mod ticket;
mod tools;

use std::{fmt, sync::Arc, time::Duration};

use config::{
    Downstream, DownstreamName, Sources,
    downstream::{Credential, ticketing::Provider},
};
use futures_util::{FutureExt as _, future::BoxFuture, stream::BoxStream};
use serde_json::value::RawValue;
use tokio_util::task::AbortOnDropHandle;

use self::{
    arguments::Call,
    jira::{Failure, Jira, Turn},
};
use crate::{
    Adapter, AdapterError, AdapterEvent, BuildError, CallContext, CallerInputs, ErrorClass, Looked, Method, Offer,
    OfferedTool, Reply, Request, Sent, Sought,
    health::{self, Health},
    registry::Shown,
};

/// Asking again and again with a credential that was refused locks accounts out.
const REFUSED_WAIT: Duration = Duration::from_secs(60);

/// A ticketing system. Dropping it ends its probes.
pub(crate) struct Ticketing {
    name: Box<str>,
    system: Arc<System>,
    is_per_caller: bool,
    health: Arc<Health>,
    tools: Vec<(&'static str, Box<RawValue>)>,
    _watch: AbortOnDropHandle<()>,
}

/// The system behind it, by its provider.
enum System {
    Jira(Jira),
}

/// What a probe found wrong.
#[derive(Debug)]
struct Trouble {
    /// For the operator.
    reason: String,
    /// Whether the credential is what is wrong: that takes longer to mend than a cable.
    refused: bool,
}

impl Ticketing {
    /// Makes the adapter and looks in the background whether the system is there. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`BuildError`] names the setting that is wrong.
    pub(crate) fn new(
        name: &DownstreamName,
        settings: &config::downstream::Ticketing,
        downstream: &Downstream,
        shown: Shown<'_>,
        sources: &Sources,
    ) -> Result<Self, BuildError> {
        let health = Arc::new(Health::new());
        let system = Arc::new(match settings.provider {
            Provider::Jira => System::Jira(Jira::new(name, settings, Arc::clone(&health), shown, sources)?),
        });
        let is_per_caller = downstream.credential().is_some_and(Credential::is_per_caller);
        // Nothing is known yet, so the first thing to happen is a probe.
        health.suspect();
        let (watched, told) = (Arc::clone(&system), Arc::clone(&health));
        let probe = move || probe(Arc::clone(&watched), Arc::clone(&told));
        let watch = tokio::spawn(health::watch(Arc::clone(&health), probe));
        Ok(Self {
            name: name.as_str().into(),
            tools: tools::all(|tool| downstream.effect_of(tool)),
            system,
            is_per_caller,
            health,
            _watch: AbortOnDropHandle::new(watch),
        })
    }

    fn offer(&self) -> Offer {
        let offered = |(name, definition): &(&str, Box<RawValue>)| OfferedTool {
            local_name: (*name).into(),
            definition: definition.clone(),
            caller_inputs: CallerInputs::of(self.is_per_caller),
        };
        Offer { tools: self.tools.iter().map(offered).collect(), ..Offer::default() }
    }

    async fn answer(&self, ctx: &CallContext, request: &Request) -> Result<Reply, AdapterError> {
        let Method::CallTool = request.method;
        let tool = &*request.local_name;
        let call = Call::read(tool, request.arguments.as_deref().unwrap_or(b"{}")).ok_or_else(|| {
            AdapterError::not_sent(ErrorClass::Rejected, format!("{} has no tool of this name.", self.name))
        })??;
        let turn = Turn { ctx, tool };
        let System::Jira(jira) = &*self.system;
        match jira.call(turn, call).await {
            Ok(result) => Ok(Reply::Complete(result)),
            Err(Failure::NotFound) => Ok(Reply::NotFound(ticket::failure(&format!(
                "{} has no such ticket or project, or its account there may not see it. Nothing was changed.",
                self.name
            )))),
            Err(Failure::Failed(error)) => Err(certain(error, ctx, request)),
        }
    }
}

impl Adapter for Ticketing {
    /// The tools are the same whether or not the system is there now. Who asks for them wants to know that as well, so the first
    /// probe is waited for.
    fn list<'a>(&'a self, ctx: &'a CallContext) -> BoxFuture<'a, Result<Offer, AdapterError>> {
        async {
            self.health.settled(ctx.deadline).await;
            Ok(self.offer())
        }
        .boxed()
    }

    fn call<'a>(&'a self, ctx: &'a CallContext, request: Request) -> BoxFuture<'a, Result<Reply, AdapterError>> {
        async move {
            tokio::select! {
                biased;
                () = ctx.withdrawn() => Err(cancelled(&request)),
                answer = self.answer(ctx, &request) => answer,
            }
        }
        .boxed()
    }

    fn look_for<'a>(&'a self, ctx: &'a CallContext, sought: Sought<'a>) -> BoxFuture<'a, Result<Looked, AdapterError>> {
        async move {
            let System::Jira(jira) = &*self.system;
            match jira.look_for(Turn { ctx, tool: sought.local_name }, sought).await {
                Ok(looked) => Ok(looked),
                Err(Failure::NotFound) => Ok(Looked::NotSeen),
                Err(Failure::Failed(error)) => Err(error),
            }
        }
        .boxed()
    }

    fn events(&self) -> BoxStream<'static, AdapterEvent> {
        self.health.events()
    }
}

/// One cheap question to the system.
async fn probe(system: Arc<System>, health: Arc<Health>) -> Result<(), Option<String>> {
    let System::Jira(jira) = &*system;
    match jira.probe().await {
        Ok(()) => Ok(()),
        Err(Trouble { reason, refused: false }) => Err(Some(reason)),
        Err(Trouble { reason, refused: true }) => {
            health.down(&reason);
            tokio::time::sleep(REFUSED_WAIT).await;
            Err(None)
        }
    }
}

fn cancelled(request: &Request) -> AdapterError {
    // The gate of a write was still closed; a read passes none.
    let sent = if request.effect.writes() { Sent::No } else { Sent::Unknown };
    AdapterError::new(ErrorClass::Cancelled, sent, "The call was cancelled.")
}

/// Before a write there are questions. One that fails leaves no doubt about the write: its gate is still closed.
fn certain(mut error: AdapterError, ctx: &CallContext, request: &Request) -> AdapterError {
    if !request.effect.writes() || ctx.gate.passed() || error.sent == Sent::No {
        return error;
    }
    if error.sent == Sent::Unknown {
        error.sent = Sent::No;
    }
    if !error.message.contains("Nothing was ") {
        error.message.push_str(" Nothing was written.");
    }
    error
}

impl fmt::Debug for Ticketing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticketing").field("name", &self.name).finish_non_exhaustive()
    }
}

//! What every adapter keeps to, whatever it talks to. Each kind calls [`hold`] with a real counterpart of its own.

use std::{sync::Arc, time::Duration};

use adapters::{
    Adapter, AdapterError, AdapterEvent, CallContext, Caller, Deadline, ErrorClass, Health, Reply, Request, Sent,
};
use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, future::BoxFuture};
use tokio::time::{Instant, timeout};

/// What a kind of downstream brings to the suite.
pub trait Fixture: Send + Sync {
    /// An adapter whose downstream answers.
    fn adapter(&self) -> Arc<dyn Adapter>;

    /// An adapter whose downstream cannot be reached.
    fn unreachable(&self) -> Arc<dyn Adapter>;

    /// A read that answers at once.
    fn quick(&self) -> Request;

    /// A read that takes minutes, until it is cancelled.
    fn slow(&self) -> Request;

    /// Ends when exactly `count` slow reads run in the downstream, as the downstream itself sees it. Fails when that takes too long.
    fn until_running(&self, count: usize) -> BoxFuture<'_, Result<()>>;

    /// A read whose answer is larger than this adapter accepts.
    fn oversized(&self) -> Request;

    /// The size, in bytes, that no answer exceeds.
    fn bytes_max(&self) -> usize;

    /// A call that the downstream understands and refuses.
    fn refused(&self) -> Request;

    /// A call with arguments that cannot be what the tool takes; `None` where the downstream alone judges them.
    fn misfit(&self) -> Option<Request>;

    /// What must appear nowhere: passwords, tokens, whole connection strings.
    fn secrets(&self) -> Vec<String>;
}

/// How long anything here may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon work must have ended that nobody waits for.
const SOON: Duration = Duration::from_secs(5);
/// How late an answer may be after its deadline, on a busy machine.
const LATENESS_MAX: Duration = Duration::from_millis(900);

/// Checks the whole contract.
///
/// # Errors
/// The first promise that is broken.
pub async fn hold(fixture: &dyn Fixture) -> Result<()> {
    it_lists_and_answers(fixture).await.context("it lists and answers")?;
    a_deadline_is_kept(fixture).await.context("a deadline is kept")?;
    a_cancelled_call_frees_its_connection(fixture).await.context("a cancelled call frees its connection")?;
    a_dropped_future_leaves_nothing_running(fixture).await.context("a dropped future leaves nothing running")?;
    an_oversized_answer_is_cut_or_refused(fixture).await.context("an oversized answer is cut or refused")?;
    every_failure_has_its_class(fixture).await.context("every failure has its class")?;
    the_state_is_told(fixture).await.context("the state is told")?;
    no_secret_is_shown(fixture).await.context("no secret is shown")
}

/// A call with `period` to its deadline.
#[must_use]
pub fn context(period: Duration) -> CallContext {
    CallContext::new(Arc::new(Caller::local(&[])), Deadline::after(period))
}

async fn it_lists_and_answers(fixture: &dyn Fixture) -> Result<()> {
    let adapter = fixture.adapter();
    let ctx = context(PATIENCE);
    let offer = adapter.list(&ctx).await?;
    let quick = fixture.quick();
    let tool =
        offer.tools.iter().find(|tool| tool.local_name == quick.local_name).context("the quick tool is not listed")?;
    let definition: serde_json::Value = serde_json::from_str(tool.definition.get())?;
    ensure!(definition["name"] == *tool.local_name, "the definition has another name: {definition}");
    ensure!(definition["inputSchema"]["type"] == "object", "no input schema: {definition}");
    answers(&*adapter, &quick).await
}

async fn a_deadline_is_kept(fixture: &dyn Fixture) -> Result<()> {
    let adapter = fixture.adapter();
    let period = Duration::from_millis(300);
    let started = Instant::now();
    let error = failure(&*adapter, &context(period), fixture.slow()).await?;
    let late = started.elapsed().saturating_sub(period);
    ensure!(late < LATENESS_MAX, "the answer came {late:?} after the deadline");
    expect(&error, ErrorClass::Timeout)?;
    until_nothing_runs(fixture).await?;
    answers(&*adapter, &fixture.quick()).await
}

async fn a_cancelled_call_frees_its_connection(fixture: &dyn Fixture) -> Result<()> {
    let adapter = fixture.adapter();
    let ctx = context(PATIENCE);
    let (error, cancelled) = tokio::join!(failure(&*adapter, &ctx, fixture.slow()), async {
        fixture.until_running(1).await?;
        ctx.cancel.cancel();
        Ok::<_, anyhow::Error>(())
    });
    cancelled?;
    expect(&error?, ErrorClass::Cancelled)?;
    until_nothing_runs(fixture).await?;
    answers(&*adapter, &fixture.quick()).await
}

async fn a_dropped_future_leaves_nothing_running(fixture: &dyn Fixture) -> Result<()> {
    const CALLS: usize = 3;
    let adapter = fixture.adapter();
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let (adapter, request) = (adapter.clone(), fixture.slow());
            tokio::spawn(async move { adapter.call(&context(PATIENCE), request).await.map(drop) })
        })
        .collect();
    fixture.until_running(CALLS).await?;
    for call in calls {
        call.abort();
        ensure!(call.await.is_err_and(|error| error.is_cancelled()), "a slow call ended by itself");
    }
    until_nothing_runs(fixture).await?;
    answers(&*adapter, &fixture.quick()).await
}

async fn an_oversized_answer_is_cut_or_refused(fixture: &dyn Fixture) -> Result<()> {
    let adapter = fixture.adapter();
    match timeout(PATIENCE, adapter.call(&context(PATIENCE), fixture.oversized())).await.context("stuck")? {
        Ok(Reply::Complete(bytes)) => {
            ensure!(bytes.len() <= fixture.bytes_max(), "the answer has {} bytes", bytes.len());
            let answer: serde_json::Value = serde_json::from_slice(&bytes)?;
            ensure!(answer["structuredContent"]["truncated"] == true, "the answer is cut and does not say so");
        }
        Ok(other) => bail!("neither cut nor refused: {other:?}"),
        Err(error) => expect(&error, ErrorClass::TooLarge)?,
    }
    answers(&*adapter, &fixture.quick()).await
}

async fn every_failure_has_its_class(fixture: &dyn Fixture) -> Result<()> {
    let adapter = fixture.adapter();
    let ctx = || context(PATIENCE);
    expect(&failure(&*adapter, &ctx(), fixture.refused()).await?, ErrorClass::Rejected)?;
    if let Some(misfit) = fixture.misfit() {
        let error = failure(&*adapter, &ctx(), misfit).await?;
        expect(&error, ErrorClass::InvalidArguments)?;
        ensure!(error.sent == Sent::No, "arguments that do not fit were sent: {error:?}");
    }
    let error = failure(&*fixture.unreachable(), &ctx(), fixture.quick()).await?;
    expect(&error, ErrorClass::Unreachable)?;
    ensure!(error.sent == Sent::No, "sent to where nobody is: {error:?}");
    answers(&*adapter, &fixture.quick()).await
}

async fn the_state_is_told(fixture: &dyn Fixture) -> Result<()> {
    let (up, down) = (fixture.adapter(), fixture.unreachable());
    answers(&*up, &fixture.quick()).await?;
    let reason = until_state(&*up, Health::Up).await?;
    ensure!(reason.is_none(), "up, with a reason: {reason:?}");
    failure(&*down, &context(PATIENCE), fixture.quick()).await?;
    let reason = until_state(&*down, Health::Down).await?;
    ensure!(reason.is_some_and(|reason| !reason.is_empty()), "down, without a reason");
    Ok(())
}

async fn no_secret_is_shown(fixture: &dyn Fixture) -> Result<()> {
    let secrets = fixture.secrets();
    ensure!(!secrets.is_empty(), "no secret to look for");
    let clean = |what: &str, text: &str| {
        let shown = secrets.iter().any(|secret| text.contains(secret.as_str()));
        ensure!(!shown, "{what} shows a secret");
        Ok(())
    };
    let short = context(Duration::from_millis(200));
    let (up, down) = (fixture.adapter(), fixture.unreachable());
    let errors = [
        failure(&*up, &context(PATIENCE), fixture.refused()).await?,
        failure(&*up, &short, fixture.slow()).await?,
        failure(&*down, &context(PATIENCE), fixture.quick()).await?,
    ];
    for error in &errors {
        clean("an error's Debug", &format!("{error:?}"))?;
        clean("an error's message", &error.to_string())?;
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            clean("an error's cause", &format!("{cause} {cause:?}"))?;
            source = cause.source();
        }
    }
    clean("the reason of a state", &until_state(&*down, Health::Down).await?.unwrap_or_default())?;
    until_nothing_runs(fixture).await
}

/// Ends when the adapter says that its downstream is in `health`, with the reason it gives.
///
/// # Errors
/// When that takes too long.
pub async fn until_state(adapter: &dyn Adapter, health: Health) -> Result<Option<String>> {
    let mut events = adapter.events();
    let wait = async {
        while let Some(event) = events.next().await {
            if let AdapterEvent::State(state) = event
                && state.health == health
            {
                return Ok(state.reason);
            }
        }
        bail!("the events ended")
    };
    timeout(PATIENCE, wait).await.with_context(|| format!("never {}", health.as_str()))?
}

/// Long before the downstream would end a slow read by itself, at the call's deadline.
async fn until_nothing_runs(fixture: &dyn Fixture) -> Result<()> {
    timeout(SOON, fixture.until_running(0)).await.context("something still runs in the downstream")?
}

async fn answers(adapter: &dyn Adapter, request: &Request) -> Result<()> {
    let ctx = context(PATIENCE);
    match adapter.call(&ctx, request.clone()).await? {
        Reply::Complete(_) => Ok(()),
        other => bail!("the quick call was answered with {other:?}"),
    }
}

async fn failure(adapter: &dyn Adapter, ctx: &CallContext, request: Request) -> Result<AdapterError> {
    match timeout(PATIENCE, adapter.call(ctx, request)).await.context("stuck")? {
        Ok(reply) => bail!("no failure but {reply:?}"),
        Err(error) => Ok(error),
    }
}

fn expect(error: &AdapterError, class: ErrorClass) -> Result<()> {
    ensure!(error.class == class, "not {} but {error:?}", class.as_str());
    ensure!(!error.message.is_empty(), "no message: {error:?}");
    Ok(())
}

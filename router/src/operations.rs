//! Writes happen once: what is kept of each, what its idempotency key came to, and what became of it.
//!
//! A call that writes is an *operation*, named by the id of its request. It is told to the ledger before its first byte leaves, and its end is told
//! before its caller hears of it. The same key of the same caller is the same operation, at any replica.

mod kept;
mod key;
mod look;
mod status;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use adapters::{AdapterError, CallContext, Caller, ErrorClass, Reply, Request, SendGate, WriteCall};
use cache::{
    Begun as Looked, Canonical, Known, Ledger, LedgerSettings, NewWrite, OperationState, Owner, Ticket, Unknowable,
    redis::Redis,
};
use config::Config;
use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    audit::{Intent, Unaudited},
    call::{self, Trail},
    catalog::Tool,
    error::{CallError, millis},
    guard,
    masking::{Print, Sight},
    seal::Masters,
    telemetry,
};

use kept::{About, End};
pub use key::IdempotencyKey;
pub(crate) use look::after_doubt;
pub(crate) use status::{LOCAL_NAME as STATUS, Status};

/// What callers call the tool that tells what became of a write.
pub(crate) const OPERATION_STATUS: &str = "weir__operation_status";
/// The largest answer that is kept for repeats of its key.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long a write with a key counts as alive without a sign of life from its replica.
const LEASE: Duration = Duration::from_secs(10);
/// A repeat that waits looks so often by itself: what is published may be lost.
const LOOK_EACH: Duration = Duration::from_millis(500);
/// When a call with a key may be tried again while Redis is gone: it is tried each second.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What is kept of writes.
#[derive(Debug, Clone)]
pub(crate) struct Operations {
    ledger: Ledger,
}

/// What a call that writes is to become.
#[derive(Debug)]
pub(crate) enum Begun {
    /// A write that is to be made.
    First(Arc<Operation>),
    /// The write was made before: what it came to, and its id.
    Before(Result<Reply, CallError>, Uuid),
}

/// A write that is to be made. One that is dropped before its end was told has not been sent, or its outcome is unknown.
#[derive(Debug)]
pub(crate) struct Operation {
    ticket: Ticket,
    has_key: bool,
    passed_key: String,
    gate: Arc<SendGate>,
    /// What has to be on the disk before it is sent.
    intent: OnceLock<Intent>,
    /// Why it may not be sent: what is known of its key cannot be asked,
    unknowable: OnceLock<Unknowable>,
    /// or no record of it can be written.
    unaudited: OnceLock<Unaudited>,
    settled: AtomicBool,
}

impl Operations {
    /// In Redis where there is one. Must be made within a tokio runtime.
    pub(crate) fn new(config: &Config, masters: &Masters, redis: Option<Redis>) -> Self {
        let kept_for = config.operations.kept_for.0;
        let settings = LedgerSettings {
            kept_for,
            refused_after_loss: config.operations.refused_after_loss.map_or(kept_for, |period| period.0),
            // The first byte says what kind of answer it is.
            answer_bytes_max: ANSWER_BYTES_MAX + 1,
            replica_timeout: config.redis.as_ref().map_or(Duration::ZERO, |redis| redis.command_timeout.0),
        };
        let secret = masters.store_secret("operation/name");
        let ledger = match redis {
            Some(redis) => {
                let sealer = masters.store_sealer("operation/value", ANSWER_BYTES_MAX + 1);
                Ledger::shared(redis, settings, sealer, &secret)
            }
            None => Ledger::in_memory(settings, &secret),
        };
        Self { ledger }
    }

    /// What a call that writes is to become: the first with its key, or one that was made before. A repeat waits for the one that runs.
    pub(crate) async fn begin(
        &self,
        ctx: &CallContext,
        tool: &Tool,
        request: &Request,
        key: Option<&IdempotencyKey>,
        sight: &Sight,
        trail: &Trail,
    ) -> Result<Begun, CallError> {
        let (owner, names) = (self.owner(&ctx.caller), self.ledger.names());
        let rights = self.rights(&ctx.caller, sight.print());
        let operation = ctx.request_id.into_bytes();
        let about = About::of(tool, rights);
        let gate = ctx.gate.clone();
        let Some(key) = key else {
            let write =
                NewWrite { operation, lease: ctx.deadline.remaining() + 2 * guard::LATE, print: [0; 16], about };
            let passed_key = names.passed_on(owner, &operation);
            return Ok(Begun::First(Operation::new(self.ledger.keyless(owner, &write), false, passed_key, gate)));
        };
        let arguments = request.arguments.as_deref().unwrap_or(b"{}");
        let canonical = Canonical::of(arguments).ok();
        let arguments = canonical.as_ref().map_or(arguments, |canonical| canonical.as_str().as_bytes());
        let print = names.print(&[tool.name.downstream.as_str().as_bytes(), tool.name.local.as_bytes(), arguments]);
        let write = NewWrite { operation, lease: LEASE, print, about };
        let mut watch = None;
        loop {
            let before = match self.ledger.begin(owner, key.as_bytes(), &write).await {
                Ok(Looked::First(ticket)) => {
                    came_to(trail, "first");
                    let passed_key = names.passed_on(owner, key.as_bytes());
                    return Ok(Begun::First(Operation::new(ticket, true, passed_key, gate)));
                }
                Ok(Looked::Before(before)) => before,
                Err(unknowable) => {
                    came_to(trail, "gone");
                    return Err(keys_gone(unknowable));
                }
            };
            let id = Uuid::from_bytes(before.operation);
            if before.print != print {
                came_to(trail, "reused");
                return Err(CallError::KeyReused { operation_id: id.to_string() });
            }
            let word = if watch.is_some() { "waited" } else { "repeated" };
            match before.state {
                OperationState::Done => {
                    came_to(trail, word);
                    return Ok(Begun::Before(answer_of_before(&before, tool, rights), id));
                }
                OperationState::Unknown => {
                    came_to(trail, word);
                    let found = look::at_once(self, ctx, tool, request, (owner, rights), &before, sight).await;
                    return Ok(Begun::Before(found.unwrap_or_else(|| Err(in_doubt(tool, id))), id));
                }
                OperationState::Waiting | OperationState::Sent | OperationState::NotMade => {}
            }
            let left = ctx.deadline.remaining();
            if left.is_zero() {
                came_to(trail, word);
                return Err(CallError::Withheld { operation_id: id.to_string(), state: "running" });
            }
            // Looked at once more before the wait: it may have ended while nobody listened.
            match &mut watch {
                None => watch = Some(self.ledger.watch()),
                Some(watch) => tokio::select! {
                    () = watch.ended(before.operation, left.min(LOOK_EACH)) => {}
                    () = ctx.cancel.cancelled() => return Err(CallError::Cancelled),
                },
            }
        }
    }

    /// Whether a write with a new idempotency key would be made now, for operators.
    pub(crate) async fn explained(&self) -> Value {
        let kept_in = if self.ledger.is_shared() { "redis" } else { "memory" };
        match self.ledger.takes_keys().await {
            Ok(()) => json!({ "taken": true, "kept_in": kept_in }),
            Err(unknowable) => {
                let wait_ms = millis(wait(unknowable));
                json!({ "taken": false, "kept_in": kept_in, "why": unknowable.to_string(), "retry_after_ms": wait_ms })
            }
        }
    }

    /// Waits until what is told beside the path of calls has been told.
    pub(crate) async fn settled(&self, at_most: Duration) {
        if tokio::time::timeout(at_most, self.ledger.settled()).await.is_err() {
            tracing::warn!("what became of some writes could not be told in Redis: their status will be unknown");
        }
    }

    fn owner(&self, caller: &Caller) -> Owner {
        let principal = &caller.principal;
        let tenant = principal.tenant.as_deref();
        let (has_tenant, tenant) = ([u8::from(tenant.is_some())], tenant.unwrap_or_default());
        let parts: [&[u8]; 4] =
            [principal.issuer.as_bytes(), principal.subject.as_bytes(), &has_tenant, tenant.as_bytes()];
        self.ledger.names().owner(&parts)
    }

    /// Changes with the roles of a caller, and with what is masked for it: whoever sees something else now may not see what was answered then.
    fn rights(&self, caller: &Caller, print: &Print) -> [u8; 16] {
        let mut roles: Vec<&[u8]> = caller.roles.iter().map(|role| role.as_bytes()).collect();
        roles.sort_unstable();
        roles.push(print);
        self.ledger.names().print(&roles)
    }
}

impl Operation {
    fn new(ticket: Ticket, has_key: bool, passed_key: [u8; 16], gate: Arc<SendGate>) -> Arc<Self> {
        let passed_key = Uuid::from_bytes(passed_key).simple().to_string();
        Arc::new(Self {
            ticket,
            has_key,
            passed_key,
            gate,
            intent: OnceLock::new(),
            unknowable: OnceLock::new(),
            unaudited: OnceLock::new(),
            settled: AtomicBool::new(false),
        })
    }

    /// What has to be on the disk before the write is sent, if anything.
    pub(crate) fn is_recorded_by(&self, intent: Option<Intent>) {
        if let Some(intent) = intent {
            let _ = self.intent.set(intent);
        }
    }

    /// Tells the end of the write, before its caller hears of it.
    pub(crate) async fn ended(&self, outcome: Result<Reply, CallError>) -> Result<Reply, CallError> {
        let outcome = match self.unknowable.get() {
            Some(&unknowable) if matches!(outcome, Err(CallError::Cancelled)) => Err(keys_gone(unknowable)),
            _ => outcome,
        };
        let outcome = match self.unaudited.get() {
            Some(&unaudited) if matches!(outcome, Err(CallError::Cancelled)) => Err(call::unaudited(unaudited)),
            _ => outcome,
        };
        self.tell(End::of(&outcome, self.has_key, self.gate.passed())).await;
        outcome
    }

    async fn tell(&self, end: End) {
        self.settled.store(true, Ordering::Release);
        match end {
            End::NotMade => self.ticket.release().await,
            End::Unknown => self.ticket.unknown().await,
            End::Done(answer) => self.ticket.done(answer).await,
        }
    }
}

impl WriteCall for Operation {
    fn about_to_send(&self) -> BoxFuture<'_, Result<(), AdapterError>> {
        async {
            // Before the ledger hears of it: a write that is refused here was never begun.
            if let Some(intent) = self.intent.get() {
                intent.written().await.map_err(|unaudited| {
                    let _ = self.unaudited.set(unaudited);
                    AdapterError::not_sent(
                        ErrorClass::Cancelled,
                        "No audit record can be written now; nothing was sent.",
                    )
                })?;
            }
            self.ticket.sent().await.map_err(|unknowable| {
                let _ = self.unknowable.set(unknowable);
                // Nobody withdrew it, but nothing is wrong with the downstream either, and it is not to be tried again.
                AdapterError::not_sent(
                    ErrorClass::Cancelled,
                    "What is known of idempotency keys cannot be asked now; nothing was sent.",
                )
            })
        }
        .boxed()
    }

    fn passed_key(&self) -> &str {
        &self.passed_key
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.settled.load(Ordering::Acquire) {
            return;
        }
        let (ticket, left) = (self.ticket.clone(), self.gate.passed());
        // Without a runtime the process ends, and so does the lease.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { if left { ticket.unknown().await } else { ticket.release().await } });
        }
    }
}

fn came_to(trail: &Trail, word: &'static str) {
    trail.note(|decisions| decisions.key = Some(word));
    telemetry::idempotency_key(word);
}

fn keys_gone(unknowable: Unknowable) -> CallError {
    CallError::KeysGone { retry_after_ms: millis(wait(unknowable)) }
}

fn wait(unknowable: Unknowable) -> Duration {
    match unknowable {
        Unknowable::Lost { refused_for } => refused_for,
        Unknowable::Gone | Unknowable::Full => RETRY_AFTER,
    }
}

/// The answer of before, unless it is not to be seen any more or was not kept.
fn answer_of_before(before: &Known, tool: &Tool, rights: [u8; 16]) -> Result<Reply, CallError> {
    let withheld = || {
        let operation_id = Uuid::from_bytes(before.operation).to_string();
        Err(CallError::Withheld { operation_id, state: "done" })
    };
    if About::read(&before.about).rights != rights {
        return withheld();
    }
    before.answer.as_ref().and_then(|kept| kept::again(kept, tool)).unwrap_or_else(withheld)
}

fn in_doubt(tool: &Tool, operation: Uuid) -> CallError {
    let error = AdapterError::maybe_sent(ErrorClass::ConnectionLost, "it was made before with this idempotency key");
    let operation_id = operation.to_string();
    CallError::OutcomeUnknown { tool: tool.name.shown.clone(), operation_id, error: Box::new(error) }
}

//! One connection to an MCP server, whatever carries it: many callers' requests under ids of Weir's own, each answer to its call.
//!
//! The transport takes what is to be sent from the [`Outbox`], gives what arrives to [`Peer::receive`], and says with
//! [`Peer::end`] that it is over.

mod outbox;
mod table;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    answer::{self, Belonging, Incoming, Outcome},
    failure::Failure,
    request,
};
use crate::{AdapterError, CallContext, Deadline, ErrorClass, Notice, Notices, Sent};

pub(super) use outbox::Outbox;
use outbox::{Outgoing, Ticket};
use table::{Table, Waiter};

/// How many requests of one connection may wait for their answers.
const IN_FLIGHT_MAX: usize = 4096;
/// How many messages without meaning a server may send in a row before the connection is ended.
const GARBAGE_MAX: u32 = 32;
/// The longest id of a server's question that is answered.
const QUESTION_ID_BYTES_MAX: usize = 256;

/// One connection to an MCP server.
pub(super) struct Peer {
    downstream: Arc<str>,
    table: Table,
    next_id: AtomicU64,
    requests: mpsc::Sender<Outgoing>,
    /// What nobody waits for: cancellations, and answers to the server's questions.
    asides: mpsc::Sender<String>,
    /// Whether the modern era is spoken; settled by the handshake.
    modern: AtomicBool,
    /// Whether one call has this connection to itself.
    exclusive: bool,
    /// The id of the `subscriptions/listen` request, 0 while there is none.
    listening: AtomicU64,
    list_changes: watch::Sender<u64>,
    garbage: AtomicU32,
    over: CancellationToken,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// The bytes of the `result` object.
    Result(Bytes),
    /// The bytes of the `error` object.
    Error(Bytes),
    /// The server answered, and not as the protocol allows.
    Malformed,
    /// The connection ended first. `alone`: no other call waited, so whatever it ended of was this answer.
    Lost { failure: Arc<Failure>, sent: Sent, alone: bool },
}

impl Peer {
    /// A connection that is about to carry messages. `list_changes` counts the server's notices that its tools changed.
    pub(super) fn new(downstream: Arc<str>, exclusive: bool, list_changes: watch::Sender<u64>) -> (Arc<Self>, Outbox) {
        let (requests, asides, outbox) = outbox::channel();
        let peer = Self {
            downstream,
            table: Table::default(),
            next_id: AtomicU64::new(1),
            requests,
            asides,
            modern: AtomicBool::new(false),
            exclusive,
            listening: AtomicU64::new(0),
            list_changes,
            garbage: AtomicU32::new(0),
            over: CancellationToken::new(),
        };
        (Arc::new(peer), outbox)
    }

    /// Queues the request that `build` makes for its id. For a write the gate of `write` is awaited before it can leave.
    /// Has no deadline of its own; while it has not returned, nothing was sent.
    pub(super) async fn start(
        self: &Arc<Self>,
        write: Option<&CallContext>,
        notices: Option<Notices>,
        build: impl FnOnce(u64) -> Result<String, AdapterError>,
    ) -> Result<InFlight, AdapterError> {
        let place = self.requests.reserve().await.map_err(|_| self.lost_before())?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let text = build(id)?;
        if let Some(ctx) = write {
            ctx.about_to_send().await?;
        }
        let (sender, answer) = oneshot::channel();
        let ticket = Ticket::default();
        let waiter = Waiter { answer: sender, notices, progress: None, ticket: ticket.clone() };
        match self.table.insert(id, waiter, IN_FLIGHT_MAX) {
            Ok(()) => {}
            Err(table::Refused::Full) => return Err(self.full()),
            Err(table::Refused::Ended(failure)) => return Err(failure.for_call(&self.downstream, Sent::No, false)),
        }
        place.send(Outgoing { text, ticket: ticket.clone() });
        Ok(InFlight { peer: Arc::clone(self), id, ticket, answer, over: false })
    }

    /// Asks something on Weir's own account and waits for the answer.
    pub(super) async fn ask(
        self: &Arc<Self>,
        limit: Deadline,
        build: impl FnOnce(u64) -> String,
    ) -> Result<Answer, AdapterError> {
        let asking = async {
            let mut in_flight = self.start(None, None, |id| Ok(build(id))).await?;
            Ok(in_flight.answer().await)
        };
        let message = || format!("{} did not answer in time.", self.downstream);
        tokio::time::timeout_at(limit.at(), asking)
            .await
            .unwrap_or_else(|_| Err(AdapterError::maybe_sent(ErrorClass::Timeout, message())))
    }

    /// Sends something that has no answer, if there is room.
    pub(super) fn say(&self, text: String) {
        if self.asides.try_send(text).is_err() {
            tracing::debug!(downstream = %self.downstream, "a notification found no room in the queue and was dropped");
        }
    }

    /// The handshake settled the era.
    pub(super) fn speak_modern(&self) {
        self.modern.store(true, Ordering::Release);
    }

    pub(super) fn is_modern(&self) -> bool {
        self.modern.load(Ordering::Acquire)
    }

    pub(super) fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// From now on notices of list changes come under this `subscriptions/listen` request.
    pub(super) fn listen_under(&self, id: u64) {
        self.listening.store(id, Ordering::Release);
    }

    /// One message from the server.
    ///
    /// # Errors
    /// When the server has sent so much nonsense that the connection must end.
    pub(super) fn receive(&self, frame: &Bytes) -> Result<(), Failure> {
        let Ok(text) = std::str::from_utf8(frame) else { return self.put_up_with_garbage() };
        match answer::read(text) {
            Incoming::Batch(messages) if !self.is_modern() => {
                messages.into_iter().try_for_each(|message| self.dispatch(frame, answer::read(message)))
            }
            message => self.dispatch(frame, message),
        }
    }

    fn dispatch(&self, frame: &Bytes, message: Incoming<'_>) -> Result<(), Failure> {
        match message {
            Incoming::Answer { id, outcome } => self.answered(frame, id, &outcome),
            Incoming::Question { id, method } => self.asked(id, &method),
            Incoming::Notification { method, params } => self.notified(frame, &method, params),
            // JSON-RPC 2.0, section 5: `id` is null where the server could not tell what it answers. Some servers answer a
            // notification with it that they do not know, such as the cancellation of one caller: that costs nobody the connection.
            Incoming::Complaint => {
                tracing::debug!(downstream = %self.downstream, "the server reports an error of no request");
            }
            Incoming::Batch(_) | Incoming::Garbage => return self.put_up_with_garbage(),
        }
        self.garbage.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn answered(&self, frame: &Bytes, id: &str, outcome: &Outcome<'_>) {
        let answer = match outcome {
            Outcome::Result(text) => Answer::Result(frame.slice_ref(text.as_bytes())),
            Outcome::Error(text) => Answer::Error(frame.slice_ref(text.as_bytes())),
            Outcome::Malformed => Answer::Malformed,
        };
        match id.parse().ok().and_then(|id| self.table.take_sent(id)) {
            // Nobody may be waiting any more: then the answer is late, and dropped.
            Some(waiter) => drop(waiter.answer.send(answer)),
            None => tracing::debug!(downstream = %self.downstream, "an answer that no call waits for was dropped"),
        }
    }

    /// Only the legacy era knows questions of the server. There a shared connection offers no answers but to `ping`.
    fn asked(&self, id: &str, method: &str) {
        if self.is_modern() || id.len() > QUESTION_ID_BYTES_MAX {
            tracing::debug!(downstream = %self.downstream, "a question of the server was left unanswered");
        } else if method == "ping" {
            self.say(request::pong(id));
        } else {
            self.say(request::not_offered(id));
        }
    }

    fn notified(&self, frame: &Bytes, method: &str, params: Option<&str>) {
        let belonging = Belonging::of(params);
        let slice = || frame.slice_ref(params.unwrap_or_default().as_bytes());
        match method {
            "notifications/progress" => {
                let token = belonging.progress_token.and_then(|token| token.get().parse().ok());
                let progress = belonging.progress.and_then(|progress| progress.as_f64());
                if let (Some(id), Some(progress)) = (token, progress) {
                    self.table.tell_progress(id, progress, || Notice::Progress(slice()));
                }
            }
            // On a shared channel a log message does not say whose it is (MCP 2026-07-28, "Logging").
            "notifications/message" if self.exclusive && params.is_some() => {
                self.table.tell_only(|| Notice::Message(slice()));
            }
            "notifications/message" => tracing::debug!(downstream = %self.downstream, "a log message of the server"),
            "notifications/tools/list_changed" => self.list_changed(&belonging),
            "notifications/cancelled" => {
                // MCP 2026-07-28, "Subscriptions": with this the server tears a subscription down.
                let listening = self.listening.load(Ordering::Acquire);
                let id = belonging.request_id.and_then(|id| id.get().parse::<u64>().ok());
                if id.is_some_and(|id| id == listening)
                    && let Some(waiter) = self.table.take_sent(listening)
                {
                    let _ = waiter.answer.send(Answer::Result(Bytes::from_static(b"{}")));
                }
            }
            _ => tracing::trace!(downstream = %self.downstream, "a notification without meaning to Weir"),
        }
    }

    fn list_changed(&self, belonging: &Belonging<'_>) {
        let listening = self.listening.load(Ordering::Acquire);
        if !self.is_modern() || (listening != 0 && belonging.subscription() == Some(listening)) {
            self.list_changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn put_up_with_garbage(&self) -> Result<(), Failure> {
        let count = self.garbage.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(downstream = %self.downstream, count, "the server sent something that is no message of the protocol");
        if count < GARBAGE_MAX {
            Ok(())
        } else {
            Err(Failure::protocol("the server keeps sending what is no message of the protocol"))
        }
    }

    /// The connection is over: whoever waits learns it now.
    pub(super) fn end(&self, failure: Failure) {
        let failure = Arc::new(failure);
        let mut waiters = self.table.end(&failure);
        // First of all no new call takes this connection, not even one of a caller who learns the end of another.
        self.over.cancel();
        // Nobody's call: what it waits for is the end.
        let listening = waiters.remove(&self.listening.load(Ordering::Acquire));
        let alone = waiters.len() == 1;
        for waiter in waiters.into_values().chain(listening) {
            let sent = if waiter.ticket.withdraw() { Sent::No } else { Sent::Unknown };
            let _ = waiter.answer.send(Answer::Lost { failure: Arc::clone(&failure), sent, alone });
        }
    }

    /// Waits for the end of the connection and says why it came.
    pub(super) async fn ended(&self) -> Arc<Failure> {
        self.over.cancelled().await;
        self.table.failure().unwrap_or_else(|| Arc::new(Failure::lost("the connection was closed")))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.over.is_cancelled()
    }

    fn lost_before(&self) -> AdapterError {
        let failure = self.table.failure().unwrap_or_else(|| Arc::new(Failure::lost("the connection was closed")));
        failure.for_call(&self.downstream, Sent::No, false)
    }

    fn full(&self) -> AdapterError {
        let message = format!(
            "{} has {IN_FLIGHT_MAX} calls unanswered, as many as one connection may have; try again in a moment.",
            self.downstream
        );
        AdapterError::not_sent(ErrorClass::Busy, message)
    }
}

/// A request whose answer is awaited. Dropping it withdraws the request.
pub(super) struct InFlight {
    peer: Arc<Peer>,
    id: u64,
    ticket: Ticket,
    answer: oneshot::Receiver<Answer>,
    over: bool,
}

impl InFlight {
    /// Waits for the answer. Has no deadline of its own; may be dropped and called again.
    pub(super) async fn answer(&mut self) -> Answer {
        let answer = (&mut self.answer).await;
        self.over = true;
        answer.unwrap_or_else(|_| {
            let failure = Arc::new(Failure::lost("the connection was closed"));
            Answer::Lost { failure, sent: Sent::Unknown, alone: false }
        })
    }

    /// Gives the request up and says whether it may have left. The server is told if so; a late answer is dropped.
    pub(super) fn abandon(mut self, reason: &str) -> Sent {
        self.withdraw(reason)
    }

    /// Gives the request up without telling the server, which may not know that it can be told.
    pub(super) fn forget(mut self) {
        self.over = true;
        self.peer.table.forget(self.id);
    }

    fn withdraw(&mut self, reason: &str) -> Sent {
        self.over = true;
        self.peer.table.forget(self.id);
        if self.ticket.withdraw() {
            return Sent::No;
        }
        if !self.peer.has_ended() {
            self.peer.say(request::cancelled(self.id, reason));
        }
        Sent::Unknown
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.over {
            self.withdraw("nobody waits for the answer any more");
        }
    }
}

#[cfg(test)]
mod tests;

//! What is to be sent on one connection, in order, and whether a request has left yet.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::mpsc;

/// How many requests may wait for the socket; more wait with their callers.
const REQUESTS_MAX: usize = 128;
/// How many cancellations and answers may wait for the socket; more are dropped.
const ASIDES_MAX: usize = 1024;

/// A request on its way to the socket.
pub(super) struct Outgoing {
    pub(super) text: String,
    pub(super) ticket: Ticket,
}

/// Whether a request has left: the caller that gives up and the writer settle it between them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ticket(Arc<AtomicU8>);

const QUEUED: u8 = 0;
const LEFT: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Ticket {
    /// The writer is about to write it. False when it was withdrawn.
    fn leave(&self) -> bool {
        self.0.compare_exchange(QUEUED, LEFT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The caller gives up. False when it has left already.
    pub(super) fn withdraw(&self) -> bool {
        match self.0.compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => state == WITHDRAWN,
        }
    }

    pub(super) fn has_left(&self) -> bool {
        self.0.load(Ordering::Acquire) == LEFT
    }
}

/// The transport's end: what is to be sent.
pub(in crate::mcp) struct Outbox {
    requests: mpsc::Receiver<Outgoing>,
    asides: mpsc::Receiver<String>,
}

pub(super) fn channel() -> (mpsc::Sender<Outgoing>, mpsc::Sender<String>, Outbox) {
    let (requests, request_receiver) = mpsc::channel(REQUESTS_MAX);
    let (asides, aside_receiver) = mpsc::channel(ASIDES_MAX);
    (requests, asides, Outbox { requests: request_receiver, asides: aside_receiver })
}

impl Outbox {
    /// The next message. A request counts as sent from here on. May be dropped while it waits.
    pub(in crate::mcp) async fn next(&mut self) -> String {
        loop {
            let outgoing = tokio::select! {
                biased;
                Some(aside) = self.asides.recv() => return aside,
                Some(outgoing) = self.requests.recv() => outgoing,
                else => std::future::pending().await,
            };
            if outgoing.ticket.leave() {
                return outgoing.text;
            }
        }
    }

    /// The next message, if one is there already.
    pub(in crate::mcp) fn try_next(&mut self) -> Option<String> {
        if let Ok(aside) = self.asides.try_recv() {
            return Some(aside);
        }
        loop {
            let outgoing = self.requests.try_recv().ok()?;
            if outgoing.ticket.leave() {
                return Some(outgoing.text);
            }
        }
    }

    /// The next message that nobody waits for, if one is there already.
    pub(in crate::mcp) fn try_next_aside(&mut self) -> Option<String> {
        self.asides.try_recv().ok()
    }
}

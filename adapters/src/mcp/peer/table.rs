//! Who waits for which answer on one connection.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{Answer, Failure, Ticket};
use crate::{Notice, Notices};

/// Who waits for one answer.
pub(super) struct Waiter {
    pub(super) answer: oneshot::Sender<Answer>,
    pub(super) notices: Option<Notices>,
    /// The last progress that was handed up: it only rises.
    pub(super) progress: Option<f64>,
    pub(super) ticket: Ticket,
}

/// Who waits for which answer. The mutex is held for a look-up at a time and never across an await.
#[derive(Default)]
pub(super) struct Table(Mutex<State>);

enum State {
    Open(HashMap<u64, Waiter>),
    Ended(Arc<Failure>),
}

impl Default for State {
    fn default() -> Self {
        Self::Open(HashMap::new())
    }
}

/// Why a request finds no place.
pub(super) enum Refused {
    Full,
    Ended(Arc<Failure>),
}

impl Table {
    pub(super) fn insert(&self, id: u64, waiter: Waiter, at_most: usize) -> Result<(), Refused> {
        match &mut *self.lock() {
            State::Open(waiters) if waiters.len() < at_most => drop(waiters.insert(id, waiter)),
            State::Open(_) => return Err(Refused::Full),
            State::Ended(failure) => return Err(Refused::Ended(Arc::clone(failure))),
        }
        Ok(())
    }

    /// Takes who waits for the answer to `id`, if that request has left: an answer to a question not yet asked is none.
    pub(super) fn take_sent(&self, id: u64) -> Option<Waiter> {
        let mut state = self.lock();
        let State::Open(waiters) = &mut *state else { return None };
        if waiters.get(&id).is_some_and(|waiter| waiter.ticket.has_left()) { waiters.remove(&id) } else { None }
    }

    /// Nobody waits for this answer any more.
    pub(super) fn forget(&self, id: u64) {
        if let State::Open(waiters) = &mut *self.lock() {
            waiters.remove(&id);
        }
    }

    /// Hands progress to the call it belongs to, if that call wants it and it is more than before (MCP, "Progress").
    pub(super) fn tell_progress(&self, id: u64, progress: f64, notice: impl FnOnce() -> Notice) {
        let mut state = self.lock();
        let State::Open(waiters) = &mut *state else { return };
        if let Some(waiter) = waiters.get_mut(&id)
            && let Some(notices) = &waiter.notices
            && waiter.progress.is_none_or(|before| progress > before)
        {
            waiter.progress = Some(progress);
            // Lost when the caller reads too slowly: notices are hints, the answer is not.
            notices.tell(notice());
        }
    }

    /// Hands a notice to the one call that wants any.
    pub(super) fn tell_only(&self, notice: impl FnOnce() -> Notice) {
        let state = self.lock();
        let State::Open(waiters) = &*state else { return };
        let mut listeners = waiters.values().filter_map(|waiter| waiter.notices.as_ref());
        if let (Some(notices), None) = (listeners.next(), listeners.next()) {
            notices.tell(notice());
        }
    }

    /// Ends it for everyone who waits, once.
    pub(super) fn end(&self, failure: &Arc<Failure>) -> HashMap<u64, Waiter> {
        let mut state = self.lock();
        if matches!(&*state, State::Ended(_)) {
            return HashMap::new();
        }
        match mem::replace(&mut *state, State::Ended(Arc::clone(failure))) {
            State::Open(waiters) => waiters,
            State::Ended(_) => HashMap::new(),
        }
    }

    pub(super) fn failure(&self) -> Option<Arc<Failure>> {
        match &*self.lock() {
            State::Open(_) => None,
            State::Ended(failure) => Some(Arc::clone(failure)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

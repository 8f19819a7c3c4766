//! The places of this process at one downstream, as calls take and wait for them.
//!
//! One lock is over all that is decided. What leaves it is a place, and that is handed over by value: whoever has it, be it a call, a channel that
//! nobody reads any more or a task that panics, gives it back by dropping it. So nothing else has to meet.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use adapters::{Caller, Deadline, Principal};
use config::downstream::FairBy;
use tokio::{sync::oneshot, time::Instant};

use super::fair::{Fair, Joined, Position, Refusal, SentAway, Ticket};

/// The places at one downstream. Clones are the same places.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fair: Mutex<Fair<Party, oneshot::Sender<Turn>>>,
    fair_by: FairBy,
    made: Instant,
}

/// Who takes turns: a tenant, or a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Party {
    issuer: Arc<str>,
    tenant: Option<Arc<str>>,
    /// Absent where the callers of a tenant are one party.
    subject: Option<Arc<str>>,
}

/// What a waiting call hears.
#[derive(Debug)]
pub(super) enum Turn {
    /// It is its turn.
    Come(LocalPlace),
    /// It has to go.
    Over(Refusal),
}

/// A place. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct LocalPlace {
    places: Places,
    since: Duration,
    held_up: bool,
}

/// What a call finds.
pub(super) enum Found {
    /// A free place.
    Place(LocalPlace),
    /// Others before it.
    Waiting(Waiting),
    /// It cannot wait.
    Refused(Refusal),
}

/// A call that waits. It leaves the line when this is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    places: Places,
    party: Party,
    ticket: Ticket,
    turn: oneshot::Receiver<Turn>,
}

/// How many places there are, and what is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) places: usize,
    pub(crate) taken: usize,
    pub(crate) waiting: usize,
}

impl Places {
    pub(super) fn new(places: usize, settings: config::downstream::Line) -> Self {
        let fair = Mutex::new(Fair::new(places, settings.max));
        Self(Arc::new(Shared { fair, fair_by: settings.fair_by, made: Instant::now() }))
    }

    /// Takes a place, or a position in the line where this is of use before `deadline`.
    pub(super) fn find(&self, caller: &Caller, deadline: Deadline) -> Found {
        let mut fair = self.fair();
        let now = self.now();
        if fair.take(now) {
            return Found::Place(self.place(now));
        }
        let party = Party::of(&caller.principal, self.0.fair_by);
        let (told, turn) = oneshot::channel();
        match fair.join(party.clone(), deadline.remaining(), now, told) {
            Joined::Waits { ticket, sent_away } => {
                drop(fair);
                if let Some(SentAway { waiter, refusal }) = sent_away {
                    // Who has left meanwhile need not hear it.
                    drop(waiter.send(Turn::Over(refusal)));
                }
                Found::Waiting(Waiting { places: self.clone(), party, ticket, turn })
            }
            Joined::Refused(refusal) => Found::Refused(refusal),
        }
    }

    /// Where a new call of this caller would stand.
    pub(super) fn position_of_new(&self, caller: &Caller) -> Position {
        let party = Party::of(&caller.principal, self.0.fair_by);
        let fair = self.fair();
        fair.position_of_new(&party, self.now())
    }

    pub(super) fn figures(&self) -> Figures {
        let fair = self.fair();
        Figures { places: fair.places(), taken: fair.taken(), waiting: fair.waiting() }
    }

    /// Hands every free place to the call that is next.
    fn call_next(&self) {
        loop {
            let now = self.now();
            // One call at a time: the lock is not held while a place is handed over, since one that comes back takes it again.
            let Some(waiter) = self.fair().next(now) else { return };
            drop(waiter.send(Turn::Come(self.place(now))));
        }
    }

    fn place(&self, since: Duration) -> LocalPlace {
        LocalPlace { places: self.clone(), since, held_up: false }
    }

    fn now(&self) -> Duration {
        self.0.made.elapsed()
    }

    fn fair(&self) -> MutexGuard<'_, Fair<Party, oneshot::Sender<Turn>>> {
        self.0.fair.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LocalPlace {
    /// Whether it is here that the line stops: nobody else gets a place until it goes on.
    pub(super) fn stops_the_line(&mut self, stops: bool) {
        if stops == self.held_up {
            return;
        }
        self.held_up = stops;
        if stops {
            self.places.fair().hold_up();
        } else {
            self.places.fair().go_on();
            self.places.call_next();
        }
    }
}

impl Drop for LocalPlace {
    fn drop(&mut self) {
        let now = self.places.now();
        let mut fair = self.places.fair();
        if self.held_up {
            fair.go_on();
        }
        fair.give_back(self.since, now);
        drop(fair);
        self.places.call_next();
    }
}

impl Waiting {
    /// Waits for its turn; may be dropped and called again.
    pub(super) async fn turn(&mut self) -> Turn {
        (&mut self.turn).await.expect("a call is told before it is taken out of the line")
    }

    /// Where it stands; `None` when its turn has come.
    pub(super) fn position(&self) -> Option<Position> {
        let fair = self.places.fair();
        fair.position(&self.party, self.ticket, self.places.now())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A place that was handed over meanwhile goes back with the channel.
        self.places.fair().leave(&self.party, self.ticket);
    }
}

impl Party {
    fn of(principal: &Principal, fair_by: FairBy) -> Self {
        let alone = fair_by == FairBy::Caller || principal.tenant.is_none();
        Self {
            issuer: principal.issuer.clone(),
            tenant: principal.tenant.clone(),
            subject: alone.then(|| principal.subject.clone()),
        }
    }
}

#[cfg(test)]
mod tests;

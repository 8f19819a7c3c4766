//! The hold on one record of whoever makes the write.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Ledger, NewWrite, OperationId, Unknowable,
    model::Step,
    names::{Kind, Place},
};
use crate::redis::Gone;

/// How often it is tried to tell what became of a write with a key, while Redis cannot be reached.
const TRIES_MAX: usize = 60;
const TRY_EACH: Duration = Duration::from_secs(1);

/// By this is told how far a write came.
#[derive(Clone)]
pub struct Ticket {
    ledger: Ledger,
    place: Place,
    write: NewWrite,
    /// Whether nobody waits for what is told.
    aside: bool,
    renewal: Option<Arc<AbortOnDropHandle<()>>>,
}

impl Ticket {
    pub(super) fn new(ledger: &Ledger, place: Place, write: &NewWrite) -> Self {
        let aside = place.kind == Kind::Operation;
        Self { ledger: ledger.clone(), place, write: write.clone(), aside, renewal: None }
    }

    /// For whoever has the time to wait until it is told.
    pub(super) fn awaited(self) -> Self {
        Self { aside: false, ..self }
    }

    /// With signs of life for as long as it is held.
    pub(super) fn renewed(mut self) -> Self {
        let (ledger, place, write) = (self.ledger.clone(), self.place, self.write.clone());
        let renew = async move {
            loop {
                tokio::time::sleep(write.lease / 3).await;
                // Should it fail, the lease is over before anybody else may think so of a write that was sent.
                let _ = ledger.step(place, &write, &Step::Renew).await;
            }
        };
        self.renewal = Some(Arc::new(AbortOnDropHandle::new(tokio::spawn(renew))));
        self
    }

    /// The write that it is about.
    #[must_use]
    pub fn operation(&self) -> OperationId {
        self.write.operation
    }

    /// Its first byte is about to leave. With a key this is known to all before it is allowed.
    ///
    /// # Errors
    /// With a key only: then nothing may be sent.
    pub async fn sent(&self) -> Result<(), Unknowable> {
        if self.aside {
            self.tell_aside(Step::Sent);
            return Ok(());
        }
        match self.ledger.step(self.place, &self.write, &Step::Sent).await {
            Ok(true) => Ok(()),
            // Its lease was over, and another one has the key.
            Ok(false) | Err(_) => Err(Unknowable::Gone),
        }
    }

    /// Nothing was sent, or it was refused without effect: its key is free.
    pub async fn release(&self) {
        self.end(Step::Release).await;
    }

    /// The same beside the path, as soon as that can be told.
    pub(super) fn release_aside(&self) {
        self.tell_until_heard(Step::Release, Duration::ZERO);
    }

    /// It was sent, and no answer came.
    pub async fn unknown(&self) {
        self.end(Step::Unknown).await;
    }

    /// It was carried out, or refused for good. An answer that is too large is not kept.
    pub async fn done(&self, answer: Option<Bytes>) {
        let answer = answer.filter(|answer| answer.len() <= self.ledger.0.settings.answer_bytes_max);
        self.end(Step::Done(answer)).await;
    }

    async fn end(&self, step: Step) {
        if self.aside {
            self.tell_aside(step);
        } else if self.ledger.step(self.place, &self.write, &step).await.is_err() {
            self.tell_until_heard(step, TRY_EACH);
        }
    }

    fn tell_until_heard(&self, step: Step, first_wait: Duration) {
        self.aside(|ticket| async move {
            tokio::time::sleep(first_wait).await;
            for _ in 0..TRIES_MAX {
                if ticket.ledger.step(ticket.place, &ticket.write, &step).await.is_ok() {
                    return;
                }
                tokio::time::sleep(TRY_EACH).await;
            }
        });
    }

    /// Tells of a write without a key, which nobody waits for. What cannot be told in Redis is known here.
    fn tell_aside(&self, step: Step) {
        if self.ledger.0.remote.is_none() {
            self.ledger.step_here(self.place, &self.write, &step);
            return;
        }
        self.aside(|ticket| async move {
            if let Err(Gone::Down | Gone::Timeout | Gone::Failed) =
                ticket.ledger.step(ticket.place, &ticket.write, &step).await
            {
                ticket.ledger.step_here(ticket.place, &ticket.write, &step);
            }
        });
    }

    /// Runs beside the call. What is too much at once is not told: then nothing more is known of these writes than the audit log has.
    fn aside<F: Future<Output = ()> + Send + 'static>(&self, tell: impl FnOnce(Self) -> F) {
        let Ok(permit) = self.ledger.0.aside.clone().try_acquire_owned() else { return };
        // Without its signs of life, which are for whoever makes the write.
        let told = tell(Self { renewal: None, ..self.clone() });
        self.ledger.0.tasks.spawn(async move {
            told.await;
            drop(permit);
        });
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("kind", &self.place.kind).finish_non_exhaustive()
    }
}

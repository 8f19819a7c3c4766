//! Generations that all replicas share, and how to go on when they cannot be reached.
//!
//! While Redis is gone this process goes on alone. Its own raises count at once and wait in a queue; what it stores gets generations that
//! nobody else knows, so that it is dead when Redis is back. Nothing is read from Redis again before the queue is empty.

mod keeper;
mod replica;
mod rounds;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{replica::Replica, rounds::Rounds};
use super::{
    Before, Check, Raised, Settled, Tag, Unannounced,
    marks::WriteId,
    remote::{Lasting, Mark, NotRaised, Remote},
};
use crate::entry::TagGeneration;

/// A strict write whose end Redis cannot be told of keeps its caller waiting for so long: others may still serve what it changed. A link
/// that was merely lost is there again by then.
const STRICT_PATIENCE: Duration = Duration::from_secs(2);
const TRY_EACH: Duration = Duration::from_millis(50);

pub(super) struct Shared {
    replica: Arc<Replica>,
    rounds: Rounds,
    /// Ends the tasks that keep the view, and with them their hold on Redis.
    _stop: DropGuard,
}

impl Shared {
    /// In a tokio runtime.
    pub(super) fn new(remote: Box<dyn Remote>, tags_max: usize) -> Self {
        let replica = Arc::new(Replica::new(remote, tags_max));
        let stop = CancellationToken::new();
        keeper::start(&replica, &stop);
        Self { replica, rounds: Rounds::default(), _stop: stop.drop_guard() }
    }

    pub(super) async fn before(&self, tags: &[Tag], templates: &[Tag]) -> Before {
        let all = [tags, templates].concat();
        let (mut known, storable) = match self.replica.read(&all).await {
            Ok((known, pending)) => (known, !pending),
            Err(_gone) => (self.replica.read_alone(&all), self.replica.storable_alone(&all)),
        };
        let templates = known.split_off(tags.len());
        Before { known, templates, storable }
    }

    /// The generations of `named`, unless a write may have changed what was fetched.
    pub(super) async fn after(&self, templates: &[TagGeneration], named: &[Tag]) -> Option<Vec<TagGeneration>> {
        if templates.is_empty() && named.is_empty() {
            return Some(Vec::new());
        }
        let mut all = named.to_vec();
        all.extend(templates.iter().map(|template| template.tag));
        let mut known = match self.replica.read(&all).await {
            Ok((known, pending)) => Some(known).filter(|_| !pending)?,
            Err(_gone) => Some(self.replica.read_alone(&all)).filter(|_| self.replica.storable_alone(&all))?,
        };
        // All were read at one moment, so no template was read before a tag that it stands for.
        (known.split_off(named.len()) == templates).then_some(known)
    }

    pub(super) async fn check(&self, tags: &[TagGeneration]) -> Check {
        if !self.replica.is_up() {
            return self.replica.check_alone(tags);
        }
        let in_doubt = self.replica.in_doubt(tags);
        if in_doubt.is_empty() {
            return Check::Valid;
        }
        match self.rounds.compare(&self.replica, &in_doubt).await {
            Ok(true) => Check::Valid,
            Ok(false) => Check::Moved,
            Err(_gone) => self.replica.check_alone(tags),
        }
    }

    pub(super) async fn begin(
        &self,
        concerned: &[Tag],
        write: WriteId,
        pending_for: Duration,
    ) -> Result<(), Unannounced> {
        let replica = &*self.replica;
        replica.marks.set(concerned.iter().copied(), write, Instant::now() + pending_for);
        let strict = concerned.iter().any(|tag| tag.strict);
        // The marks must outlive the server: should it fail while the write is under way, nothing is stored under its successor either. What
        // is raised later need not: what entries know of one server is of no use at another.
        let lasting = if strict { Lasting::Yes } else { Lasting::No };
        let Err(not_raised) = replica.raise(concerned, Mark::Pending(write, pending_for), lasting).await else {
            return Ok(());
        };
        if !strict {
            replica.raise_later(concerned);
            return Ok(());
        }
        replica.marks.end(concerned.iter().copied(), write, None);
        if not_raised == NotRaised::Unreplicated {
            // Nothing will be sent, so nothing is pending. If this fails as well, the marks end by themselves.
            let _ = replica.raise(concerned, Mark::Ended(write), Lasting::No).await;
        }
        Err(Unannounced)
    }

    pub(super) async fn end(&self, concerned: &[Tag], write: WriteId, settled: Settled) -> Raised {
        let (mark, until) = match settled {
            Settled::Yes => (Mark::Ended(write), None),
            Settled::Unknown(within) => (Mark::Pending(write, within), Some(Instant::now() + within)),
        };
        let mut raised = self.raise_with(concerned, mark).await;
        if raised == Raised::Queued && concerned.iter().any(|tag| tag.strict) {
            raised = self.try_again().await;
        }
        // After the raise: what is stored in this process alone is about the old generations until then.
        self.replica.marks.end(concerned.iter().copied(), write, until);
        raised
    }

    /// Whether Redis could be told of what waits after all.
    async fn try_again(&self) -> Raised {
        let by = Instant::now() + STRICT_PATIENCE;
        while Instant::now() < by {
            sleep(TRY_EACH).await;
            if self.replica.is_up() && self.replica.flush().await.is_ok() {
                return Raised::Everywhere;
            }
        }
        Raised::Queued
    }

    /// Raises as soon as may be, by whoever cannot wait for it.
    pub(super) fn leave_behind(&self, concerned: &[Tag]) {
        self.replica.raise_later(concerned);
    }

    pub(super) async fn tell_what_waits(&self) {
        // If Redis is gone, they are lost with this process: nothing but its ages ends what the others hold.
        let _gone = self.replica.flush().await;
    }

    pub(super) async fn raise(&self, tags: &[Tag]) -> Raised {
        self.raise_with(tags, Mark::None).await
    }

    #[cfg(test)]
    pub(super) fn trusts_its_view(&self) -> bool {
        self.replica.view.trusted_epoch().is_some()
    }

    async fn raise_with(&self, tags: &[Tag], mark: Mark) -> Raised {
        match self.replica.raise(tags, mark, Lasting::No).await {
            Ok(()) => Raised::Everywhere,
            Err(_not_raised) => {
                self.replica.raise_later(tags);
                Raised::Queued
            }
        }
    }
}

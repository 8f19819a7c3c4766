//! Taking turns: a legacy system gets a few requests at once, and who comes later waits in line, within bounds.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use crate::Deadline;

/// How many may wait for each that runs. A longer line is not worth its wait.
const WAITING_PER_PLACE: usize = 64;
/// How much of the usual time one turn changes: one in this many.
const USUAL_WEIGHT: u64 = 8;

/// The places at one system, and the line before them.
#[derive(Debug)]
pub(super) struct Turns {
    /// First come, first served.
    places: Semaphore,
    concurrency: usize,
    waiting: AtomicUsize,
    /// How long a turn usually takes; zero before the first.
    usual_ms: AtomicU64,
}

/// A place. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    since: Instant,
    _place: SemaphorePermit<'a>,
}

/// Why there was no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// The line is full; `wait` is what it would have taken.
    Full { waiting: usize, wait: Duration },
    /// The turn would come after the deadline.
    Hopeless { waiting: usize, wait: Duration },
    /// It did not come until the deadline.
    Late,
}

impl Turns {
    pub(super) fn new(concurrency: usize) -> Self {
        let concurrency = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Semaphore::new(concurrency),
            concurrency,
            waiting: AtomicUsize::new(0),
            usual_ms: AtomicU64::new(0),
        }
    }

    /// How many run at once.
    pub(super) fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// At once where waiting is no use, and at `deadline`.
    pub(super) async fn take(&self, deadline: Deadline) -> Result<Turn<'_>, NoTurn> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(self.turn(place));
        }
        let waiting = Waiting::new(&self.waiting);
        let ahead = waiting.ahead;
        // What runs now may end at once, so only whole rounds of others before this one are counted.
        let wait = self.usual().saturating_mul(u32::try_from(ahead / self.concurrency).unwrap_or(u32::MAX));
        if ahead >= self.concurrency.saturating_mul(WAITING_PER_PLACE) {
            return Err(NoTurn::Full { waiting: ahead, wait });
        }
        if wait > deadline.remaining() {
            return Err(NoTurn::Hopeless { waiting: ahead, wait });
        }
        match timeout_at(deadline.at(), self.places.acquire()).await {
            Ok(Ok(place)) => Ok(self.turn(place)),
            Ok(Err(_)) | Err(_) => Err(NoTurn::Late),
        }
    }

    fn turn<'a>(&'a self, place: SemaphorePermit<'a>) -> Turn<'a> {
        Turn { turns: self, since: Instant::now(), _place: place }
    }

    fn usual(&self) -> Duration {
        Duration::from_millis(self.usual_ms.load(Ordering::Relaxed))
    }
}

impl Turn<'_> {
    /// The system took its time, be it with an answer or for nothing: that says how long the line is.
    pub(super) fn used_up(self) {
        let took_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let usual_ms = &self.turns.usual_ms;
        let before_ms = usual_ms.load(Ordering::Relaxed);
        // Two answers at the same moment may cost one of them its weight.
        let now_ms = match before_ms {
            0 => took_ms,
            _ => (before_ms * (USUAL_WEIGHT - 1)).saturating_add(took_ms) / USUAL_WEIGHT,
        };
        usual_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// Counts one that waits, as long as it waits.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    ahead: usize,
}

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self { count, ahead: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{FutureExt as _, future::join_all};

    use super::{NoTurn, Turns};
    use crate::Deadline;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_first_is_served_first() {
        let turns = Turns::new(1);
        let first = turns.take(soon()).await.expect("free");
        let mut second = Box::pin(turns.take(soon()));
        let mut third = Box::pin(turns.take(soon()));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "the third overtook the second");
        drop(second);
        assert!(third.now_or_never().is_some_and(|turn| turn.is_ok()), "a place that was given up is not free");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_full_or_hopeless_is_told_at_once() {
        let turns = Turns::new(2);
        for _ in 0..2 {
            let turn = turns.take(soon()).await.expect("free");
            tokio::time::advance(Duration::from_secs(8)).await;
            turn.used_up();
        }
        let _running = [turns.take(soon()).await.expect("free"), turns.take(soon()).await.expect("free")];
        let far = Deadline::after(Duration::from_secs(3600));
        let mut line: Vec<_> = (0..2).map(|_| Box::pin(turns.take(far))).collect();
        assert!(join_all(&mut line).now_or_never().is_none());
        let hopeless = turns.take(soon()).now_or_never().expect("told at once").err();
        assert_eq!(hopeless, Some(NoTurn::Hopeless { waiting: 2, wait: Duration::from_secs(8) }));
        line.extend((2..128).map(|_| Box::pin(turns.take(far))));
        assert!(join_all(&mut line).now_or_never().is_none());
        let full = turns.take(far).now_or_never().expect("told at once").err();
        assert_eq!(full, Some(NoTurn::Full { waiting: 128, wait: Duration::from_secs(64 * 8) }));
        drop(line);
        let late = turns.take(Deadline::after(Duration::from_secs(20))).await.err();
        assert_eq!(late, Some(NoTurn::Late), "who left the line is still counted");
    }
}

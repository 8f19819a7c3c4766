//! What takes records to the disk: one thread, one sync for all that wait. No call waits for it but a write for its intent.

use std::{
    collections::VecDeque,
    io, iter,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{json, value::RawValue};
use tokio::{sync::oneshot, time::Instant};

use super::{Event, anchor::Anchor, chain::Chain, counted::Counted, forward::Forwarding};
use crate::telemetry;

/// How many bytes of records wait for the disk.
const ROOM_BYTES: usize = 32 << 20;
/// What a record costs besides its text.
const RECORD_BYTES: usize = 256;
/// How many bytes of records are written in one go.
const BATCH_BYTES: usize = 4 << 20;
/// How soon a disk that failed is tried again, at first and at last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often requests that leave no record of their own are told by their count.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

/// Takes records to the disk.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Nothing is written any more.
    ended: AtomicBool,
    counted: Arc<Counted>,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Of what waits and of what is being written.
    bytes: usize,
    records: usize,
    /// Records that found no room, and of which the log was not told.
    lost: u64,
    /// When the oldest record that is not on the disk came.
    behind_since: Option<Instant>,
    failing: bool,
    closing: bool,
}

#[derive(Debug)]
struct Item {
    record: Option<Arc<RawValue>>,
    came: Instant,
    done: Option<oneshot::Sender<()>>,
}

/// What waits for the disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lag {
    /// How many records.
    pub(crate) records: usize,
    /// How long the oldest of them has.
    pub(crate) time: Duration,
    /// Whether the disk refused the last attempt.
    pub(crate) failing: bool,
    /// Whether so much waits that there may be no room for the records of further calls.
    pub(crate) full: bool,
}

impl Writer {
    pub(super) fn start(
        chain: Chain,
        anchor: Option<Anchor>,
        counted: Arc<Counted>,
        forward: Option<Arc<Forwarding>>,
    ) -> io::Result<Self> {
        let ended = AtomicBool::new(false);
        let shared = Arc::new(Shared { queue: Mutex::default(), arrived: Condvar::new(), ended, counted });
        let run = Run { shared: shared.clone(), chain, anchor, forward };
        thread::Builder::new().name("audit".to_owned()).spawn(move || run.write_all())?;
        Ok(Self { shared })
    }

    /// Queues a record; false when there is no room for it, or its writer has ended.
    pub(super) fn append(&self, record: Arc<RawValue>) -> bool {
        self.push(Some(record), None)
    }

    /// Queues a record; what is given fires when it is on the disk.
    pub(super) fn confirmed(&self, record: Arc<RawValue>) -> Option<oneshot::Receiver<()>> {
        let (done, confirmed) = oneshot::channel();
        self.push(Some(record), Some(done)).then_some(confirmed)
    }

    /// Waits until all that was queued is on the disk.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.push(None, Some(done)) {
            let _ = flushed.await;
        }
    }

    /// Ends the chain once all that was queued is on the disk. What comes later is lost.
    pub(super) fn close(&self) {
        self.shared.queue().closing = true;
        self.shared.arrived.notify_one();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    pub(super) fn lag(&self) -> Lag {
        let queue = self.shared.queue();
        Lag {
            records: queue.records,
            time: queue.behind_since.map_or(Duration::ZERO, |since| since.elapsed()),
            failing: queue.failing,
            // The other half is for the calls that run.
            full: queue.bytes > ROOM_BYTES / 2,
        }
    }

    fn push(&self, record: Option<Arc<RawValue>>, done: Option<oneshot::Sender<()>>) -> bool {
        let bytes = weight(record.as_ref());
        let mut queue = self.shared.queue();
        let is_full = record.is_some() && queue.bytes + bytes > ROOM_BYTES;
        if is_full || self.has_ended() {
            queue.lost += u64::from(is_full);
            return false;
        }
        let came = Instant::now();
        queue.bytes += bytes;
        queue.records += usize::from(record.is_some());
        queue.behind_since.get_or_insert(came);
        queue.items.push_back(Item { record, came, done });
        // Of several that come at once the first wakes the writer.
        if queue.items.len() == 1 {
            self.shared.arrived.notify_one();
        }
        true
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written next, or nothing by `until`. `None` at the end.
    fn next(&self, until: Instant) -> Option<Vec<Item>> {
        let mut queue = self.queue();
        loop {
            if !queue.items.is_empty() {
                let mut bytes = 0;
                let mut within = |item: &Item| {
                    bytes += weight(item.record.as_ref());
                    bytes <= BATCH_BYTES
                };
                let count = queue.items.iter().take_while(|item| within(item)).count();
                return Some(queue.items.drain(..count.max(1)).collect());
            }
            if queue.closing {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(Vec::new());
            }
            queue = self.arrived.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn written(&self, batch: &[Item]) {
        let mut queue = self.queue();
        queue.bytes -= batch.iter().map(|item| weight(item.record.as_ref())).sum::<usize>();
        queue.records -= batch.iter().filter(|item| item.record.is_some()).count();
        queue.behind_since = queue.items.front().map(|item| item.came);
    }

    /// Waits a moment; false when nothing more is to be tried.
    fn pause(&self, pause: Duration) -> bool {
        let queue = self.queue();
        if queue.closing {
            return false;
        }
        drop(self.arrived.wait_timeout_while(queue, pause, |queue| !queue.closing));
        true
    }
}

/// The thread.
struct Run {
    shared: Arc<Shared>,
    chain: Chain,
    anchor: Option<Anchor>,
    forward: Option<Arc<Forwarding>>,
}

impl Run {
    fn write_all(mut self) {
        let mut tell_at = Instant::now() + COUNTED_EVERY;
        loop {
            let until = self.chain.checkpoint_due().map_or(tell_at, |due| due.min(tell_at));
            let Some(batch) = self.shared.next(until) else { break };
            let mut records: Vec<Arc<RawValue>> = batch.iter().filter_map(|item| item.record.clone()).collect();
            if Instant::now() >= tell_at {
                records.extend(self.counted());
                tell_at = Instant::now() + COUNTED_EVERY;
            }
            if !self.commit(&records) {
                tracing::error!(
                    records = records.len(),
                    "the last audit records are lost: the disk under audit.dir failed until the end"
                );
                break;
            }
            self.shared.written(&batch);
            for done in batch.into_iter().filter_map(|item| item.done) {
                // Who waited may have given up.
                let _ = done.send(());
            }
        }
        let last = self.counted();
        if let Err(error) = self.chain.commit(&last).and_then(|()| self.chain.end()) {
            tracing::error!(%error, "the audit log could not be ended in order");
        }
        self.anchor();
        self.shared.ended.store(true, Ordering::Release);
        // Whoever waits for the disk hears that there is none any more.
        self.shared.queue().items.clear();
    }

    /// What is told by its count: requests without a record of their own, and records that found no room.
    fn counted(&self) -> Vec<Arc<RawValue>> {
        let lost = std::mem::take(&mut self.shared.queue().lost);
        let lost = (lost > 0).then(|| Event::now("records_lost", json!({ "records": lost })).raw());
        let counted: Vec<_> = self.shared.counted.take().chain(lost).collect();
        if let Some(forward) = &self.forward {
            counted.iter().for_each(|record| forward.take(record));
        }
        counted
    }

    /// Tries until the records are on the disk; false when the end came first.
    fn commit(&mut self, records: &[Arc<RawValue>]) -> bool {
        let pauses = iter::successors(Some(PAUSE.0), |pause| Some((*pause * 2).min(PAUSE.1)));
        for pause in pauses {
            let committed = self.chain.commit(records);
            self.anchor();
            let was_failing = std::mem::replace(&mut self.shared.queue().failing, committed.is_err());
            match committed {
                Ok(()) => {
                    if was_failing {
                        tracing::info!("audit records are written again");
                    }
                    return true;
                }
                Err(error) => {
                    telemetry::audit_error("disk");
                    if !was_failing {
                        tracing::error!(%error, "audit records cannot be written: mend the disk under audit.dir; writes are refused until then");
                    }
                }
            }
            if !self.shared.pause(pause) {
                break;
            }
        }
        false
    }

    fn anchor(&mut self) {
        let checkpoints = self.chain.take_checkpoints();
        if let Some(anchor) = &self.anchor {
            anchor.take(checkpoints);
        }
    }
}

fn weight(record: Option<&Arc<RawValue>>) -> usize {
    record.map_or(0, |record| record.get().len() + RECORD_BYTES)
}

//! The same records to further places: standard output, or a syslog collector.
//!
//! No call waits for these: each place has a queue with a bound and a task that empties it. What finds the queue full, or cannot be sent, is
//! counted; when the place takes records again, a record says how many are missing there. The log in `audit.dir` misses none.

mod places;
mod syslog;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use config::audit::{Forward, SyslogTransport};
use jiff::Timestamp;
use serde_json::{json, value::RawValue};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::telemetry;
use places::{Datagrams, Place, Stdout, Stream};

/// How many records wait for one place.
const RECORDS_MAX: usize = 8192;
/// How many bytes of them.
const BYTES_MAX: usize = 16 << 20;
/// How many are sent in one go.
const BATCH_MAX: usize = 64;
/// How often a flush looks whether the queues are empty.
const FLUSH_PAUSE: Duration = Duration::from_millis(5);

/// The further places for records.
#[derive(Debug)]
pub(crate) struct Forwarding {
    queues: Box<[Queue]>,
    _end: DropGuard,
}

/// What waits for one place.
#[derive(Debug)]
struct Queue {
    records: Sender<Arc<RawValue>>,
    standing: Arc<Standing>,
}

#[derive(Debug)]
struct Standing {
    /// The word of the place, for the metric.
    place: &'static str,
    /// Records that were not sent, and of which the place was not told.
    lost: AtomicU64,
    /// Records and bytes that wait or are being sent.
    records: AtomicUsize,
    bytes: AtomicUsize,
    /// Fires when the router is gone: what could not be sent until then is not.
    closing: CancellationToken,
}

impl Forwarding {
    /// Starts a task for each place. Must run inside a tokio runtime. None when there is no place.
    pub(crate) fn start(places: &[Forward]) -> Option<Self> {
        let closing = CancellationToken::new();
        let start = |place: &Forward| match place {
            Forward::Stdout(_) => Queue::start("stdout", Stdout, &closing),
            Forward::Syslog(syslog) => match syslog.transport {
                SyslogTransport::Tcp => Queue::start("syslog", Stream::new(syslog.address, &host()), &closing),
                SyslogTransport::Udp => Queue::start("syslog", Datagrams::new(syslog.address, &host()), &closing),
            },
        };
        let queues: Box<[Queue]> = places.iter().map(start).collect();
        (!queues.is_empty()).then(|| Self { queues, _end: closing.drop_guard() })
    }

    /// Puts a record into each queue that has room for it. Never waits.
    pub(crate) fn take(&self, record: &Arc<RawValue>) {
        self.queues.iter().for_each(|queue| queue.take(record));
    }

    /// Waits until what was put in is sent or lost, for at most `within`.
    pub(crate) async fn flush(&self, within: Duration) {
        let emptied = async {
            while self.queues.iter().any(|queue| queue.standing.records.load(Ordering::Acquire) > 0) {
                tokio::time::sleep(FLUSH_PAUSE).await;
            }
        };
        if tokio::time::timeout(within, emptied).await.is_err() {
            tracing::warn!("the last audit records did not reach every place under audit.forward in time");
        }
    }
}

impl Queue {
    fn start(place: &'static str, to: impl Place, closing: &CancellationToken) -> Self {
        let (records, queue) = channel(RECORDS_MAX);
        let standing = Standing {
            place,
            lost: AtomicU64::default(),
            records: AtomicUsize::default(),
            bytes: AtomicUsize::default(),
            closing: closing.clone(),
        };
        let standing = Arc::new(standing);
        tokio::spawn(send_all(to, queue, standing.clone()));
        Self { records, standing }
    }

    fn take(&self, record: &Arc<RawValue>) {
        let (standing, bytes) = (&self.standing, record.get().len());
        // Counted before it is put in, so that the task never takes away what was not added yet.
        let waiting = standing.bytes.fetch_add(bytes, Ordering::AcqRel);
        standing.records.fetch_add(1, Ordering::AcqRel);
        if waiting + bytes > BYTES_MAX || self.records.try_send(record.clone()).is_err() {
            standing.gone(1, bytes);
            standing.lost(1);
        }
    }
}

impl Standing {
    fn lost(&self, records: usize) {
        self.lost.fetch_add(records as u64, Ordering::AcqRel);
        telemetry::audit_not_forwarded(self.place, records);
    }

    /// They wait no longer.
    fn gone(&self, records: usize, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.records.fetch_sub(records, Ordering::AcqRel);
    }
}

/// Sends until the router is gone.
async fn send_all(mut place: impl Place, mut queue: Receiver<Arc<RawValue>>, standing: Arc<Standing>) {
    let mut batch = Vec::with_capacity(BATCH_MAX + 1);
    loop {
        place.next(&mut queue, &mut batch).await;
        if batch.is_empty() {
            return;
        }
        let (records, bytes) = (batch.len(), batch.iter().map(|record| record.get().len()).sum());
        let lost_before = standing.lost.swap(0, Ordering::AcqRel);
        if lost_before > 0 {
            batch.insert(0, missing(lost_before));
        }
        let mut from = 0;
        while from < batch.len() {
            from += place.send(&batch[from..], &standing.closing).await;
            match batch.get(from) {
                None => {}
                // Nobody was told of those yet.
                Some(_) if from == 0 && lost_before > 0 => {
                    standing.lost.fetch_add(lost_before, Ordering::AcqRel);
                }
                Some(_) => standing.lost(1),
            }
            from += 1;
        }
        standing.gone(records, bytes);
        batch.clear();
    }
}

/// A record that says how many are not here.
fn missing(records: u64) -> Arc<RawValue> {
    let told = json!({
        "time": Timestamp::now(), "kind": "event", "event": "forward_lost", "details": { "records": records }
    });
    RawValue::from_string(told.to_string()).expect("a record is JSON").into()
}

/// The name of this machine as it calls itself.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

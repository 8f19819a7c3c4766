//! The file of audit records: one thread appends, so that no call waits for the disk.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

/// How many records wait for the disk.
const QUEUE_MAX: usize = 16_384;
/// How soon a flush asks again for a place in a full queue.
const FULL_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Writer(SyncSender<Item>);

enum Item {
    Record(Arc<RawValue>),
    Flush(oneshot::Sender<()>),
}

impl Writer {
    /// Appends to `audit.jsonl` in `dir`, both readable by their owner alone.
    pub(super) fn open(dir: &Path) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join("audit.jsonl"))?;
        let (items, queue) = sync_channel(QUEUE_MAX);
        thread::Builder::new().name("audit".to_owned()).spawn(move || write_all(BufWriter::new(file), &queue))?;
        Ok(Self(items))
    }

    /// Queues a record; false when the queue is full, or its writer gone.
    pub(super) fn append(&self, record: Arc<RawValue>) -> bool {
        self.0.try_send(Item::Record(record)).is_ok()
    }

    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let mut item = Item::Flush(done);
        while let Err(TrySendError::Full(back)) = self.0.try_send(item) {
            item = back;
            tokio::time::sleep(FULL_PAUSE).await;
        }
        let _ = flushed.await;
    }
}

fn write_all(mut file: BufWriter<File>, queue: &Receiver<Item>) {
    while let Ok(item) = queue.recv() {
        let mut waiting = Vec::new();
        let written = take(item, &mut file, &mut waiting)
            .and_then(|()| queue.try_iter().try_for_each(|item| take(item, &mut file, &mut waiting)))
            .and_then(|()| file.flush());
        if let Err(error) = written {
            tracing::error!(%error, "audit records cannot be written: mend the disk under audit.dir");
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

fn take(item: Item, file: &mut BufWriter<File>, waiting: &mut Vec<oneshot::Sender<()>>) -> std::io::Result<()> {
    match item {
        Item::Record(record) => {
            file.write_all(record.get().as_bytes())?;
            file.write_all(b"\n")
        }
        Item::Flush(done) => {
            waiting.push(done);
            Ok(())
        }
    }
}

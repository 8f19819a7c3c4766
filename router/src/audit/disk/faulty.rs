//! A disk that fails when it is told to.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Disk, RealDisk, Sink};

/// What befalls the disk.
#[derive(Debug, Default)]
pub(in crate::audit) struct Faults {
    /// How many syncs were asked for.
    syncs: AtomicUsize,
    /// How many faults bit.
    pub(in crate::audit) bites: AtomicUsize,
    now: Mutex<Fault>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::audit) enum Fault {
    #[default]
    None,
    /// The sync of this number, from 1, fails, and what it was for is lost.
    SyncLost(usize),
    /// There is no space left: half of what is to be written is.
    Full,
    /// Whoever writes waits.
    Stuck,
}

impl Faults {
    pub(in crate::audit) fn set(&self, fault: Fault) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        self.changed.notify_all();
    }

    pub(in crate::audit) fn bites(&self) -> usize {
        self.bites.load(Ordering::SeqCst)
    }

    pub(in crate::audit) fn syncs(&self) -> usize {
        self.syncs.load(Ordering::SeqCst)
    }

    fn now(&self) -> Fault {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == Fault::Stuck {
            self.bit();
        }
        while *now == Fault::Stuck {
            now = self.changed.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        *now
    }

    fn bit(&self) {
        self.bites.fetch_add(1, Ordering::SeqCst);
    }
}

/// The disk of this machine, with faults.
#[derive(Debug, Default)]
pub(in crate::audit) struct FaultyDisk(pub(in crate::audit) Arc<Faults>);

#[derive(Debug)]
struct FaultySink {
    file: Box<dyn Sink>,
    faults: Arc<Faults>,
    synced_bytes: u64,
    bytes: u64,
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let file = RealDisk.create(path)?;
        Ok(Box::new(FaultySink { file, faults: self.0.clone(), synced_bytes: 0, bytes: 0 }))
    }
}

impl Sink for FaultySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.faults.now() == Fault::Full {
            self.faults.bit();
            self.file.write(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes += bytes.len() as u64;
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let number = self.faults.syncs.fetch_add(1, Ordering::SeqCst) + 1;
        if self.faults.now() == Fault::SyncLost(number) {
            self.faults.bit();
            // What a kernel does that could not write a page: it forgets it, and the next sync says that all is well.
            self.file.cut(self.synced_bytes)?;
            return Err(io::Error::other("EIO"));
        }
        self.synced_bytes = self.bytes;
        self.file.sync()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.file.cut(bytes)
    }
}

//! What the log needs of the disk; tests bring disks that fail.

#[cfg(test)]
pub(super) mod faulty;

use std::{
    fmt,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Makes the files of a log.
pub trait Disk: fmt::Debug + Send {
    /// An empty file that its owner alone may read, whose name is on the disk.
    ///
    /// # Errors
    /// When it cannot be made.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>>;
}

/// A file of a log while it is written.
pub trait Sink: fmt::Debug + Send {
    /// Writes all of it; on the disk only after [`sync`](Self::sync).
    ///
    /// # Errors
    /// When the disk is full, or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// What was written is on the disk.
    ///
    /// # Errors
    /// When that is not known. What was written since the last time may be lost, and asking again would not tell.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file off.
    ///
    /// # Errors
    /// When it cannot be.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        sync_folder(path)?;
        Ok(Box::new(file))
    }
}

impl Sink for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}

/// Makes the folder, for its owner alone, where there is none.
///
/// # Errors
/// When it cannot be made, or nothing can be made in it.
pub fn prepare_folder(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let trial = dir.join(format!(".trial.{}", uuid::Uuid::now_v7()));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&trial)?;
    std::fs::remove_file(trial)
}

/// The name of a new file is on the disk, too.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

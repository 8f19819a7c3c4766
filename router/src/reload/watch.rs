//! Tells when one of some files is another one than it was. The folders are watched, and what counts is the content: editors write beside a
//! file and rename, Kubernetes turns a link, and a file that was only touched is the same.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

/// Whoever writes a file writes it to its end without a pause as long as this.
const QUIET: Duration = Duration::from_millis(200);
/// Longer than this nobody is waited for.
const QUIET_WITHIN: Duration = Duration::from_secs(1);
/// How often the files are read where no folder tells of changes.
const POLL: Duration = Duration::from_secs(2);
/// The same where they do: some file systems tell nothing, a link may lead anywhere.
const POLL_ANYWAY: Duration = Duration::from_secs(20);
/// Of a larger file only the beginning counts; what a config refers to is smaller.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Content and mode of a file; nothing where there is none.
type Print = Option<[u8; 32]>;

/// The files that are looked at, as they were.
pub(super) struct Watch {
    seen: HashMap<PathBuf, Print>,
    folders: HashSet<PathBuf>,
    touched: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let touched = Arc::<Notify>::default();
        let told = touched.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and changes nothing. What went wrong is looked into.
            if event.map_or(true, |event| is_change(event.kind)) {
                told.notify_one();
            }
        });
        let watcher = watcher.inspect_err(
            |error| tracing::warn!(%error, "changes of files are not told: they are looked for every 2 s"),
        );
        Self { seen: HashMap::new(), folders: HashSet::new(), touched, watcher: watcher.ok() }
    }

    /// Looks at these files from now on, and at no others. What they are now is what they were.
    pub(super) async fn look_at(&mut self, files: &[PathBuf]) {
        self.seen = prints(files.to_vec()).await;
        self.watch_folders();
    }

    /// Looks at these files from now on. Those that are looked at already were what they were.
    pub(super) async fn look_at_more(&mut self, files: &[PathBuf]) {
        let new: Vec<_> = files.iter().filter(|file| !self.seen.contains_key(*file)).cloned().collect();
        self.seen.retain(|file, _| files.contains(file));
        self.seen.extend(prints(new).await);
        self.watch_folders();
    }

    /// Until one of them is another one.
    pub(super) async fn changed(&self) {
        loop {
            let every = if self.watcher.is_some() { POLL_ANYWAY } else { POLL };
            if timeout(every, self.touched.notified()).await.is_ok() {
                let latest = Instant::now() + QUIET_WITHIN;
                while timeout_at(latest.min(Instant::now() + QUIET), self.touched.notified()).await.is_ok() {}
            }
            if prints(self.seen.keys().cloned().collect()).await != self.seen {
                return;
            }
        }
    }

    fn watch_folders(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: HashSet<PathBuf> = self.seen.keys().flat_map(|file| folders_of(file)).collect();
        for folder in self.folders.difference(&wanted) {
            // A folder that is gone is watched no more in any case.
            let _ = watcher.unwatch(folder);
        }
        self.folders.retain(|folder| wanted.contains(folder));
        let mut cannot = None;
        for folder in wanted {
            if self.folders.contains(&folder) {
                continue;
            }
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.folders.insert(folder)),
                Err(error) if folder.exists() => cannot = Some((folder, error)),
                // The file that is looked for in it is missing, and so is its folder.
                Err(_) => {}
            }
        }
        if let Some((folder, error)) = cannot {
            let folder = folder.display();
            tracing::warn!(%folder, %error, "changes of files are not told: they are looked for every 2 s");
            self.watcher = None;
            self.folders.clear();
        }
    }
}

/// Where a file lies, and where it lies in truth.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let folder = |file: &Path| {
        let folder = file.parent()?;
        Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
    };
    let real = std::fs::canonicalize(file).ok();
    folder(file).into_iter().chain(real.as_deref().and_then(folder)).collect()
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

async fn prints(files: Vec<PathBuf>) -> HashMap<PathBuf, Print> {
    let reading =
        tokio::task::spawn_blocking(move || files.into_iter().map(|file| (print(&file), file)).map(swap).collect());
    reading.await.unwrap_or_default()
}

fn swap((print, file): (Print, PathBuf)) -> (PathBuf, Print) {
    (file, print)
}

fn print(file: &Path) -> Print {
    let mut open = File::open(file).ok()?;
    // A secret that others may read is refused, and taken again when they may not.
    let mode = open.metadata().ok()?.permissions().mode();
    let mut context = Context::new(&SHA256);
    context.update(&mode.to_be_bytes());
    let mut content = Vec::new();
    open.by_ref().take(FILE_BYTES_MAX).read_to_end(&mut content).ok()?;
    context.update(&content);
    Some(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests;

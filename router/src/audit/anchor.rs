//! The file elsewhere to which checkpoints go: a thread of its own appends them, so that a mount that hangs holds up no record.

use std::{
    fs::OpenOptions,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use crate::telemetry;

/// How many checkpoints wait for an anchor that cannot be written; of more the oldest go. Each later one vouches for all before it.
const WAITING_MAX: usize = 1024;
/// How soon an anchor that could not be written is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes checkpoints to the anchor.
#[derive(Debug)]
pub(super) struct Anchor {
    checkpoints: Sender<Vec<String>>,
    standing: Arc<Standing>,
}

/// How it stands with the anchor.
#[derive(Debug, Default)]
pub(super) struct Standing {
    failing: AtomicBool,
    waiting: AtomicUsize,
}

impl Standing {
    /// Whether checkpoints wait for it, because it cannot be written or hangs.
    pub(super) fn is_behind(&self) -> bool {
        self.failing.load(Ordering::Relaxed) || self.waiting.load(Ordering::Relaxed) > 1
    }
}

impl Anchor {
    pub(super) fn start(path: PathBuf) -> io::Result<Self> {
        let (checkpoints, arriving) = channel();
        let standing = Arc::new(Standing::default());
        let shared = standing.clone();
        thread::Builder::new().name("audit-anchor".to_owned()).spawn(move || keep(&path, &arriving, &shared))?;
        Ok(Self { checkpoints, standing })
    }

    pub(super) fn standing(&self) -> Arc<Standing> {
        self.standing.clone()
    }

    pub(super) fn take(&self, mut checkpoints: Vec<String>) {
        // What a thread that hangs would pile up is left out; the first that gets there vouches for them.
        if checkpoints.is_empty() || self.standing.waiting.load(Ordering::Relaxed) >= WAITING_MAX {
            return;
        }
        checkpoints.truncate(WAITING_MAX);
        self.standing.waiting.fetch_add(checkpoints.len(), Ordering::Relaxed);
        let _ = self.checkpoints.send(checkpoints);
    }
}

fn keep(path: &Path, arriving: &Receiver<Vec<String>>, standing: &Standing) {
    let mut waiting: Vec<String> = Vec::new();
    loop {
        if waiting.is_empty() {
            match arriving.recv() {
                Ok(more) => waiting.extend(more),
                Err(_) => return,
            }
        }
        waiting.extend(arriving.try_iter().flatten());
        match append(path, &waiting) {
            Ok(()) => {
                standing.waiting.fetch_sub(waiting.len(), Ordering::Relaxed);
                waiting.clear();
                if standing.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the anchor of the audit log takes checkpoints again");
                }
            }
            Err(error) => {
                telemetry::audit_error("anchor");
                if !standing.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, path = %path.display(), "checkpoints cannot be appended to audit.anchor: mend it; they wait until then");
                }
                match arriving.recv_timeout(PAUSE) {
                    Ok(more) => waiting.extend(more),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }
}

/// Appends checkpoints to an anchor; what a failed attempt left of a line is ended first.
///
/// # Errors
/// When it cannot be written.
pub fn append(path: &Path, checkpoints: &[String]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut text = checkpoints.concat();
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.insert(0, '\n');
        }
    }
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

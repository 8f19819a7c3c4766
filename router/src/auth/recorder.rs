//! What other replicas revoked is written to the key file of this one, so that it is not forgotten when all of them end.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{KeyFileError, KeyStore, read_key_file};
use crate::Live;

/// How often a file that somebody else is changing is tried again, and after which time.
const TRIES: usize = 5;
const BETWEEN: Duration = Duration::from_millis(200);

/// Marks these keys as revoked, those that the file has. A file that says so already stays as it is.
///
/// # Errors
/// When the file cannot be changed.
pub(crate) async fn record_revocations(path: PathBuf, ids: Vec<(String, Timestamp)>) -> Result<(), KeyFileError> {
    let mut tries = 0;
    loop {
        let (path, ids) = (path.clone(), ids.clone());
        let done = tokio::task::spawn_blocking(move || mark(&path, &ids)).await;
        tries += 1;
        match done.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic())) {
            // Another replica may have the same file, and the same to write.
            Err(KeyFileError::Changing { .. }) if tries < TRIES => tokio::time::sleep(BETWEEN).await,
            done => return done,
        }
    }
}

fn mark(path: &Path, ids: &[(String, Timestamp)]) -> Result<(), KeyFileError> {
    let records = read_key_file(path)?;
    let is_to_be_marked = |id: &str| records.iter().any(|record| record.id == id && record.revoked.is_none());
    let unmarked: Vec<_> = ids.iter().filter(|(id, _)| is_to_be_marked(id)).collect();
    if unmarked.is_empty() {
        return Ok(());
    }
    let mut store = KeyStore::open(path)?;
    for (id, at) in unmarked {
        store.revoke(id, *at)?;
    }
    store.save()
}

/// Writes down what is revoked elsewhere, in the key file of the moment. Never ends.
pub(crate) async fn record_always(live: Arc<Live>) {
    let mut changes = live.router().revocations.changes();
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        let router = live.router();
        let Some(path) = router.authenticator.key_file.clone() else { continue };
        let moment = |at| Timestamp::try_from(at).unwrap_or_else(|_| Timestamp::now());
        let ids = router.revocations.all().into_iter().map(|(id, at)| (id.into(), moment(at))).collect();
        drop(router);
        if let Err(error) = record_revocations(path, ids).await {
            tracing::warn!(%error, "revoked keys cannot be marked in the key file of this replica");
        }
    }
}

//! Reading a config together with the secrets that lie elsewhere.

use std::{path::Path, time::Duration};

use adapters::{SecretFetcher, are_same_secrets};
use config::{Fetched, Loaded, Problems};
use tokio::{sync::Mutex, time::Instant};

use crate::telemetry;

/// Reads the config at `path`, and what its references to Vault and to commands give. What cannot be had is told by
/// [`Loaded::surroundings`].
///
/// # Errors
/// Every problem with its text.
pub async fn load(path: &Path) -> Result<Loaded, Problems> {
    read(path, &SecretFetcher::default()).await
}

async fn read(path: &Path, fetcher: &SecretFetcher) -> Result<Loaded, Problems> {
    let path = path.to_owned();
    let loading = tokio::task::spawn_blocking(move || config::load(&path));
    let mut loaded = loading.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))?;
    fetcher.fetch(&mut loaded).await;
    Ok(loaded)
}

/// The secrets of the config that is in force, fetched again before they may have ended.
#[derive(Debug)]
pub(crate) struct Secrets {
    fetcher: SecretFetcher,
    known: Mutex<Known>,
    /// Those that the config was judged by last.
    judged: Mutex<Fetched>,
}

#[derive(Debug, Default)]
struct Known {
    fetched: Fetched,
    /// When they are to be fetched again; never where there is none.
    due: Option<Instant>,
    /// Some could not be had the last time.
    lacking: bool,
}

impl Secrets {
    /// Begins with the secrets that the router was started with.
    pub(crate) fn new(started_with: &Fetched) -> Self {
        Self {
            fetcher: SecretFetcher::default(),
            known: Mutex::new(Known { fetched: started_with.clone(), ..Known::default() }),
            judged: Mutex::new(started_with.clone()),
        }
    }

    /// The config is judged by these from now on, whatever comes of it.
    pub(crate) async fn judged(&self, loaded: &Loaded) {
        self.judged.lock().await.clone_from(loaded.sources.fetched());
    }

    /// Reads the config at `path`. A secret that cannot be had now stays what it was.
    pub(crate) async fn load(&self, path: &Path) -> Result<Loaded, Problems> {
        let mut known = self.known.lock().await;
        let mut loaded = read(path, &self.fetcher).await?;
        let now = loaded.sources.fetched();
        let lacking = now.values().filter(|value| value.is_err()).count();
        if lacking > 0 && !known.lacking {
            tracing::warn!(
                lacking,
                "secrets of Vault or of commands cannot be read now: those of before stay in force"
            );
        } else if lacking == 0 && known.lacking {
            tracing::info!("all secrets of Vault and of commands can be read again");
        }
        if !now.is_empty() {
            telemetry::secrets_fetched(lacking == 0);
        }
        let kept = |reference, value: &Result<_, String>| match value {
            Err(_) => known.fetched.get(reference).cloned().filter(Result::is_ok).unwrap_or_else(|| value.clone()),
            Ok(_) => value.clone(),
        };
        let fetched: Fetched =
            now.iter().map(|(reference, value)| (reference.clone(), kept(reference, value))).collect();
        let due = self.fetcher.due(&loaded).await.map(|left| Instant::now() + left.max(PAUSE_MIN));
        *known = Known { fetched: fetched.clone(), due, lacking: lacking > 0 };
        loaded.sources = loaded.sources.with(fetched);
        Ok(loaded)
    }

    /// Ends when a secret of the config at `path` is another one than it was judged by.
    pub(crate) async fn changed(&self, path: &Path) {
        loop {
            let due = {
                let known = self.known.lock().await;
                if !are_same_secrets(&*self.judged.lock().await, &known.fetched) {
                    return;
                }
                known.due
            };
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => return std::future::pending().await,
            }
            // A file that cannot be read is told of when it changes.
            if self.load(path).await.is_err() {
                tokio::time::sleep(PAUSE_MIN).await;
            }
        }
    }
}

/// However short a lease is.
const PAUSE_MIN: Duration = Duration::from_secs(1);

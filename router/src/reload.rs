//! Another config while the router runs: read and checked whole, then in force at once for all that comes, or refused as a whole.

mod watch;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use config::{Fetched, Loaded, Problem, Problems, Surroundings};
use tokio::{
    sync::{Mutex, Notify},
    time::Instant,
};

use crate::{
    Downstream, Live, Router, StartError,
    load::Secrets,
    server::tls::{self, Tls},
    start::Readiness,
    telemetry,
};

use watch::Watch;

/// How long new downstreams have to tell their tools before callers see the new list.
const FIRST_LISTS: Duration = Duration::from_secs(2);

/// Puts configs in force, one after the other.
#[derive(Debug)]
pub(crate) struct Reloader {
    live: Arc<Live>,
    tls: Option<Arc<Tls>>,
    readiness: Arc<Readiness>,
    secrets: Secrets,
    /// One at a time; the end of the router waits for the one that runs.
    one: Mutex<()>,
}

/// Why a config was not put in force.
#[derive(Debug)]
pub enum Refused {
    /// It does not hold together.
    Problems(Problems),
    /// What it says cannot be made.
    Start(StartError),
    /// The router is ending.
    Ending,
}

impl Reloader {
    pub(crate) fn new(
        live: Arc<Live>,
        tls: Option<Arc<Tls>>,
        readiness: Arc<Readiness>,
        started_with: &Fetched,
    ) -> Self {
        Self { live, tls, readiness, secrets: Secrets::new(started_with), one: Mutex::default() }
    }

    /// Waits for the change that is under way, if there is one. No other begins as long as what is returned is there.
    pub(crate) async fn no_more(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.one.lock().await
    }

    /// Reads the config at `path` and puts it in force. What came of it is told in the log, the metrics and to operators.
    ///
    /// # Errors
    /// Why the config of before stays.
    pub(crate) async fn read_again(&self, path: &Path) -> Result<(), Arc<Refused>> {
        self.read_and_look(path, &mut Vec::new()).await
    }

    /// Reads the config whenever its file is another one, or one that it refers to, and whenever it was `asked` for. Never ends.
    pub(crate) async fn follow(&self, path: &Path, asked: &Notify) {
        let mut files = self.files_of(path).await;
        let mut watch = Watch::new();
        watch.look_at(&files).await;
        loop {
            tokio::select! {
                () = asked.notified() => tracing::info!("asked to read the config again"),
                () = watch.changed() => tracing::info!("the config, or a file that it refers to, has changed"),
                () = self.secrets.changed(path) => tracing::info!("a secret of Vault or of a command has changed"),
            }
            // Before it is read: what changes meanwhile is seen afterwards.
            watch.look_at(&files).await;
            let _told = self.read_and_look(path, &mut files).await;
            watch.look_at_more(&files).await;
        }
    }

    async fn files_of(&self, path: &Path) -> Vec<PathBuf> {
        let read = self.secrets.load(path).await.map(|loaded| loaded.files());
        [path.to_owned()].into_iter().chain(read.unwrap_or_default()).collect()
    }

    async fn read(&self, path: &Path) -> Result<(Loaded, Result<Surroundings, Problems>), Problems> {
        let loaded = self.secrets.load(path).await?;
        self.secrets.judged(&loaded).await;
        let reading = tokio::task::spawn_blocking(move || {
            let surroundings = loaded.surroundings();
            (loaded, surroundings)
        });
        Ok(reading.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic())))
    }

    /// `files` becomes the list of those that the config consists of, as far as it can be read.
    async fn read_and_look(&self, path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Arc<Refused>> {
        let _one = self.one.lock().await;
        if self.readiness.is_draining() {
            return Err(Arc::new(Refused::Ending));
        }
        let outcome = match self.read(path).await {
            Ok((loaded, surroundings)) => {
                *files = [path.to_owned()].into_iter().chain(loaded.files()).collect();
                match surroundings {
                    Ok(surroundings) => self.put_in_force(&loaded, &surroundings).await,
                    Err(problems) => Err(Refused::Problems(problems)),
                }
            }
            Err(problems) => Err(Refused::Problems(problems)),
        };
        let outcome = outcome.map_err(Arc::new);
        if outcome.as_ref().is_err_and(|refused| matches!(**refused, Refused::Ending)) {
            return outcome;
        }
        telemetry::config_read_again(outcome.is_ok());
        if let Err(refused) = &outcome {
            tracing::error!("the config is refused, and the one of before stays in force: {refused}");
            self.live.router().audit.refused(refused);
        }
        self.live.attempted(outcome.as_ref().err().cloned());
        outcome
    }

    async fn put_in_force(&self, loaded: &Loaded, surroundings: &Surroundings) -> Result<(), Refused> {
        for warning in loaded.warnings.iter().chain(&surroundings.warnings) {
            tracing::warn!("{warning}");
        }
        let before = self.live.router();
        let tls = loaded.config.server.tls.as_ref().filter(|_| self.tls.is_some());
        let certified = tls.map(|tls| tls::read(tls, &loaded.sources.base)).transpose().map_err(Refused::Start)?;
        let next = Router::succeeding(&before, loaded, surroundings).map_err(Refused::Start)?;
        let new: Vec<_> = next.downstreams.iter().filter(|downstream| !before.has(downstream)).cloned().collect();
        new.iter().for_each(|downstream| next.follow_changes_of(downstream));
        next.catalog.asked(Instant::now() + FIRST_LISTS).await;
        // Those that said nothing in time have the tools of before, until they do.
        for downstream in &new {
            if let Some(before) = before.downstreams.iter().find(|before| before.name == downstream.name) {
                downstream.take_over_offer(before);
            }
        }
        next.catalog.rebuild();
        if self.readiness.is_draining() {
            new.iter().for_each(|downstream| retire(&next, downstream.clone(), Duration::ZERO));
            return Err(Refused::Ending);
        }

        self.live.replace(next.clone());
        next.audit.reloaded(&before.config, &next.config, &next.waiting);
        next.audit.keys_changed(&before.authenticator.key_records, &next.authenticator.key_records);
        if let (Some(tls), Some(certified)) = (&self.tls, certified) {
            tls.replace(certified, next.authenticator.certificates());
        }
        next.catalog.announce_change();
        let gone: Vec<_> = before.downstreams.iter().filter(|downstream| !next.has(downstream)).cloned().collect();
        tracing::info!(new_downstreams = new.len(), ended_downstreams = gone.len(), "the config is in force");
        for waiting in &next.waiting {
            tracing::warn!("`{waiting}` changes with the next start");
        }
        let most = before.config.deadlines.max.0 + before.config.server.drain.0;
        gone.into_iter().for_each(|downstream| retire(&next, downstream, most));
        Ok(())
    }
}

/// Ends a downstream that is served no more, when its last call is over.
fn retire(router: &Router, downstream: Arc<Downstream>, most: Duration) {
    router.retired.spawn(async move { downstream.retire(most).await });
}

impl Refused {
    /// Every problem as one line, with its place.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |problem: &Problem| {
            let place = problem.line.zip(problem.column).map(|(line, column)| format!(":{line}:{column}"));
            format!("{}{}: {}", problem.file, place.unwrap_or_default(), problem.message)
        };
        match self {
            Self::Problems(problems) => problems.iter().map(line).collect(),
            Self::Start(_) | Self::Ending => vec![self.to_string()],
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => problems.fmt(f),
            Self::Start(error) => error.fmt(f),
            Self::Ending => f.write_str("Weir is ending: the next start reads the config"),
        }
    }
}

impl std::error::Error for Refused {}

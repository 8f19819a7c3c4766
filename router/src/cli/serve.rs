//! `weir serve`: the router, until a signal ends it. SIGHUP has the config read again; so has a change of its files.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tracing::{info, warn};

use super::{Exit, log, signals::Signals};

/// The config that is taken where none is named.
pub(super) const DEFAULT_CONFIG: &str = "weir.yaml";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The config file.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let loaded = router::load(&arguments.config).await?;
    let surroundings = loaded.surroundings()?;
    log::start(&loaded.config.log)?;
    for warning in loaded.warnings.iter().chain(&surroundings.warnings) {
        warn!("{warning}");
    }
    let signals = Signals::listen()?;
    let server = &loaded.config.server;
    let (drain, scheme) = (server.grace.0 + server.drain.0, if server.tls.is_some() { "https" } else { "http" });
    let running = router::start(loaded, surroundings).await?;
    info!(endpoint = %format!("{scheme}://{}/mcp", running.callers), admin = %format!("http://{}", running.admin), "serving");
    let asked = Arc::new(Notify::new());
    running.follow_config(arguments.config.clone(), asked.clone());
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            asked.notify_one();
        }
    });
    signals.first_then(running.cut_off()).await;
    info!("ending: running calls may finish within {} s; a second signal ends at once", drain.as_secs());
    running.stop().await;
    info!("ended");
    Ok(Exit::Done)
}

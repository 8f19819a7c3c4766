//! Whom `weir tools` and `weir call` speak to: a running router, or one in this process.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{bail, ensure};
use clap::Args;
use config::{Config, Log, environment, log::LogLevel};
use router::Router;
use tokio::time::Instant;

use super::{connection::Connection, log, serve::DEFAULT_CONFIG};

/// How long downstreams have to tell their tools. One that does not answer is left out.
const LISTS_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Target {
    /// The endpoint of a running router, such as http://127.0.0.1:8080/mcp. The key is taken from WEIR_API_KEY.
    #[arg(long, value_name = "URL", conflicts_with_all = ["config", "roles"])]
    url: Option<String>,
    /// The config file; the router then runs inside this command and the caller is `local`.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// A role of the caller, instead of those under `identity.local.roles`. May be given several times.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
}

/// An open target.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// The router, where it is in this process.
    pub(super) router: Option<Arc<Router>>,
}

impl Target {
    pub(super) async fn open(&self) -> anyhow::Result<Opened> {
        if let Some(url) = &self.url {
            log::start(&quiet())?;
            let key = environment::api_key();
            let connection = Connection::to_url(url, key.as_ref()).await?;
            return Ok(Opened { connection, router: None });
        }
        let mut loaded = router::load(&self.config).await?;
        let surroundings = loaded.surroundings()?;
        log::start(&quiet())?;
        if !self.roles.is_empty() {
            loaded.config.identity.local.roles.clone_from(&self.roles);
        }
        check_roles(&loaded.config)?;
        let router = Router::new(&loaded, &surroundings)?;
        wait_for_lists(&router, LISTS_TIMEOUT).await;
        let connection = Connection::to_router(Arc::clone(&router)).await?;
        Ok(Opened { connection, router: Some(router) })
    }
}

/// Results are what is asked for here; of the log only what went wrong.
fn quiet() -> Log {
    Log { level: LogLevel::Warn, ..Log::default() }
}

/// Waits until every downstream has told its tools or was found unusable, but not longer than `most`.
pub(super) async fn wait_for_lists(router: &Router, most: Duration) {
    if !router.catalog().asked(Instant::now() + most).await {
        tracing::warn!("not every downstream told its tools within {} s", most.as_secs());
    }
}

fn check_roles(config: &Config) -> anyhow::Result<()> {
    let known = || config.policy.roles.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let roles = &config.identity.local.roles;
    ensure!(!roles.is_empty(), "the caller has no role, so it would see nothing: give --role with one of {}", known());
    for role in roles {
        if !config.policy.roles.contains_key(role) {
            bail!("the config has no role `{role}`; it has {}", known());
        }
    }
    Ok(())
}

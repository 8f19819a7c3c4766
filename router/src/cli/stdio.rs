//! `weir stdio`: MCP on standard input and output. Nothing but protocol is ever written to stdout.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use config::{Log, environment};
use router::{
    Router,
    bridge::{self, Connector, Target},
};
use tracing::warn;

use super::{Exit, connection::IN_MEMORY_BYTES, log, signals::Signals, target::wait_for_lists};

/// How long a downstream that is not there may delay the first answer.
const LISTS_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The endpoint of a running router, such as http://127.0.0.1:8080/mcp. The key is taken from WEIR_API_KEY.
    #[arg(long, required_unless_present = "config", conflicts_with = "config")]
    url: Option<String>,
    /// A config file: the router then runs inside this program, and the caller is `local`.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<Exit> {
    let router = match &arguments.config {
        Some(config) => Some(router_of(config).await?),
        None => None,
    };
    let (target, key) = match (arguments.url, &router) {
        (Some(url), _) => {
            log::start(&Log::default())?;
            // Not parsed on the command line, whose error would repeat a password in it.
            (url.parse::<Target>()?, environment::api_key())
        }
        (None, Some(router)) => (Target::Memory(in_memory(Arc::clone(router))), None),
        (None, None) => unreachable!("the command line asks for one of the two"),
    };
    let signals = Signals::listen()?;
    let ended = tokio::select! {
        ended = bridge::run(target, key, tokio::io::stdin(), tokio::io::stdout()) => ended.context("the bridge ended"),
        () = signals.first() => Ok(()),
    };
    if let Some(router) = router {
        router.drain().await;
    }
    ended.map(|()| Exit::Done)
}

async fn router_of(config: &Path) -> anyhow::Result<Arc<Router>> {
    let loaded = router::load(config).await?;
    if loaded.config.audit.forward.iter().any(|place| matches!(place, config::audit::Forward::Stdout(_))) {
        anyhow::bail!(
            "audit.forward has `stdout`, which belongs to the protocol here: forward to syslog, or run `weir serve`"
        );
    }
    let surroundings = loaded.surroundings()?;
    log::start(&loaded.config.log)?;
    for warning in loaded.warnings.iter().chain(&surroundings.warnings) {
        warn!("{warning}");
    }
    let router = Router::new(&loaded, &surroundings)?;
    // A client asks for the tools once, right after its start, and few look again when told of a change.
    wait_for_lists(&router, LISTS_TIMEOUT).await;
    Ok(router)
}

/// Connections to a router in this process.
fn in_memory(router: Arc<Router>) -> Connector {
    Arc::new(move || {
        let (near, far) = tokio::io::duplex(IN_MEMORY_BYTES);
        tokio::spawn(router::serve_io(Arc::clone(&router), far));
        near
    })
}

//! The systems behind the demo's router: a real Postgres of our own, and an MCP server.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use standins::{
    customers,
    mcp::{McpOptions, McpServer, Running, Tools},
    postgres::{PgOptions, PrivatePg},
};

/// What stands behind the demo's router. Stops on drop.
pub(super) struct Systems {
    crm: Result<Crm, String>,
    enrich: Running,
}

struct Crm {
    url: String,
    postgres: PrivatePg,
}

impl Systems {
    /// Starts them. Without Postgres the demo does with the rest.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let (crm, enrich) = tokio::join!(start_crm(), start_enrich());
        Ok(Self {
            crm: crm.map_err(|error| format!("{error:#}")),
            enrich: enrich.context("cannot start the enrichment server")?,
        })
    }

    pub(super) fn crm_url(&self) -> Option<&str> {
        self.crm.as_ref().ok().map(|crm| crm.url.as_str())
    }

    /// Why there is no customer database.
    pub(super) fn crm_missing(&self) -> Option<&str> {
        self.crm.as_ref().err().map(String::as_str)
    }

    pub(super) fn enrich_url(&self) -> &str {
        &self.enrich.url
    }

    pub(super) async fn stop(self) {
        self.enrich.stop().await;
        if let Ok(Crm { postgres, .. }) = self.crm
            && let Err(error) = postgres.stop().await
        {
            tracing::warn!("the private Postgres did not stop as it should: {error:#}");
        }
    }
}

async fn start_crm() -> anyhow::Result<Crm> {
    let bin_dirs = config::environment::pg_bin().map_or_else(unpacked_by_run, |chosen| vec![chosen]);
    let options = PgOptions { bin_dirs, ..PgOptions::default() };
    let postgres = PrivatePg::start(options).await?;
    let url = postgres.create_database("crm").await?;
    customers::load(&url, customers::SEED).await?;
    Ok(Crm { url, postgres })
}

async fn start_enrich() -> anyhow::Result<Running> {
    let server =
        McpServer::new(McpOptions { tools: Tools::Enrichment, seed: customers::SEED, ..McpOptions::default() });
    server.websocket("127.0.0.1:0").await
}

/// Where `./run` unpacks Postgres on a machine that has none: `tools/postgres` in the build folder that we were built into.
fn unpacked_by_run() -> Vec<PathBuf> {
    let tools = |build: &Path| build.join("tools/postgres");
    let ours = std::env::current_exe().unwrap_or_default();
    ours.ancestors().skip(1).take(3).map(tools).filter(|folder| folder.is_dir()).collect()
}

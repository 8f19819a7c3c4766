//! The systems behind the demo's router: a real Postgres of our own, a mainframe, a ticketing service, and an MCP server.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use standins::{
    customers,
    mainframe::{Mainframe, MainframeOptions},
    mcp::{McpOptions, McpServer, Running, Tools},
    postgres::{PgOptions, PrivatePg},
    proxy::FaultProxy,
    tickets::{Tickets, TicketsOptions},
};

use super::config::random_token;

/// The account of C-00042.
pub(super) const ACCOUNT: &str = "9007202146917077";
/// Whom the ticketing service lets in.
pub(super) const TICKETS_USER: &str = "weir@example.com";

/// How long a batch job waits, and then how long it runs.
const JOB_STEP: Duration = Duration::from_secs(15);

/// What stands behind the demo's router. Stops on drop.
pub(super) struct Systems {
    crm: Result<Crm, String>,
    enrich: Running,
    mainframe: Mainframe,
    tickets: Tickets,
    tickets_token: String,
    network: Option<Network>,
}

/// What lies between the router and two of its systems, where it can go wrong.
pub(super) struct Network {
    pub(super) mainframe: FaultProxy,
    pub(super) tickets: FaultProxy,
}

struct Crm {
    url: String,
    postgres: PrivatePg,
}

impl Systems {
    /// Starts them. Without Postgres the demo does with the rest. The mainframe takes so long for an answer. `has_faults`: the network
    /// before two of them can go wrong.
    pub(super) async fn start(mainframe_delay: RangeInclusive<Duration>, has_faults: bool) -> anyhow::Result<Self> {
        let tickets_token = random_token()?;
        let (crm, enrich, mainframe, tickets) = tokio::join!(
            start_crm(),
            start_enrich(),
            start_mainframe(mainframe_delay),
            start_tickets(tickets_token.clone())
        );
        let mainframe = mainframe.context("cannot start the mainframe")?;
        let tickets = tickets.context("cannot start the ticketing service")?;
        let network = match has_faults {
            true => Some(Network {
                mainframe: FaultProxy::start(mainframe.addr).await?,
                tickets: FaultProxy::start(tickets.addr).await?,
            }),
            false => None,
        };
        Ok(Self {
            crm: crm.map_err(|error| format!("{error:#}")),
            enrich: enrich.context("cannot start the enrichment server")?,
            mainframe,
            tickets,
            tickets_token,
            network,
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

    pub(super) fn mainframe(&self) -> &Mainframe {
        &self.mainframe
    }

    pub(super) fn mainframe_url(&self) -> String {
        match &self.network {
            Some(network) => format!("http://{}", network.mainframe.addr()),
            None => self.mainframe.url.clone(),
        }
    }

    pub(super) fn tickets_url(&self) -> String {
        match &self.network {
            Some(network) => format!("http://{}", network.tickets.addr()),
            None => self.tickets.url.clone(),
        }
    }

    /// The service itself, past its network.
    pub(super) fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// What can go wrong, where the demo was started so.
    pub(super) fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    pub(super) fn tickets_token(&self) -> &str {
        &self.tickets_token
    }

    pub(super) async fn stop(self) {
        tokio::join!(self.enrich.stop(), self.mainframe.stop(), self.tickets.stop());
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

async fn start_mainframe(delay: RangeInclusive<Duration>) -> anyhow::Result<Mainframe> {
    let options = MainframeOptions { delay, job_step: Some(JOB_STEP), ..MainframeOptions::default() };
    Mainframe::start("127.0.0.1:0", options).await
}

async fn start_tickets(token: String) -> anyhow::Result<Tickets> {
    let options = TicketsOptions { user: TICKETS_USER.to_owned(), token: Some(token), ..TicketsOptions::default() };
    Tickets::start("127.0.0.1:0", options).await
}

/// Where `./run` unpacks Postgres on a machine that has none: `tools/postgres` in the build folder that we were built into.
fn unpacked_by_run() -> Vec<PathBuf> {
    let tools = |build: &Path| build.join("tools/postgres");
    let ours = std::env::current_exe().unwrap_or_default();
    ours.ancestors().skip(1).take(3).map(tools).filter(|folder| folder.is_dir()).collect()
}

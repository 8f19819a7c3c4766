//! `weir demo`: real systems, the router in front of them, and a short tour. Leaves nothing behind.

mod config;
mod faults;
mod show;
mod systems;
mod tour;

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use ::config::Period;
use anyhow::{Context as _, bail};
use clap::Args;
use router::Running;
use serde_json::json;
use standins::customers::{CUSTOMERS, INVOICES, ORDERS};

use crate::cli::{Exit, log, signals::Signals};
use config::{Credentials, Files};
use show::Screen;
use systems::Systems;
use tour::Tour;

/// How long the downstreams have to tell their tools; they run on this machine.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The port for callers, on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Only serve.
    #[arg(long)]
    no_tour: bool,
    /// Let the network before the mainframe and the ticketing service go wrong, and tour what becomes of calls then. After the tour one
    /// exchange in twenty goes on to fail.
    #[arg(long)]
    faults: bool,
    /// How long the mainframe takes for an answer.
    #[arg(long, value_name = "LEAST..MOST", default_value = "5s..10s", value_parser = delay)]
    mainframe_delay: RangeInclusive<Duration>,
    /// When ready, print one line of JSON to stdout with endpoint, keys and token; everything else goes to stderr.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    // A signal during the start is noted at once and obeyed when there is something to end in order.
    let folder = Arc::new(OnceLock::<PathBuf>::new());
    let left = Arc::clone(&folder);
    let interrupted = tokio::spawn(Signals::listen()?.first_then(async move {
        // A process that is ended at once runs no destructor.
        if let Some(folder) = left.get() {
            let _ = fs::remove_dir_all(folder);
        }
    }));
    let mut demo = Demo::start(arguments, &folder).await?;
    let shown_and_interrupted = async {
        demo.show(arguments).await?;
        std::future::pending().await
    };
    let ended = tokio::select! {
        biased;
        _ = interrupted => Ok(Exit::Done),
        failed = shown_and_interrupted => failed,
    };
    demo.stop().await;
    ended
}

/// A running demo.
struct Demo {
    screen: Screen,
    systems: Systems,
    /// Removed with us.
    files: Files,
    credentials: Credentials,
    running: Running,
}

impl Demo {
    /// Tells in `folder` where its files are as soon as there are any.
    async fn start(arguments: &Arguments, folder: &OnceLock<PathBuf>) -> anyhow::Result<Self> {
        let mut screen = if arguments.json { Screen::stderr() } else { Screen::stdout() };
        let (listen, admin) = addresses(arguments.port)?;
        let start = Instant::now();
        let systems = Systems::start(arguments.mainframe_delay.clone(), arguments.faults).await?;
        screen.title("Weir: one MCP endpoint in front of the systems of a company")?;
        match systems.crm_missing() {
            None => screen.done(
                &format!("Postgres with {CUSTOMERS} customers, {ORDERS} orders, {INVOICES} invoices"),
                start.elapsed(),
            )?,
            Some(reason) => screen.warn(&format!("No customer database in this demo, so no crm__ tools: {reason}"))?,
        }
        let start = Instant::now();
        let files = Files::new()?;
        folder.get_or_init(|| files.folder().to_owned());
        let credentials = files.write(&systems, listen, admin, !arguments.no_tour)?;
        let (loaded, surroundings) = files.load(&credentials)?;
        log::start(&loaded.config.log)?;
        let running = router::start(loaded, surroundings).await?;
        let demo = Self { screen, systems, files, credentials, running };
        demo.when_ready(start).await
    }

    async fn when_ready(mut self, start: Instant) -> anyhow::Result<Self> {
        if !self.running.catalog_ready(READY_TIMEOUT).await {
            self.stop().await;
            bail!(
                "the demo's own downstreams did not list their tools within {} s; is the machine very busy?",
                READY_TIMEOUT.as_secs()
            );
        }
        self.screen.done("a mainframe, a ticketing service, an MCP server, and Weir in front", start.elapsed())?;
        Ok(self)
    }

    /// Tells that the demo is ready, and takes the tour.
    async fn show(&mut self, arguments: &Arguments) -> anyhow::Result<()> {
        if arguments.json {
            self.print_json()?;
        }
        if !arguments.no_tour
            && let Err(error) = self.tour(arguments).await
        {
            self.screen.warn(&format!("The tour ends here: {error:#}"))?;
        }
        if let Some(network) = self.systems.network() {
            faults::go_on(&mut self.screen, network)?;
        }
        if !arguments.json {
            self.print_ready()?;
        }
        Ok(())
    }

    async fn tour(&mut self, arguments: &Arguments) -> anyhow::Result<()> {
        let (endpoint, has_crm) = (self.endpoint(), self.systems.crm_url().is_some());
        let audit = self.running.router().audit().clone();
        let Self { screen, systems, credentials, .. } = self;
        if let Some(network) = systems.network() {
            return faults::Tour { screen, systems, network, audit: &audit }.run(&endpoint, credentials).await;
        }
        let (mainframe_delay, mainframe) = (&arguments.mainframe_delay, systems.mainframe());
        Tour { screen, has_crm, mainframe_delay, mainframe, audit: &audit }.run(&endpoint, credentials).await
    }

    fn print_json(&self) -> io::Result<()> {
        let Credentials { support_agent, admin, admin_token } = &self.credentials;
        let ready = json!({
            "endpoint": self.endpoint(),
            "admin": self.admin(),
            "admin_token": admin_token,
            "keys": { "support_agent": support_agent, "admin": admin },
        });
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{ready}")?;
        stdout.flush()
    }

    fn print_ready(&mut self) -> io::Result<()> {
        let (endpoint, admin, config) = (self.endpoint(), self.admin(), self.files.config());
        let Self { screen, credentials: Credentials { support_agent, admin: admin_key, admin_token }, .. } = self;
        screen.title("Ready")?;
        screen.copy("endpoint", &endpoint)?;
        screen.copy("support_agent", support_agent)?;
        screen.copy("admin", admin_key)?;
        screen.copy("operators", &admin)?;
        screen.copy("their token", admin_token)?;
        screen.copy("config", &config.display().to_string())?;
        screen.blank()?;
        screen.say("To use it in Claude Code:")?;
        screen.command(&format!(
            "claude mcp add --transport http weir {endpoint} --header \"Authorization: Bearer {support_agent}\""
        ))?;
        screen.blank()?;
        screen.say("Ctrl-C ends all of it.")
    }

    fn endpoint(&self) -> String {
        format!("http://{}/mcp", self.running.callers)
    }

    fn admin(&self) -> String {
        format!("http://{}", self.running.admin)
    }

    async fn stop(self) {
        self.running.stop_now().await;
        self.systems.stop().await;
    }
}

/// As `5s..10s`, or one period for always the same.
fn delay(text: &str) -> Result<RangeInclusive<Duration>, String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (Period(least), Period(most)) = (least.parse()?, most.parse()?);
    if least > most {
        return Err("the shorter period comes first".to_owned());
    }
    Ok(least..=most)
}

/// Where to listen. Looked at before anything is started, so that a taken port costs no time.
fn addresses(port: u16) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let on = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Err(error) = TcpListener::bind(on(port)) {
        match error.kind() {
            io::ErrorKind::AddrInUse => bail!("port {port} is taken: choose another with --port, or 0 for a free one"),
            _ => {
                return Err(error)
                    .with_context(|| format!("cannot listen on port {port} of 127.0.0.1: choose another with --port"));
            }
        }
    }
    let beside = port.checked_add(1).filter(|_| port != 0);
    let admin = beside.filter(|&beside| TcpListener::bind(on(beside)).is_ok()).unwrap_or(0);
    Ok((on(port), on(admin)))
}

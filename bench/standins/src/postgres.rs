//! A private Postgres: the real server, in a temporary folder, for as long as its handle lives.

mod binaries;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::distr::{Alphanumeric, SampleString as _};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::supervised::{Ended, Supervised, log_tail, log_to, wait_for};
use binaries::Binaries;

const INITDB_TIMEOUT: Duration = Duration::from_secs(60);
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
const RELAUNCH_INTERVAL: Duration = Duration::from_millis(200);
/// Postgres refuses to run as root, and wants a user that has a name. This is `nobody`.
const UNPRIVILEGED_ID: u32 = 65_534;
/// The kernel's limit for the path of a Unix socket, less the file name that Postgres adds.
const SOCKET_DIR_BYTES_MAX: usize = 107 - "/.s.PGSQL.5432".len();
const USER: &str = "weir";
const DATABASE: &str = "postgres";

/// How to start a [`PrivatePg`].
#[derive(Clone, Debug)]
pub struct PgOptions {
    /// Looked at before `WEIR_PG_BIN`, `PATH` and the system's packages. Each is a folder with the programs in it, or a
    /// root into which packages were unpacked.
    pub bin_dirs: Vec<PathBuf>,
    /// Also listen on a free port of loopback, with a password. Without it there is only a Unix socket.
    pub tcp: bool,
    pub max_connections: u16,
}

impl Default for PgOptions {
    fn default() -> Self {
        Self { bin_dirs: Vec::new(), tcp: false, max_connections: 100 }
    }
}

/// A running Postgres that nobody else uses. Stops, and removes its folder, on drop.
///
/// It is bound to no async runtime: it may live in a static that many tests share.
pub struct PrivatePg {
    // Before the folder, so that it stops first.
    server: Option<Supervised>,
    dir: TempDir,
    binaries: Binaries,
    options: PgOptions,
    password: String,
    tcp_addr: Option<SocketAddr>,
    url: String,
    /// The user to run as, where we are root.
    run_as: Option<u32>,
}

impl PrivatePg {
    /// Creates a cluster and returns when it answers.
    pub async fn start(options: PgOptions) -> Result<Self> {
        let binaries = Binaries::find(&options.bin_dirs)?;
        let mut pg = tokio::task::spawn_blocking(move || Self::initialise(binaries, options)).await??;
        pg.launch_until_ready().await?;
        Ok(pg)
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a database that [`create_database`](Self::create_database) made.
    pub fn url_of(&self, database: &str) -> String {
        match self.tcp_addr {
            Some(addr) => self.url_at(database, addr),
            None => {
                format!("postgres://{USER}@{}/{database}", self.dir.path().display().to_string().replace('/', "%2F"))
            }
        }
    }

    /// The URL of a database through another address on loopback, such as that of a fault proxy.
    pub fn url_at(&self, database: &str, addr: SocketAddr) -> String {
        format!("postgres://{USER}:{}@{addr}/{database}", self.password)
    }

    /// Where it listens, with [`PgOptions::tcp`].
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp_addr
    }

    /// Creates an empty database and returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        self.copy_database("template1", name).await
    }

    /// Creates a database as a copy of another one, to which nobody may be connected meanwhile, and returns its URL.
    pub async fn copy_database(&self, source: &str, name: &str) -> Result<String> {
        let (client, connection) =
            tokio_postgres::connect(&self.url, NoTls).await.context("cannot reach the private Postgres")?;
        let connection = tokio::spawn(connection);
        let created =
            client.batch_execute(&format!("CREATE DATABASE {} TEMPLATE {}", quoted(name), quoted(source))).await;
        drop(client);
        connection.await??;
        created.with_context(|| format!("cannot create the database {name} from {source}"))?;
        Ok(self.url_of(name))
    }

    /// Kills the server as a power cut would. What was committed comes back with [`restart`](Self::restart).
    pub async fn kill_hard(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.kill().await,
            None => Ok(()),
        }
    }

    /// Stops the server if it runs, and starts it again under the same URL.
    pub async fn restart(&mut self) -> Result<()> {
        self.end().await?;
        self.launch_until_ready().await
    }

    /// Stops the server and removes its folder.
    pub async fn stop(mut self) -> Result<()> {
        self.end().await
    }

    /// Everything up to the first start, which takes a second or two of a blocking thread.
    fn initialise(binaries: Binaries, options: PgOptions) -> Result<Self> {
        let dir = private_dir()?;
        // Who made the folder owns it, so its owner tells who we are.
        let run_as = (fs::metadata(dir.path())?.uid() == 0).then_some(UNPRIVILEGED_ID);
        let password = Alphanumeric.sample_string(&mut rand::rng(), 32);
        let password_file = dir.path().join("password");
        fs::write(&password_file, &password)?;
        let tcp_addr = if options.tcp { Some(free_port()?) } else { None };
        let mut pg = Self { dir, binaries, options, password, tcp_addr, url: String::new(), run_as, server: None };
        pg.url = pg.url_of(DATABASE);

        let mut initdb = pg.command(pg.binaries.program("initdb"));
        initdb
            .arg("-D")
            .arg(pg.data_dir())
            .args([
                "-U",
                USER,
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
            ])
            .arg("--pwfile")
            .arg(&password_file);
        if run_as.is_some() {
            for path in [pg.dir.path(), password_file.as_path()] {
                chown(path, run_as, run_as)?;
            }
        }
        let mut child =
            initdb.spawn().with_context(|| format!("cannot run {}", pg.binaries.program("initdb").display()))?;
        match wait_for(&mut child, INITDB_TIMEOUT)? {
            true if child.wait()?.success() => {}
            true => bail!("initdb failed:\n{}", pg.log_tail()),
            false => bail!("initdb did not finish within {} s", INITDB_TIMEOUT.as_secs()),
        }
        fs::remove_file(&password_file)?;
        Ok(pg)
    }

    /// Tries again while the server ends by itself: the processes of a killed one need a moment to let go of its shared
    /// memory, and its port may just be lent to somebody's outgoing connection.
    async fn launch_until_ready(&mut self) -> Result<()> {
        let ready_by = Instant::now() + READY_TIMEOUT;
        loop {
            self.launch()?;
            match self.wait_until_ready(ready_by).await {
                Err(error) if error.is::<Ended>() && Instant::now() < ready_by => {
                    tokio::time::sleep(RELAUNCH_INTERVAL).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Starts the server without waiting for it.
    fn launch(&mut self) -> Result<()> {
        let mut arguments = vec!["-D".into(), self.data_dir().into_os_string()];
        let listen = self.tcp_addr.map(|addr| addr.ip().to_string()).unwrap_or_default();
        for setting in [
            format!("listen_addresses={listen}"),
            format!("port={}", self.tcp_addr.map_or(5432, |addr| addr.port())),
            format!(
                "unix_socket_directories={}",
                if self.tcp_addr.is_some() { String::new() } else { self.dir.path().display().to_string() }
            ),
            format!("max_connections={}", self.options.max_connections),
            // Speed over safety from power cuts. Commits stay synchronous, so that a killed server loses nothing that
            // it confirmed.
            "fsync=off".into(),
            "full_page_writes=off".into(),
            "shared_buffers=16MB".into(),
            "timezone=UTC".into(),
        ] {
            arguments.extend(["-c".into(), setting.into()]);
        }
        let shell = self.command(PathBuf::from("sh"));
        let program = self.binaries.program("postgres");
        self.server = Some(Supervised::start(shell, "Postgres", self.dir.path(), &program, arguments)?);
        Ok(())
    }

    async fn wait_until_ready(&mut self, ready_by: Instant) -> Result<()> {
        let mut server = self.server.take().context("this Postgres does not run")?;
        let answers =
            async || Ok(tokio::time::timeout(PROBE_TIMEOUT, probe(&self.url)).await.context("no answer")??);
        server.until_ready(&self.log_file(), ready_by, PROBE_INTERVAL, answers).await?;
        self.server = Some(server);
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    /// A program that runs in the folder, without privileges, and writes to the log.
    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command.envs(self.binaries.environment());
        if let Some(id) = self.run_as {
            command.uid(id).gid(id);
        }
        log_to(&mut command, &self.log_file());
        command
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn log_tail(&self) -> String {
        log_tail(&self.log_file())
    }
}

impl fmt::Debug for PrivatePg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivatePg")
            .field("dir", &self.dir.path())
            .field("tcp_addr", &self.tcp_addr)
            .finish_non_exhaustive()
    }
}

/// A folder with a path short enough for a socket, which the unprivileged user can reach.
fn private_dir() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("weir-pg-");
    let dir = builder.tempdir().context("cannot make a temporary folder")?;
    if dir.path().as_os_str().as_bytes().len() <= SOCKET_DIR_BYTES_MAX {
        return Ok(dir);
    }
    builder.tempdir_in("/tmp").context("cannot make a folder in /tmp")
}

/// One connection, opened and closed.
async fn probe(url: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    drop(client);
    connection.await
}

/// Somebody may take the port before Postgres binds it; then the start fails and says so.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

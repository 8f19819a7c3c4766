//! A private Redis: the real server, in a temporary folder, for as long as its handle lives; alone, as a master with a
//! replica under sentinels, or as a cluster.

mod cluster;
mod resp;
mod sentinels;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::distr::{Alphanumeric, SampleString as _};
use tempfile::TempDir;

use crate::listener::free_port;
use crate::program::REDIS;
use crate::supervised::{Ended, Supervised, log_to};
use crate::witness;

pub use cluster::RedisCluster;
pub use resp::Reply;
pub use sentinels::{MASTER_NAME, SentinelSet};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_millis(10);
/// Longer than any answer takes, and short enough to find one that is paused.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// How to start a [`PrivateRedis`].
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Looked at before `WEIR_REDIS_BIN` and `PATH`.
    pub bin_dirs: Vec<PathBuf>,
    /// Ask for a password, which the URL has.
    pub password: bool,
}

/// A running Redis that nobody else uses. Stops, and removes its folder, on drop.
///
/// It is bound to no async runtime: it may live in a static that many tests share. What it confirmed survives
/// [`kill`](Self::kill).
#[derive(Debug)]
pub struct PrivateRedis {
    // Before the folder, so that it stops first.
    server: Option<Supervised>,
    dir: TempDir,
    program: PathBuf,
    kind: Kind,
    addr: SocketAddr,
    password: Password,
    /// Further lines of its config.
    settings: String,
    process_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Server,
    Sentinel,
}

#[derive(Clone)]
struct Password(Option<String>);

impl PrivateRedis {
    /// Starts it and returns when it answers.
    pub async fn start(options: RedisOptions) -> Result<Self> {
        let program = REDIS.find(&options.bin_dirs)?;
        Self::start_as(Kind::Server, program, Password::new(options.password), |_| String::new()).await
    }

    /// What a client of Redis takes: `redis://:password@127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.url_at(self.addr)
    }

    /// The same through another address on loopback, such as that of a fault proxy.
    pub fn url_at(&self, addr: SocketAddr) -> String {
        match &self.password.0 {
            Some(password) => format!("redis://:{password}@{addr}"),
            None => format!("redis://{addr}"),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Says one command and gives what Redis answers; an error where it says no.
    pub async fn command<T: AsRef<[u8]>>(&self, words: &[T]) -> Result<Reply> {
        let asking = async {
            let mut connection = resp::Connection::open(self.addr, self.password.0.as_deref()).await?;
            connection.command(words).await
        };
        tokio::time::timeout(COMMAND_TIMEOUT, asking)
            .await
            .with_context(|| format!("the private Redis at {} is silent", self.addr))?
    }

    /// One field of `INFO`, such as `role` or `used_memory`.
    pub async fn info(&self, field: &str) -> Result<String> {
        let info = self.command(&["INFO"]).await?.text()?;
        let value = |line: &str| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned());
        info.lines().find_map(value).with_context(|| format!("INFO has no field {field}"))
    }

    /// All that was ever written to it, as it stands in its log of writes: also what has expired since.
    pub fn written(&self) -> Vec<u8> {
        witness::files(&self.data_dir())
    }

    /// `kill -9`. Who connects is refused until [`restart`](Self::restart).
    pub async fn kill(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.kill().await,
            None => Ok(()),
        }
    }

    /// Starts it again at the same port, with all its data, after a stop if it still runs.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch_until_ready().await
    }

    /// Starts it again at the same port with nothing in it, after a stop if it still runs.
    pub async fn restart_empty(&mut self) -> Result<()> {
        self.stop().await?;
        let data = self.data_dir();
        fs::remove_dir_all(&data)?;
        fs::create_dir(&data)?;
        self.launch_until_ready().await
    }

    /// SIGSTOP: connections stay open, and the kernel accepts new ones, but nobody answers.
    pub async fn pause(&self) -> Result<()> {
        self.signal("STOP").await
    }

    /// SIGCONT.
    pub async fn resume(&self) -> Result<()> {
        self.signal("CONT").await
    }

    async fn stop(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    /// `settings` gives further lines of the config, and may depend on the port.
    async fn start_as(
        kind: Kind,
        program: PathBuf,
        password: Password,
        settings: impl Fn(SocketAddr) -> String,
    ) -> Result<Self> {
        let started_by = Instant::now() + READY_TIMEOUT;
        loop {
            let dir =
                tempfile::Builder::new().prefix("weir-redis-").tempdir().context("cannot make a temporary folder")?;
            let addr = free_port()?;
            let (program, password) = (program.clone(), password.clone());
            let mut redis = Self {
                server: None,
                dir,
                program,
                kind,
                addr,
                password,
                settings: settings(addr),
                process_id: String::new(),
            };
            fs::create_dir(redis.data_dir())?;
            redis.launch()?;
            match redis.wait_until_ready(started_by).await {
                // Somebody else took the port first: another one will do.
                Err(error) if error.is::<Ended>() && Instant::now() < started_by => {}
                outcome => return outcome.map(|()| redis),
            }
        }
    }

    /// Tries again while it ends by itself: its port may still be in the hands of the one that was killed.
    async fn launch_until_ready(&mut self) -> Result<()> {
        let ready_by = Instant::now() + READY_TIMEOUT;
        loop {
            self.launch()?;
            match self.wait_until_ready(ready_by).await {
                Err(error) if error.is::<Ended>() && Instant::now() < ready_by => {
                    tokio::time::sleep(PROBE_INTERVAL).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        let config = self.dir.path().join("redis.conf");
        // A sentinel, and a server of a cluster, write down what they learn; so they keep the first one.
        if !config.exists() {
            fs::write(&config, self.config()?)?;
        }
        let mut shell = Command::new("sh");
        shell.current_dir(self.dir.path());
        log_to(&mut shell, &self.dir.path().join("log"));
        let mut arguments = vec![config.into_os_string()];
        if self.kind == Kind::Sentinel {
            arguments.push("--sentinel".into());
        }
        self.server = Some(Supervised::start(shell, "Redis", self.dir.path(), &self.program, arguments)?);
        Ok(())
    }

    /// In a file, because everybody can read the words of a command line.
    fn config(&self) -> Result<String> {
        let data_dir = self.data_dir();
        let mut config = format!(
            "bind {}\nport {}\ndir {}\nsave \"\"\n",
            self.addr.ip(),
            self.addr.port(),
            data_dir.to_str().context("the temporary folder has no plain name")?
        );
        if self.kind == Kind::Server {
            // Each write is with the kernel before it is confirmed, so that only a power cut could lose it.
            config += "appendonly yes\nappendfsync no\nauto-aof-rewrite-percentage 0\n";
            config += "shutdown-timeout 0\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n";
            if let Some(password) = &self.password.0 {
                writeln!(config, "requirepass {password}\nmasterauth {password}")?;
            }
        }
        Ok(config + &self.settings)
    }

    async fn wait_until_ready(&mut self, ready_by: Instant) -> Result<()> {
        let mut server = self.server.take().context("this Redis does not run")?;
        let log = self.dir.path().join("log");
        self.process_id =
            server.until_ready(&log, ready_by, PROBE_INTERVAL, async || self.ready_process_id().await).await?;
        self.server = Some(server);
        Ok(())
    }

    /// It answers INFO while it still reads its data, and refuses a PING until it has.
    async fn ready_process_id(&self) -> Result<String> {
        self.command(&["PING"]).await?;
        self.info("process_id").await
    }

    async fn signal(&self, name: &str) -> Result<()> {
        ensure!(self.server.is_some(), "this Redis does not run");
        // The shell's own: a small system has no program of this name.
        let words = ["-c", "kill -s \"$0\" \"$1\"", name, &self.process_id];
        let mut command = Command::new("sh");
        command.args(words);
        let status = tokio::task::spawn_blocking(move || command.status()).await??;
        ensure!(status.success(), "no signal reached Redis");
        Ok(())
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Password {
    fn new(wanted: bool) -> Self {
        Self(wanted.then(|| Alphanumeric.sample_string(&mut rand::rng(), 32)))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "…" } else { "none" })
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        if witness::is_there() {
            witness::came(witness::REDIS, &self.written());
        }
    }
}

/// Asks again and again until the answer is yes.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let by = Instant::now() + READY_TIMEOUT;
    loop {
        let seen = match holds().await {
            Ok(true) => return Ok(()),
            Ok(false) => "it is not".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        ensure!(Instant::now() < by, "waited in vain until {what}: {seen}");
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

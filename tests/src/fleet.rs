//! Several `weir serve` beside each other: real processes with one config, which share what a Redis holds.

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Method, Uri};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rand::RngExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
    sync::oneshot,
    time::timeout,
};

use crate::{
    canary,
    harness::{ADMIN_TOKEN, Answer, PATIENCE, modern_request, read, request},
    programs, until,
};

/// The replicas, and whoever calls them.
#[derive(Debug)]
pub struct Fleet {
    replicas: Vec<Replica>,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Looked through when the fleet ends, before the folder is removed.
    _left: canary::Folder,
    dir: TempDir,
    /// How many files each process may have open, where it is less than what the machine allows.
    files_max: Option<u32>,
}

/// One process. Killed when it is dropped.
#[derive(Debug)]
struct Replica {
    /// Where it serves callers and operators. Nothing while it does not run.
    callers: String,
    admin: String,
    process: Child,
    log: Arc<Mutex<String>>,
}

impl Fleet {
    /// Starts so many with one config, which may refer to files in `dir`, and returns when all are ready. Each listens on free ports of
    /// loopback and ends without grace, unless the config says otherwise.
    pub async fn start(replicas: usize, dir: TempDir, config: Value) -> Result<Self> {
        Self::start_with(None, replicas, dir, config).await
    }

    /// The same, with no more than so many open files in each process.
    pub async fn start_with(files_max: Option<u32>, replicas: usize, dir: TempDir, mut config: Value) -> Result<Self> {
        let mut server = json!({ "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "grace": "0s", "drain": "1s" });
        for (name, value) in config["server"].as_object().cloned().unwrap_or_default() {
            server[name] = value;
        }
        let level = config["log"]["level"].as_str().unwrap_or("info").to_owned();
        (config["server"], config["log"]) = (server, json!({ "format": "json", "level": level }));
        canary::watch();
        std::fs::write(dir.path().join("weir.yaml"), config.to_string())?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        // Built before the first one is waited for.
        tokio::task::spawn_blocking(programs::weir).await?;
        let left = canary::Folder(dir.path().to_owned());
        let mut fleet = Self { replicas: Vec::new(), client, _left: left, dir, files_max };
        fleet.replicas = try_join_all((0..replicas).map(|_| fleet.start_one())).await?;
        Ok(fleet)
    }

    /// How many there are, running or not.
    pub fn len(&self) -> usize {
        self.replicas.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// Where one of them serves callers.
    pub fn address(&self, replica: usize) -> Result<SocketAddr> {
        let url: Uri = self.replicas[replica].callers.parse()?;
        Ok(url.authority().context("no address")?.as_str().parse()?)
    }

    /// Where one of them serves operators.
    pub fn admin_url(&self, replica: usize) -> &str {
        &self.replicas[replica].admin
    }

    /// Calls a tool at one of them.
    pub async fn call(&self, replica: usize, key: &str, tool: &str, arguments: Value) -> Result<Answer> {
        self.modern(replica, key, "tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// Calls a tool at any one of them.
    pub async fn call_any(&self, key: &str, tool: &str, arguments: Value) -> Result<Answer> {
        let replica = rand::rng().random_range(0..self.replicas.len());
        self.call(replica, key, tool, arguments).await
    }

    /// A modern request to one of them.
    pub async fn modern(&self, replica: usize, key: &str, method: &str, params: Value) -> Result<Answer> {
        let (headers, body) = modern_request(Some(key), method, params);
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let standard = [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        let headers: Vec<_> = standard.into_iter().chain(headers).collect();
        let url = &self.replicas[replica].callers;
        read(self.client.request(request(Method::POST, url, &headers, body)?).await?).await
    }

    /// A call of the plain API of one of them.
    pub async fn plain(&self, replica: usize, key: &str, body: String) -> Result<Answer> {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let url = self.replicas[replica].callers.replace("/mcp", "/v1/tools/call");
        read(self.client.request(request(Method::POST, &url, &headers, body)?).await?).await
    }

    /// A request to the operator's listener of one of them, with the token.
    pub async fn admin(&self, replica: usize, method: Method, path: &str, body: &str) -> Result<Answer> {
        let authorization = format!("Bearer {ADMIN_TOKEN}");
        let url = format!("{}{path}", self.replicas[replica].admin);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        read(self.client.request(request(method, &url, &headers, body.to_owned())?).await?).await
    }

    /// A metric of one of them: the sum over its labels, of those lines that hold `label` too.
    pub async fn metric(&self, replica: usize, name: &str, label: &str) -> Result<f64> {
        let metrics = self.admin(replica, Method::GET, "/metrics", "").await?.text;
        let mut sum = 0.0;
        for line in metrics.lines().filter(|line| line.starts_with(name) && line.contains(label)) {
            if matches!(line.as_bytes().get(name.len()), Some(b'{' | b' ')) {
                sum += line.rsplit(' ').next().context("a value")?.parse::<f64>()?;
            }
        }
        Ok(sum)
    }

    /// What the cache of one of them does, as its operator sees it: `waiters`, `take_overs`, ….
    pub async fn figure(&self, replica: usize, name: &str) -> Result<u64> {
        let figures = self.admin(replica, Method::GET, "/admin/cache", "").await?.json()?;
        figures[name].as_u64().with_context(|| format!("no {name} in {figures}"))
    }

    /// The sum of a figure over all of them.
    pub async fn figure_of_all(&self, name: &str) -> Result<u64> {
        let each = (0..self.len()).map(|replica| self.figure(replica, name));
        Ok(try_join_all(each).await?.iter().sum())
    }

    /// How much memory of the machine one of them has.
    pub fn resident_bytes(&self, replica: usize) -> Result<u64> {
        let status = std::fs::read_to_string(self.about(replica, "status")?)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// How long one of them has kept a processor busy since its start.
    pub fn busy_for(&self, replica: usize) -> Result<Duration> {
        /// In hundredths of a second, whatever the machine.
        const TICK_MS: u64 = 10;
        let stat = std::fs::read_to_string(self.about(replica, "stat")?)?;
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(Duration::from_millis(ticks.sum::<Result<u64, _>>()? * TICK_MS))
    }

    fn about(&self, replica: usize, what: &str) -> Result<String> {
        Ok(format!("/proc/{}/{what}", self.replicas[replica].process.id().context("it does not run")?))
    }

    /// Sends a signal to one of them by its name: `KILL`, `STOP`, `CONT`.
    pub async fn signal(&self, replica: usize, name: &str) -> Result<()> {
        let id = self.replicas[replica].process.id().context("it does not run")?.to_string();
        // The shell's own: a small system has no program of this name.
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status().await?;
        ensure!(sent.success(), "no signal for {id}");
        Ok(())
    }

    /// Waits until one of them has ended by itself, and tells how.
    pub async fn ended(&mut self, replica: usize) -> Result<ExitStatus> {
        Ok(timeout(PATIENCE, self.replicas[replica].process.wait()).await.context("it does not end")??)
    }

    /// The folder with the config of all of them, `weir.yaml`.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// `kill -9` for one of them, and its end.
    pub async fn kill(&mut self, replica: usize) -> Result<()> {
        Ok(timeout(PATIENCE, self.replicas[replica].process.kill()).await??)
    }

    /// Starts one of them again, at other ports.
    pub async fn start_again(&mut self, replica: usize) -> Result<()> {
        self.kill(replica).await?;
        self.replicas[replica] = self.start_one().await?;
        Ok(())
    }

    /// Starts one of them, which has ended, again where it served before.
    pub async fn start_again_there(&mut self, replica: usize) -> Result<()> {
        let text = std::fs::read_to_string(self.dir.path().join("weir.yaml"))?;
        let mut config: Value = serde_json::from_str(&text)?;
        config["server"]["listen"] = json!(self.address(replica)?);
        let file = format!("weir-{replica}.yaml");
        std::fs::write(self.dir.path().join(&file), config.to_string())?;
        self.replicas[replica] = self.start_by(&file).await?;
        Ok(())
    }

    /// Kills all of them at once and starts them again.
    pub async fn restart_all(&mut self) -> Result<()> {
        for replica in 0..self.len() {
            self.kill(replica).await?;
        }
        self.replicas = try_join_all((0..self.len()).map(|_| self.start_one())).await?;
        Ok(())
    }

    /// What one of them has written to its log since it was started.
    pub fn log(&self, replica: usize) -> String {
        self.replicas[replica].log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn start_one(&self) -> Result<Replica> {
        self.start_by("weir.yaml").await
    }

    async fn start_by(&self, config: &str) -> Result<Replica> {
        let mut command = match self.files_max {
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "ulimit -n \"$1\" && shift && exec \"$@\"", "sh", &most.to_string()]);
                shell.arg(programs::weir());
                shell
            }
            None => Command::new(programs::weir()),
        };
        command.args(["serve", "--config"]).arg(self.dir.path().join(config));
        command.env("WEIR_ADMIN_TOKEN", ADMIN_TOKEN).env_remove("WEIR_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("weir does not start")?;
        let log = Arc::<Mutex<String>>::default();
        let (said, serving) = oneshot::channel();
        tokio::spawn(follow(process.stderr.take().expect("it is piped"), log.clone(), said));
        let serving = timeout(PATIENCE, serving).await.context("weir does not serve in time")?;
        let Ok((callers, admin)) = serving else {
            let log = log.lock().unwrap_or_else(PoisonError::into_inner);
            anyhow::bail!("weir ended at its start:\n{log}");
        };
        let replica = Replica { callers, admin, process, log };
        until("a replica is ready", async || {
            let url = format!("{}/readyz", replica.admin);
            let ready = read(self.client.request(request(Method::GET, &url, &[], "")?).await?).await?;
            ensure!(ready.status == 200, "{}", ready.text);
            // What is not up, Redis among it, has a line of its own.
            Ok((ready.text == "ready\n").then_some(()))
        })
        .await?;
        Ok(replica)
    }
}

/// Keeps what a process writes, and tells where it serves as soon as it says so.
async fn follow(stderr: ChildStderr, log: Arc<Mutex<String>>, said: oneshot::Sender<(String, String)>) {
    const LOG_BYTES_MAX: usize = 1 << 20;
    let (mut lines, mut said) = (BufReader::new(stderr).lines(), Some(said));
    while let Ok(Some(line)) = lines.next_line().await {
        canary::look("the log of a replica", line.as_bytes());
        let serving = || {
            let line: Value = serde_json::from_str(&line).ok()?;
            Some((line["endpoint"].as_str()?.to_owned(), line["admin"].as_str()?.to_owned()))
        };
        if let Some(serving) = said.is_some().then(serving).flatten()
            && let Some(said) = said.take()
        {
            let _ = said.send(serving);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() < LOG_BYTES_MAX {
            log.push_str(&line);
            log.push('\n');
        }
    }
}

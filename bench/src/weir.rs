//! The router under load: the binary `weir`, in a process of its own.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::redis::PrivateRedis;

use crate::load::Target;

/// How long the router may take to list everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A router that serves on free ports and ends with this value.
#[derive(Debug)]
pub(crate) struct Weir {
    process: Child,
    pub(crate) endpoint: String,
    key: Option<String>,
    _config: tempfile::NamedTempFile,
}

/// How a router is started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start<'a> {
    /// Set in its environment, for secrets that the config refers to.
    pub(crate) variables: &'a [(&'a str, &'a str)],
    /// Who may call. Without keys everybody on this machine.
    pub(crate) keys: Option<&'a Keys>,
    /// The one processor that it may use.
    pub(crate) processor: Option<usize>,
}

impl Weir {
    /// Starts the `weir` that was built beside this program; its callers may use every tool.
    pub(crate) async fn start(config: &Value) -> Result<Self> {
        Self::start_with(config, Start::default()).await
    }

    /// The same in this way.
    pub(crate) async fn start_with(config: &Value, start: Start<'_>) -> Result<Self> {
        let binary = binary("weir")?;
        let (callers, operators) = (free_port()?, free_port()?);
        let mut config = config.clone();
        config["server"]["listen"] = format!("127.0.0.1:{callers}").into();
        config["server"]["admin"] = format!("127.0.0.1:{operators}").into();
        config["identity"] = match start.keys {
            Some(keys) => json!({ "api_keys": { "file": keys.file() } }),
            None => json!({ "local": { "roles": ["all"] } }),
        };
        config["policy"] = json!({ "roles": { "all": { "allow": ["*"] }, "flooding": {} } });
        config["log"] = json!({ "level": "error" });
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        // JSON is YAML.
        file.write_all(config.to_string().as_bytes())?;
        let mut command = match start.processor {
            Some(processor) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(processor.to_string()).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        let process = command
            .arg("serve")
            .arg("--config")
            .arg(file.path())
            .envs(start.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the router")?;
        let endpoint = format!("http://127.0.0.1:{callers}/mcp");
        let key = start.keys.and_then(|keys| keys.keys.first().cloned());
        Ok(Self { process, endpoint, key, _config: file })
    }

    /// Waits until `count` tools are listed and gives their names.
    pub(crate) async fn until_tools(&self, count: usize) -> Result<Vec<String>> {
        let listed = async {
            loop {
                match self.tool_names().await {
                    Ok(names) if names.len() == count => return names,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, listed).await.context("the router did not list all tools in time")
    }

    /// The names of all pages of `tools/list`.
    pub(crate) async fn tool_names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut params = json!({});
        loop {
            let mut target = Target::new(&self.endpoint, "tools/list", params, "")?;
            if let Some(key) = &self.key {
                target = target.with_key(key);
            }
            let answer: Value = serde_json::from_slice(&target.connect().await?.ask().await?)?;
            let tools = answer["result"]["tools"].as_array().context("no list of tools")?;
            names.extend(tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)));
            match answer["result"]["nextCursor"].as_str() {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return Ok(names),
            }
        }
    }

    /// The processor time, user and system, that the router has used.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        // The fields after the command, which stands in brackets and may hold anything (proc(5)).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        Some(ticks / 100.0)
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A router that shares what it knows with all others at this Redis.
pub(crate) async fn with_redis(config: &Value, redis: &PrivateRedis, start: Start<'_>) -> Result<Weir> {
    let mut config = config.clone();
    config["redis"] = json!({ "url": { "env": "BENCH_REDIS" } });
    config["secrets"] = json!({ "master": { "env": "BENCH_MASTER" } });
    let url = redis.url();
    let mut variables =
        vec![("BENCH_REDIS", url.as_str()), ("BENCH_MASTER", "for the load generator and nothing else")];
    variables.extend(start.variables);
    Weir::start_with(&config, Start { variables: &variables, ..start }).await
}

/// API keys of callers that may use every tool.
#[derive(Debug)]
pub(crate) struct Keys {
    dir: tempfile::TempDir,
    /// In the order of their subjects.
    pub(crate) keys: Vec<String>,
}

impl Keys {
    /// One for each subject with its roles, as `weir keys create` makes them.
    pub(crate) fn of(subjects: &[(&str, &[&str])]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut keys = Vec::new();
        for (subject, roles) in subjects {
            let made = Command::new(binary("weir")?)
                .args(["keys", "create", "--json", "--subject", subject, "--file"])
                .arg(dir.path().join("keys.yaml"))
                .arg("--role")
                .args(*roles)
                .output()?;
            ensure!(made.status.success(), "no key was made: {}", String::from_utf8_lossy(&made.stderr));
            let made: Value = serde_json::from_slice(&made.stdout)?;
            keys.push(made["key"].as_str().context("no key in what `weir keys create` prints")?.to_owned());
        }
        Ok(Self { dir, keys })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("keys.yaml")
    }
}

/// A program that was built beside this one.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name(name);
    ensure!(
        binary.exists(),
        "{} is missing: run `cargo build --release --workspace --bins` first, or use `./run bench`",
        binary.display()
    );
    Ok(binary)
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

//! The router under load: the binary `weir`, in a process of its own.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::load::Target;

/// How long the router may take to list everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A router that serves on free ports and ends with this value.
#[derive(Debug)]
pub(crate) struct Weir {
    process: Child,
    pub(crate) endpoint: String,
    _config: tempfile::NamedTempFile,
}

impl Weir {
    /// Starts the `weir` that was built beside this program; its callers may use every tool.
    pub(crate) async fn start(config: &Value) -> Result<Self> {
        Self::start_with(config, &[]).await
    }

    /// The same with these variables in its environment, for secrets that the config refers to.
    pub(crate) async fn start_with(config: &Value, variables: &[(&str, &str)]) -> Result<Self> {
        let binary = std::env::current_exe()?.with_file_name("weir");
        anyhow::ensure!(
            binary.exists(),
            "{} is missing: run `cargo build --release` first, or use `./run bench`",
            binary.display()
        );
        let (callers, operators) = (free_port()?, free_port()?);
        let mut config = config.clone();
        config["server"] =
            json!({ "listen": format!("127.0.0.1:{callers}"), "admin": format!("127.0.0.1:{operators}") });
        config["identity"] = json!({ "local": { "roles": ["all"] } });
        config["policy"] = json!({ "roles": { "all": { "allow": ["*"] } } });
        config["log"] = json!({ "level": "warn" });
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        // JSON is YAML.
        file.write_all(config.to_string().as_bytes())?;
        let process = Command::new(binary)
            .arg("serve")
            .arg("--config")
            .arg(file.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { process, endpoint: format!("http://127.0.0.1:{callers}/mcp"), _config: file })
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
            let target = Target::new(&self.endpoint, "tools/list", params, "")?;
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

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

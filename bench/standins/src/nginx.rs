//! A private nginx: the real server, in a temporary folder, for as long as its handle lives.

#[cfg(test)]
mod tests;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::listener::free_port;
use crate::program::NGINX;
use crate::supervised::{Ended, Supervised, log_tail, log_to};

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_millis(10);
/// All that a site does not say for itself. One process, which needs no user of its own and leaves none behind.
const AROUND: &str = "\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
";

/// A running nginx that nobody else uses. Stops, and removes its folder, on drop.
#[derive(Debug)]
pub struct PrivateNginx {
    // Before the folder, so that it stops first.
    _server: Supervised,
    dir: TempDir,
    addr: SocketAddr,
}

impl PrivateNginx {
    /// Starts it and returns when it listens. `site` gives what stands in its `http { … }` for the address it is to listen
    /// on. `bin_dirs` are looked at before `WEIR_NGINX_BIN` and `PATH`.
    pub async fn start(bin_dirs: &[PathBuf], site: impl Fn(SocketAddr) -> String) -> Result<Self> {
        let program = NGINX.find(bin_dirs)?;
        let ready_by = Instant::now() + READY_TIMEOUT;
        loop {
            let addr = free_port()?;
            match Self::start_on(&program, addr, &site(addr), ready_by).await {
                // Somebody else took the port first: another one will do.
                Err(error)
                    if error.is::<Ended>() && error.to_string().contains("in use") && Instant::now() < ready_by => {}
                outcome => return outcome,
            }
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The end of what it wrote: why it answered 502, for one.
    pub fn log(&self) -> String {
        log_tail(&self.dir.path().join("log"))
    }

    async fn start_on(program: &Path, addr: SocketAddr, site: &str, ready_by: Instant) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("weir-nginx-").tempdir().context("cannot make a temporary folder")?;
        let config = dir.path().join("nginx.conf");
        fs::write(&config, format!("{AROUND}{site}\n}}\n"))?;
        let log = dir.path().join("log");
        let mut shell = Command::new("sh");
        shell.current_dir(dir.path());
        log_to(&mut shell, &log);
        let arguments = ["-p", ".", "-e", "stderr", "-c", "nginx.conf"];
        let mut server = Supervised::start(shell, "nginx", dir.path(), program, arguments)?;
        let probe = async || Ok(TcpStream::connect(addr).await.map(drop)?);
        server.until_ready(&log, ready_by, PROBE_INTERVAL, probe).await?;
        Ok(Self { _server: server, dir, addr })
    }
}

//! A server that ends, and whose folder goes, with the process that started it.
//!
//! It runs under a small supervising shell whose standard input is a pipe that we hold. Whatever ends this process also
//! closes the pipe, and the shell then stops the server and removes the folder: a killed test run leaves nothing behind.
//! A parent-death signal alone would not do, because it fires when the *thread* that started the child ends.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Obeys two words on standard input. At its end, which is also what a killed parent leaves, it stops the server, even
/// one that is paused, and removes the folder.
const SHELL: &str = r#"
dir=$1; shift
exec 3<&0
"$@" </dev/null 3<&- & server=$!
(
  while read -r word; do
    case $word in
      kill) kill -KILL "$server" ;;
      stop) kill -INT "$server" ;;
    esac
  done <&3
  touch "$dir/remove"
  kill -INT "$server"
  kill -CONT "$server"
) & reader=$!
wait "$server"
if [ -e "$dir/remove" ]; then rm -rf "$dir"; fi
kill "$reader"
"#;

/// A running server. Dropping it stops the server and removes its folder.
#[derive(Debug)]
pub(crate) struct Supervised {
    name: &'static str,
    shell: Option<Child>,
}

impl Supervised {
    /// Starts the server `program` without waiting for it. `shell` is a command for `sh` that has the surroundings of
    /// the server: its folder, user, variables, and where its output goes. The name is what people call the server.
    pub(crate) fn start<A: AsRef<OsStr>>(
        mut shell: Command,
        name: &'static str,
        dir: &Path,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        shell.args(["-c", SHELL, "supervisor"]).arg(dir);
        // Should somebody kill the supervisor itself, the server still goes with it.
        if Path::new("/usr/bin/setpriv").exists() {
            shell.args(["/usr/bin/setpriv", "--pdeathsig", "INT", "--"]);
        }
        // A group of its own, so that Ctrl-C on the terminal reaches this process first, which then ends the server in
        // its turn.
        shell.arg(program).args(arguments).stdin(Stdio::piped()).process_group(0);
        let shell = shell.spawn().with_context(|| format!("cannot start the supervising shell of {name}"))?;
        Ok(Self { name, shell: Some(shell) })
    }

    /// What `probe` says once it succeeds. [`Ended`] when the server ends by itself before that.
    pub(crate) async fn until_ready<T>(
        &mut self,
        log: &Path,
        ready_by: Instant,
        probe_interval: Duration,
        mut probe: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        loop {
            let refused = match probe().await {
                Ok(ready) => return Ok(ready),
                Err(error) => error,
            };
            ensure!(
                Instant::now() < ready_by,
                "{} was not ready in time ({refused:#}). Its log ends:\n{}",
                self.name,
                log_tail(log)
            );
            if self.has_ended().unwrap_or(true) {
                return Err(Ended { name: self.name, log_tail: log_tail(log) }.into());
            }
            tokio::time::sleep(probe_interval).await;
        }
    }

    fn has_ended(&mut self) -> io::Result<bool> {
        self.shell.as_mut().map_or(Ok(true), |shell| Ok(shell.try_wait()?.is_some()))
    }

    /// Ends the server as a power cut would, and leaves its folder.
    pub(crate) async fn kill(self) -> Result<()> {
        self.end("kill").await
    }

    /// Lets the server end as it likes to, and leaves its folder.
    pub(crate) async fn stop(self) -> Result<()> {
        self.end("stop").await
    }

    async fn end(mut self, word: &str) -> Result<()> {
        let mut shell = self.shell.take().expect("only this and the drop take it");
        let mut stdin = shell.stdin.take().expect("it was started with a pipe");
        // The pipe breaks when the server ended by itself, which is what is wanted.
        let _ = writeln!(stdin, "{word}");
        let ended = tokio::task::spawn_blocking(move || {
            let ended = wait_for(&mut shell, STOP_TIMEOUT);
            drop(stdin);
            ended
        })
        .await??;
        ensure!(ended, "{} did not stop within {} s", self.name, STOP_TIMEOUT.as_secs());
        Ok(())
    }
}

impl Drop for Supervised {
    /// Waits, as a rule for a tenth of a second, so that the folder is not removed under a running server.
    fn drop(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            if !wait_for(&mut shell, STOP_TIMEOUT).unwrap_or(false) {
                tracing::warn!("{} did not stop within {} s", self.name, STOP_TIMEOUT.as_secs());
            }
        }
    }
}

/// The server ended before it was ready.
#[derive(Debug)]
pub(crate) struct Ended {
    name: &'static str,
    log_tail: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended at its start. Its log ends:\n{}", self.name, self.log_tail)
    }
}

impl std::error::Error for Ended {}

/// Lets a program write to the end of a file. Without its log a server still serves; what is lost is the explanation of a
/// failure.
pub(crate) fn log_to(command: &mut Command, file: &Path) {
    if let Ok(log) = File::options().create(true).append(true).open(file)
        && let Ok(copy) = log.try_clone()
    {
        command.stdout(log).stderr(copy);
    }
}

/// The end of a log.
pub(crate) fn log_tail(file: &Path) -> String {
    let log = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(2_000)..]).into_owned()
}

/// Whether the process ended in time. Killed when it did not.
pub(crate) fn wait_for(child: &mut Child, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

//! The program `weir` itself, as its users run it.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tests::canary;
pub(crate) use tests::programs::{standins, weir};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Longer than anything here takes on a busy machine; a program that hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(60);

/// `weir` with these words, nothing of our environment that it would look at, killed if the test ends first.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(weir());
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    for variable in ["WEIR_API_KEY", "WEIR_ADMIN_TOKEN", "WEIR_ADMIN", "WEIR_LOG"] {
        command.env_remove(variable);
    }
    command
}

/// Runs to the end.
pub(crate) async fn finish(command: &mut Command) -> Finished {
    let output = timeout(PATIENCE, command.output()).await.expect("weir ends").expect("weir runs");
    Finished::new(output)
}

/// Runs `weir` with these words to its end.
pub(crate) async fn run(words: &[&str]) -> Finished {
    finish(&mut command(words)).await
}

/// How a run ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| {
            canary::look("the output of weir", &bytes);
            String::from_utf8(bytes).expect("weir writes UTF-8")
        };
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The same, after making sure of the exit code.
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// A `weir` that runs until it is told to end.
pub(crate) struct Started {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Everything it wrote to stderr, when it has ended.
    stderr: tokio::task::JoinHandle<String>,
    lines: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl Started {
    pub(crate) fn new(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("weir starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut from = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
        let stderr = tokio::spawn(async move {
            let mut all = String::new();
            while let Ok(Some(line)) = from.next_line().await {
                canary::look("the log of weir", line.as_bytes());
                all += &line;
                all.push('\n');
                let _ = sender.send(line);
            }
            all
        });
        Self { child, stdout, stderr, lines }
    }

    /// Its standard input, where it is piped.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it is piped")
    }

    /// The next line on stdout.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stdout.read_line(&mut line))
            .await
            .expect("a line in time")
            .expect("stdout can be read");
        assert!(read > 0, "stdout ended");
        line
    }

    /// Waits for a line on stderr that holds `text`, and returns it.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        let found = async {
            loop {
                let line = self.lines.recv().await.unwrap_or_else(|| panic!("stderr ended without `{text}`"));
                if line.contains(text) {
                    return line;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no `{text}` on stderr"))
    }

    /// Sends a signal by name: `INT`, `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        // The shell's own: a small system has no program of this name.
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status().await.expect("sh runs");
        assert!(sent.success(), "no signal for {id}");
    }

    /// Waits for its end.
    pub(crate) async fn finish(mut self) -> Finished {
        let mut stdout = String::new();
        let ended = async {
            self.stdout.read_to_string(&mut stdout).await.expect("stdout can be read");
            let code = self.child.wait().await.expect("it can be waited for").code();
            (code, self.stderr.await.expect("stderr is read"))
        };
        let (code, stderr) = timeout(PATIENCE, ended).await.expect("weir ends");
        Finished { code, stdout, stderr }
    }
}

//! The words of the command line, and how each of them ends.

mod admin;
mod audit;
mod cache;
mod call;
mod check;
pub(crate) mod connection;
mod explain;
mod init;
pub(crate) mod keys;
mod lock;
pub(crate) mod log;
mod output;
mod serve;
pub(crate) mod signals;
mod stdio;
mod target;
mod tools;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use config::Problems;

pub(crate) use output::Style;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; the message says what to do (also: the tool that was called answered with an error)
  2  wrong usage
  3  the config has mistakes
  4  `weir check --connect`: the config is right, but a downstream or Redis could not be used
  10 to 15  `weir audit verify` found damage: `weir audit --help` says which
  130, 143  ended at once by a second Ctrl-C or SIGTERM

Environment: WEIR_API_KEY (key of `stdio`, `tools` and `call` with --url), WEIR_ADMIN_TOKEN (opens /admin/…, also for `explain` and
`cache`), WEIR_ADMIN (their --admin),
WEIR_LOG (what is logged, instead of `log.level`: warn, debug, info,router=debug).";

/// One MCP endpoint in front of the systems a company already has.
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_help = EXIT_CODES, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the router.
    Serve(serve::Arguments),
    /// Speak MCP on standard input and output, as Claude Desktop wants it.
    Stdio(stdio::Arguments),
    /// Show the router at work: a real database, another MCP server, a short tour. Needs no set-up.
    #[cfg(feature = "demo")]
    Demo(crate::demo::Arguments),
    /// Write a first weir.yaml and print how Claude Desktop, Claude Code and the Claude API use it.
    Init(init::Arguments),
    /// Report every mistake in a config at once.
    Check(check::Arguments),
    /// List the tools that a caller sees.
    Tools(tools::Arguments),
    /// Call one tool.
    Call(call::Arguments),
    /// Say what would become of a call, and why: policy, arguments, cache. Asks a running router and calls nothing.
    Explain(explain::Arguments),
    /// End cached answers of a running router and its replicas.
    Cache(cache::Arguments),
    /// Create, list, rotate and revoke API keys.
    Keys(keys::Arguments),
    /// Pin the definitions of tools: write the lock file, look at what changed, approve it.
    Lock(lock::Arguments),
    /// Verify, search, export and prune the audit log.
    Audit(audit::Arguments),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    ConfigMistakes,
    DownstreamUnusable,
    /// The audit log is damaged; the kind of damage has the code.
    AuditDamaged(u8),
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::ConfigMistakes => 3,
            Exit::DownstreamUnusable => 4,
            Exit::AuditDamaged(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(u8::from(exit))
    }
}

/// Reads the command line, does what it says, and tells how that ended.
pub(crate) fn main() -> ExitCode {
    // A second one is refused; nothing before this line could have installed a first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let command = CommandLine::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()).into(),
    };
    let exit = runtime.block_on(run(command)).unwrap_or_else(|error| report(&error));
    // What still runs now has been given its time; a thread that sits in a read of standard input would never end.
    runtime.shutdown_background();
    exit.into()
}

async fn run(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Serve(arguments) => serve::run(&arguments).await,
        Command::Stdio(arguments) => stdio::run(arguments).await,
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => crate::demo::run(&arguments).await,
        Command::Init(arguments) => init::run(&arguments),
        Command::Check(arguments) => check::run(&arguments).await,
        Command::Tools(arguments) => tools::run(&arguments).await,
        Command::Call(arguments) => call::run(&arguments).await,
        Command::Explain(arguments) => explain::run(&arguments).await,
        Command::Cache(arguments) => cache::run(&arguments).await,
        Command::Keys(arguments) => keys::run(&arguments).await,
        Command::Lock(arguments) => lock::run(&arguments).await,
        Command::Audit(arguments) => audit::run(&arguments),
    }
}

/// Says on stderr why a command failed.
fn report(error: &anyhow::Error) -> Exit {
    if let Some(broken) = error.downcast_ref::<io::Error>()
        && broken.kind() == io::ErrorKind::BrokenPipe
    {
        // Whoever read our output has seen enough.
        return Exit::Done;
    }
    let mistakes = error.downcast_ref::<Problems>();
    let text = match mistakes {
        Some(problems) => problems.to_string(),
        None => format!("weir: {error:#}"),
    };
    // Nobody is left to tell if stderr is gone.
    let stderr = io::stderr();
    let _ = writeln!(&stderr, "{}", Style::of(&stderr).foreign(&text));
    if mistakes.is_some() { Exit::ConfigMistakes } else { Exit::Failed }
}

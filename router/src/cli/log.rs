//! Where the log goes: stderr, never stdout, which belongs to protocol and results.

use std::io::{self, IsTerminal as _};

use config::{
    Log, environment,
    log::{LogFormat, LogLevel},
};
use tracing_subscriber::EnvFilter;

/// Starts the log as the config wants it. `WEIR_LOG` overrides the level.
///
/// # Errors
/// When `WEIR_LOG` cannot be understood.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = match environment::log_filter() {
        Some(directives) => EnvFilter::try_new(&directives).map_err(|error| {
            anyhow::anyhow!(
                "WEIR_LOG is `{directives}`: {error}. Write a level, or levels by module: `info,router=debug`"
            )
        })?,
        None => EnvFilter::new(directives(log.level)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        LogFormat::Text => builder.with_target(false).with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).init(),
    }
    Ok(())
}

/// The level for our own crates; of libraries only what needs somebody.
fn directives(level: LogLevel) -> String {
    let level = match level {
        LogLevel::Error => return "error".to_owned(),
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    format!("warn,weir={level},router={level},adapters={level},cache={level},config={level}")
}

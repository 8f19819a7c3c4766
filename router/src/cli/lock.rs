//! `weir lock`: pins the definitions of tools, and what an operator does with those that changed.

mod held;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use config::{Loaded, Log, log::LogLevel};
use futures_util::future::join_all;
use router::definitions::{Change, Lock, defines_its_tools};
use serde_json::json;

use super::{Exit, Style, check::offer_of, log, output::count, serve::DEFAULT_CONFIG};

/// The name of the lock file where the config gives none.
const DEFAULT_LOCK: &str = "weir.lock";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    write: Write,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Write {
    /// The config file. Its downstreams are asked for their tools; none is called.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Write nothing; exit with 1 when the lock file is not what the downstreams offer now.
    #[arg(long)]
    check: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show which tools a running router holds back, and what changed in their definitions.
    Held(held::Held),
    /// Approve the definition of a tool that is held back, on all replicas.
    Approve(held::Approve),
    /// Write the lock file of a running router, with everything in it that was approved since.
    Export(held::Export),
}

/// What became of one downstream.
struct Asked {
    name: String,
    outcome: Result<Vec<Change>, String>,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    match &arguments.command {
        None => write(&arguments.write).await,
        Some(Command::Held(arguments)) => held::held(arguments).await,
        Some(Command::Approve(arguments)) => held::approve(arguments).await,
        Some(Command::Export(arguments)) => held::export(arguments).await,
    }
}

async fn write(arguments: &Write) -> anyhow::Result<Exit> {
    let loaded = router::load(&arguments.config).await?;
    loaded.surroundings()?;
    log::start(&Log { level: LogLevel::Error, ..Log::default() })?;
    let named = loaded.config.definitions.lock.clone();
    let path = loaded.sources.base.join(named.as_deref().unwrap_or(Path::new(DEFAULT_LOCK)));
    let before = if path.exists() { Lock::read(&path)? } else { Lock::default() };
    let mut lock = before.clone();
    let asked = ask_all(&loaded, &mut lock).await;
    let known =
        |name: &str| loaded.config.downstreams.iter().any(|(own, of)| own.as_str() == name && defines_its_tools(of));
    let forgotten = lock.forget_others(known);

    let is_new = !path.exists() || lock.to_text() != before.to_text();
    let bytes = lock.to_text().len() as u64;
    ensure!(
        bytes <= Lock::BYTES_MAX,
        "the file would have {bytes} bytes; {} can be read: expose fewer tools (`expose: listed`)",
        Lock::BYTES_MAX
    );
    if is_new && !arguments.check {
        put(&path, &lock.to_text()).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let mut stdout = io::stdout();
    if arguments.json {
        let downstream = |asked: &Asked| match &asked.outcome {
            Ok(changes) => json!({ "name": asked.name, "changes": changes }),
            Err(reason) => json!({ "name": asked.name, "reason": reason }),
        };
        let downstreams: Vec<_> = asked.iter().map(downstream).collect();
        let (file, written) = (path.display().to_string(), is_new && !arguments.check);
        let told = json!({ "file": file, "written": written, "changed": is_new, "forgotten": forgotten, "downstreams": downstreams });
        writeln!(stdout, "{told}")?;
    } else {
        let style = Style::of(&stdout);
        asked.iter().try_for_each(|asked| asked.print(&mut stdout, style))?;
        for name in &forgotten {
            writeln!(stdout, "  {}: no such MCP server is in the config any more", style.bold(name))?;
        }
        let (file, pinned) = (path.display(), count(lock.len(), "definition"));
        match (is_new, arguments.check) {
            (false, _) => writeln!(stdout, "{file} is {}: {pinned}.", style.good("up to date"))?,
            (true, false) => {
                writeln!(stdout, "Wrote {file}: {pinned}. Look at it as at code, and keep it beside the config.")?;
            }
            (true, true) => {
                writeln!(stdout, "{file} is {}: `weir lock` writes it.", style.bad("not what is offered now"))?;
            }
        }
        if named.is_none() {
            writeln!(io::stderr(), "The config does not use it yet: add `definitions: {{ lock: {DEFAULT_LOCK} }}`.")?;
        }
    }
    Ok(if asked.iter().any(|asked| asked.outcome.is_err()) {
        Exit::DownstreamUnusable
    } else if is_new && arguments.check {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// Those that define their tools themselves. One that cannot be listed keeps what the lock file has of it.
async fn ask_all(loaded: &Loaded, lock: &mut Lock) -> Vec<Asked> {
    let askable = loaded.config.downstreams.iter().filter(|(_, of)| defines_its_tools(of));
    let offers = join_all(askable.map(|(name, downstream)| async move {
        (name, downstream, offer_of(name, downstream, &loaded.sources).await)
    }))
    .await;
    let renewed = offers.into_iter().map(|(name, downstream, offer)| {
        let outcome = offer.map(|offer| lock.renew(name.as_str(), downstream, &offer));
        Asked { name: name.to_string(), outcome }
    });
    renewed.collect()
}

impl Asked {
    fn print(&self, to: &mut impl io::Write, style: Style) -> io::Result<()> {
        let name = style.bold(&self.name);
        let changes = match &self.outcome {
            Err(reason) => {
                return writeln!(
                    to,
                    "  {name}: {} {} What the file has of it stays.",
                    style.bad("not asked."),
                    style.foreign(reason)
                );
            }
            Ok(changes) if changes.is_empty() => return writeln!(to, "  {name}: nothing new"),
            Ok(changes) => changes,
        };
        for Change { tool, what, findings, diff, .. } in changes {
            writeln!(to, "  {name}: {what} `{tool}`")?;
            for finding in findings {
                writeln!(to, "    {} {finding}", style.bad("look:"))?;
            }
            // All of a new definition is in the file.
            if *what == "changed" {
                print_diff(to, style, diff)?;
            }
        }
        Ok(())
    }
}

/// The lines of a diff; those that came and went in colours.
fn print_diff(to: &mut impl io::Write, style: Style, lines: &[impl AsRef<str>]) -> io::Result<()> {
    for line in lines.iter().map(AsRef::as_ref) {
        let line = match line.as_bytes().first() {
            Some(b'+') => style.good(line),
            Some(b'-') => style.bad(line),
            Some(b'@') => style.bold(line),
            _ => line.to_owned(),
        };
        writeln!(to, "    {line}")?;
    }
    Ok(())
}

/// All of it or nothing: whoever reads the file meanwhile reads the one of before.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

//! `weir audit`: reads, checks and prunes the audit log. Works on the files alone; a router may go on writing meanwhile.

mod evidence;
mod keygen;
mod prune;
mod search;
mod select;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use config::secret::read_private;

use super::Exit;
use router::audit::age::Identity;

const EXIT_CODES: &str = "\
Exit codes of `weir audit verify` (of several damages, the gravest):
  0   the log is what was written
  10  a line is another one than was written
  11  lines, segments or chains are missing, stand twice or elsewhere
  12  the end of a chain is cut off
  13  a checkpoint is not signed by a key that may sign
  14  the anchor has other checkpoints: the log was written anew
  15  sealed records do not open with the identity";

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell whether the log is what was written, and where not.
    Verify(verify::Arguments),
    /// Find records.
    Search(search::Search),
    /// Write all records of a time as JSON lines or CSV.
    Export(search::Export),
    /// Collect what the log proves of SOC 2 criteria and ISO 27001 controls.
    Evidence(evidence::Arguments),
    /// Take away segments that are older than the retention, and leave a signed tombstone.
    Prune(prune::Arguments),
    /// Make the keys of a log: the age identity that reads it, or the key that signs it.
    Keygen(keygen::Arguments),
}

/// Which log.
#[derive(Debug, Args)]
struct Log {
    /// The folder of the log: `audit.dir` in weir.yaml.
    #[arg(value_name = "DIR", default_value = "audit")]
    dir: PathBuf,
    /// The file with the age identity (AGE-SECRET-KEY-1…) that opens sealed records. Nobody but its owner may read it.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl Log {
    fn identity(&self) -> anyhow::Result<Option<Identity>> {
        self.identity.as_deref().map(identity).transpose()
    }

    /// Reads nothing where there is nothing: a wrong folder must not look like an empty log.
    fn dir(&self) -> anyhow::Result<&Path> {
        std::fs::read_dir(&self.dir).with_context(|| {
            format!("{} cannot be read: give the folder that `audit.dir` names", self.dir.display())
        })?;
        Ok(&self.dir)
    }
}

fn identity(path: &Path) -> anyhow::Result<Identity> {
    let text = secrecy::SecretString::from(read_private(path)?);
    Identity::parse(secrecy::ExposeSecret::expose_secret(&text)).with_context(|| path.display().to_string())
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    match &arguments.command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Search(arguments) => search::search(arguments),
        Command::Export(arguments) => search::export(arguments),
        Command::Evidence(arguments) => evidence::run(arguments),
        Command::Prune(arguments) => prune::run(arguments),
        Command::Keygen(arguments) => keygen::run(arguments),
    }
}

//! `weir audit prune`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::Args;
use config::{Period, secret::read_private};
use jiff::{SignedDuration, Timestamp};

use super::{Exit, Log, verify::Against};
use crate::cli::output::count;
use router::audit::{
    prune::prune,
    signing::{KEY_FILE, SigningKey},
    tombstone::RETENTION_MIN,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    against: Against,
    /// Take away segments whose records are all older than this: `audit.retention` in weir.yaml, and never less than 90d.
    #[arg(long, value_name = "PERIOD", default_value_t = RETENTION_MIN)]
    older_than: Period,
    /// The config of the log, whose `audit.retention` then holds as well.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The key that signs the tombstones. Not stated: `signing-key.pem` in the folder.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// Say what would be taken away, and take nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let least = arguments.retention()?;
    let older_than = arguments.older_than;
    if older_than < least {
        bail!(
            "--older-than {older_than} is less than {least}, for which records are kept at least; nothing was taken away"
        );
    }
    let dir = arguments.log.dir()?;
    let key = if arguments.dry_run { None } else { Some(arguments.key()?) };
    let now = Timestamp::now();
    let before = now.checked_sub(SignedDuration::try_from(older_than.0)?).context("--older-than is too long")?;
    let report = arguments.against.verify(&arguments.log)?;
    let pruned = prune(dir, &report, before, now, key.as_ref()).context("the log could not be pruned")?;
    let mut stdout = io::stdout().lock();
    for file in &pruned.files {
        writeln!(stdout, "{file}")?;
    }
    let did = if arguments.dry_run { "would be taken away" } else { "taken away" };
    let files = count(pruned.files.len(), "segment");
    writeln!(stdout, "{files} with {} records and {} bytes {did}.", pruned.records, pruned.bytes)?;
    for left in &pruned.left {
        writeln!(io::stderr(), "weir: left as it is: {left}; see `weir audit verify`")?;
    }
    Ok(if pruned.left.is_empty() { Exit::Done } else { Exit::Failed })
}

impl Arguments {
    /// How long records are kept at least, whatever the command line says.
    fn retention(&self) -> anyhow::Result<Period> {
        let Some(path) = &self.config else { return Ok(RETENTION_MIN) };
        let loaded = config::load(path)?;
        Ok(loaded.config.audit.retention.max(RETENTION_MIN))
    }

    fn key(&self) -> anyhow::Result<SigningKey> {
        let path = self.signing_key.clone().unwrap_or_else(|| self.log.dir.join(KEY_FILE));
        let pem = read_private(&path).context("prune signs what it takes away; give its key: --signing-key FILE")?;
        SigningKey::parse(&pem.into()).with_context(|| path.display().to_string())
    }
}

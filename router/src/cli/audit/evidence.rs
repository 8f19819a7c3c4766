//! `weir audit evidence`.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Args;
use config::secret::read_private;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Exit, Log, select::Span, verify::Against};
use router::audit::{
    evidence::{
        bundle, collect,
        criteria::{CRITERIA, find},
        summary,
    },
    hash::Hash,
    signing::SigningKey,
};

/// What stands before the manifest where it is signed, so that it is not taken for a checkpoint.
const SIGNED_AS: &str = "evidence\n";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    against: Against,
    #[command(flatten)]
    span: Span,
    /// A SOC 2 criterion or an ISO 27001:2022 control: CC6.1, A.8.15; or all.
    #[arg(long, value_name = "ID", default_value = "all")]
    criterion: String,
    /// A new folder for the bundle: summary.md, evidence.json, manifest.json.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Sign the manifest with this key; the public key in checkpoints tells whose it is.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let criteria = find(&arguments.criterion);
    if criteria.is_empty() {
        let known: Vec<&str> = CRITERIA.iter().map(|criterion| criterion.id).collect();
        bail!("there is no criterion {}; there are {}, and all", arguments.criterion, known.join(", "));
    }
    let key = arguments.signing_key.as_deref().map(signing_key).transpose()?;
    let now = Timestamp::now();
    let identity = arguments.log.identity()?;
    let report = arguments.against.verify(&arguments.log)?;
    let evidence = collect(arguments.log.dir()?, identity.as_ref(), &arguments.span.filter())?;
    let mut json = serde_json::to_string_pretty(&bundle(&evidence, &criteria, &report, now))?;
    json.push('\n');
    let files = [("summary.md", summary(&evidence, &criteria, &report, now)), ("evidence.json", json)];
    DirBuilder::new()
        .mode(0o700)
        .create(&arguments.out)
        .with_context(|| format!("{} must be a new folder", arguments.out.display()))?;
    for (name, text) in &files {
        write_new(&arguments.out.join(name), text)?;
    }
    write_new(&arguments.out.join("manifest.json"), &manifest(&files, now, key.as_ref()))?;
    let mut stderr = io::stderr();
    writeln!(io::stdout(), "{}", arguments.out.display())?;
    if evidence.unread.sealed > 0 {
        writeln!(stderr, "weir: {} sealed records could not be read: give --identity FILE.", evidence.unread.sealed)?;
        return Ok(Exit::Failed);
    }
    Ok(match report.gravest() {
        Some(gravest) => {
            writeln!(stderr, "weir: the log is damaged, and the bundle says so: see `weir audit verify`.")?;
            Exit::AuditDamaged(gravest.kind.exit_code())
        }
        None => Exit::Done,
    })
}

/// The hash of each file, and a signature over them.
fn manifest(files: &[(&str, String)], now: Timestamp, key: Option<&SigningKey>) -> String {
    let hashes: serde_json::Map<String, Value> =
        files.iter().map(|(name, text)| ((*name).to_owned(), json!(Hash::of(text.as_bytes())))).collect();
    let manifest = json!({ "made": now, "sha256": hashes }).to_string();
    let mut whole = json!({ "manifest": manifest });
    if let Some(key) = key {
        whole["signature"] = json!(key.sign(&format!("{SIGNED_AS}{manifest}")));
        whole["public_key"] = json!(key.public().to_base64());
    }
    format!("{whole}\n")
}

fn signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    SigningKey::parse(&read_private(path)?.into()).with_context(|| path.display().to_string())
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| path.display().to_string())?;
    fs::File::open(path)?.sync_all().context("the bundle is not on the disk")
}

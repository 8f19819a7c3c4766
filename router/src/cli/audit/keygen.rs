//! `weir audit keygen`.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::Exit;
use router::audit::{age::Identity, signing::SigningKey};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    what: What,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Write a new age identity to this file, and print its recipient for `audit.recipient`. Keep the file away from the router.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Write a new signing key to this file for `audit.signing_key`, and its public key beside it, with the ending .pub.
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let What { identity, signing_key } = &arguments.what;
    if let Some(path) = identity {
        let identity = Identity::generate();
        let recipient = identity.recipient();
        let text = format!(
            "# created: {:.0}\n# public key: {recipient}\n{}\n",
            Timestamp::now(),
            identity.to_text().expose_secret()
        );
        write_new(path, &text.into())?;
        writeln!(io::stdout(), "{recipient}")?;
        writeln!(
            io::stderr(),
            "Put the recipient into weir.yaml as `audit.recipient`. Keep {} where the router cannot read it, and a copy elsewhere: without it \
             the records are lost.",
            path.display()
        )?;
    }
    if let Some(path) = signing_key {
        let key = SigningKey::generate();
        let public = SigningKey::parse(&key).context("a new key is a key")?.public();
        write_new(path, &key)?;
        write_new(&path.with_extension("pub"), &public.to_pem().into())?;
        write!(io::stdout(), "{}", public.to_pem())?;
        writeln!(
            io::stderr(),
            "Put `signing_key: {{ file: {} }}` under `audit` in weir.yaml, and keep a copy of the public key where the router cannot write.",
            path.display()
        )?;
    }
    Ok(Exit::Done)
}

/// Writes a file that only its owner can read, and none that is there.
fn write_new(path: &Path, text: &SecretString) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be made", path.display()))?;
    file.write_all(text.expose_secret().as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| path.display().to_string())
}

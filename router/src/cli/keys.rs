//! `weir keys`: creates, lists and revokes API keys. The key file holds hashes alone; a key is shown once, when it is made.

mod file;
mod key;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use config::{Period, identity::KeyRecord};
use jiff::{Timestamp, Unit};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::Exit;
pub(crate) use file::KeyStore;
pub(crate) use key::NewKey;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and add it to the key file. The key is printed once and cannot be read back.
    Create(Create),
    /// List the keys of a key file, without the keys.
    List(List),
    /// Take a key out of the key file.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    file: File,
    /// Who the key speaks for, as it will stand in the audit log: alice, billing-agent.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    subject: String,
    /// A role of the key, as named under `policy.roles`. May be given several times.
    #[arg(long = "role", value_name = "ROLE", required = true, num_args = 1..)]
    roles: Vec<String>,
    /// The organisation that the subject belongs to.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// How long the key works: 90d, 12h. Without it the key works until it is revoked.
    #[arg(long, value_name = "PERIOD")]
    expires: Option<Period>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    file: File,
    /// Print a JSON array instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Revoke {
    #[command(flatten)]
    file: File,
    /// The id of the key: its eight characters after `weir_`, also shown by `weir keys list`.
    id: String,
}

#[derive(Debug, Args)]
struct File {
    /// The key file: what `identity.api_keys.file` names in weir.yaml.
    #[arg(long, value_name = "FILE", default_value = "keys.yaml")]
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    match &arguments.command {
        Command::Create(arguments) => create(arguments),
        Command::List(arguments) => list(arguments),
        Command::Revoke(arguments) => revoke(arguments),
    }
}

fn create(arguments: &Create) -> anyhow::Result<Exit> {
    let expires = arguments.expires.map(expiry).transpose()?;
    let mut store = KeyStore::open_or_new(&arguments.file.file)?;
    let NewKey { key, record } =
        store.add(&arguments.subject, arguments.tenant.as_deref(), &arguments.roles, expires.as_deref());
    store.save()?;
    let mut stdout = io::stdout();
    if arguments.json {
        writeln!(stdout, "{}", json!({ "key": key.expose_secret(), "id": record.id, "expires": record.expires }))?;
        return Ok(Exit::Done);
    }
    writeln!(stdout, "{}", key.expose_secret())?;
    // The key alone is on stdout, so that `$(weir keys create …)` is the key.
    let until = record.expires.map(|expires| format!(" until {expires}")).unwrap_or_default();
    let (file, subject, roles) = (arguments.file.file.display(), &arguments.subject, arguments.roles.join(", "));
    writeln!(io::stderr(), "Added to {file}: key {} for {subject} ({roles}){until}.", record.id)?;
    writeln!(
        io::stderr(),
        "Keep the key now: it is not stored, only its hash is. A router that runs knows it within seconds."
    )?;
    Ok(Exit::Done)
}

fn list(arguments: &List) -> anyhow::Result<Exit> {
    let records = file::read(&arguments.file.file)?;
    let mut stdout = io::stdout();
    if arguments.json {
        let keys: Vec<_> = records.iter().map(without_hash).collect();
        writeln!(stdout, "{}", json!(keys))?;
        return Ok(Exit::Done);
    }
    let widest = records.iter().map(|record| record.subject.len()).max().unwrap_or_default().max("SUBJECT".len());
    writeln!(stdout, "{:<8}  {:<widest$}  {:<20}  ROLES", "ID", "SUBJECT", "EXPIRES")?;
    for record in &records {
        let expires = match &record.expires {
            Some(expires) if has_passed(expires) => "expired",
            Some(expires) => expires,
            None => "never",
        };
        let tenant = record.tenant.as_ref().map(|tenant| format!("  (tenant {tenant})")).unwrap_or_default();
        writeln!(
            stdout,
            "{:<8}  {:<widest$}  {expires:<20}  {}{tenant}",
            record.id,
            record.subject,
            record.roles.join(", ")
        )?;
    }
    Ok(Exit::Done)
}

fn revoke(arguments: &Revoke) -> anyhow::Result<Exit> {
    let mut store = KeyStore::open(&arguments.file.file)?;
    let record = store.remove(&arguments.id)?;
    store.save()?;
    writeln!(
        io::stdout(),
        "Revoked the key {} of {}. A router that runs refuses it within seconds.",
        record.id,
        record.subject
    )?;
    Ok(Exit::Done)
}

fn without_hash(record: &KeyRecord) -> serde_json::Value {
    let KeyRecord { id, hash: _, subject, tenant, roles, expires } = record;
    json!({ "id": id, "subject": subject, "tenant": tenant, "roles": roles, "expires": expires })
}

/// The moment `period` from now, to the second.
fn expiry(period: Period) -> anyhow::Result<String> {
    let too_far =
        || anyhow::anyhow!("--expires {period} is beyond the end of time; leave it out for a key that does not expire");
    let moment = Timestamp::now().checked_add(jiff::SignedDuration::try_from(period.0)?).map_err(|_| too_far())?;
    Ok(moment.round(Unit::Second)?.to_string())
}

fn has_passed(expires: &str) -> bool {
    expires.parse::<Timestamp>().is_ok_and(|moment| moment <= Timestamp::now())
}

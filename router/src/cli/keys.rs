//! `weir keys`: creates, lists, rotates and revokes API keys. The key file holds hashes alone; a key is shown once, when it is made.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use config::{Period, identity::KeyRecord};
use jiff::Timestamp;
use router::auth::{KeyStore, MadeKey, read_key_file};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Exit, admin::Admin};

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
    /// Make a key that takes the place of another one, which works on for a while.
    Rotate(Rotate),
    /// End a key: no replica accepts it any more within seconds.
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
struct Rotate {
    #[command(flatten)]
    file: File,
    /// The id of the key that is replaced. Subject, tenant and roles are taken over.
    id: String,
    /// How long the old key works on.
    #[arg(long, value_name = "PERIOD", default_value = "24h")]
    overlap: Period,
    /// How long the new key works: 90d, 12h. Without it the key works until it is revoked.
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
    /// Ask a running router instead of reading the file: it also knows when each key was used last, at any replica.
    #[arg(long)]
    router: bool,
    #[command(flatten)]
    admin: Admin,
    /// Print a JSON array instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Revoke {
    #[command(flatten)]
    file: File,
    /// Let a running router do it, in its own key file, instead of changing the file here.
    #[arg(long)]
    router: bool,
    #[command(flatten)]
    admin: Admin,
    /// The id of the key: its eight characters after `weir_`, also shown by `weir keys list`.
    id: String,
}

#[derive(Debug, Args)]
struct File {
    /// The key file: what `identity.api_keys.file` names in weir.yaml.
    #[arg(long, value_name = "FILE", default_value = "keys.yaml")]
    file: PathBuf,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    match &arguments.command {
        Command::Create(arguments) => create(arguments),
        Command::List(arguments) => list(arguments).await,
        Command::Rotate(arguments) => rotate(arguments),
        Command::Revoke(arguments) => revoke(arguments).await,
    }
}

fn create(arguments: &Create) -> anyhow::Result<Exit> {
    let lifetime = arguments.expires.map(|period| period.0);
    let mut store = KeyStore::open_or_new(&arguments.file.file)?;
    let made = store.add(&arguments.subject, arguments.tenant.as_deref(), &arguments.roles, lifetime)?;
    store.save()?;
    let MadeKey { key, record } = made;
    let mut stdout = io::stdout();
    if arguments.json {
        writeln!(stdout, "{}", json!({ "key": key.expose_secret(), "id": record.id, "expires": record.expires }))?;
        return Ok(Exit::Done);
    }
    writeln!(stdout, "{}", key.expose_secret())?;
    // The key alone is on stdout, so that `$(weir keys create …)` is the key.
    let (file, subject, roles) = (arguments.file.file.display(), &arguments.subject, arguments.roles.join(", "));
    writeln!(io::stderr(), "Added to {file}: key {} for {subject} ({roles}){}.", record.id, until(&record))?;
    keep_it()
}

fn rotate(arguments: &Rotate) -> anyhow::Result<Exit> {
    let mut store = KeyStore::open(&arguments.file.file)?;
    let (made, old) = store.rotate(&arguments.id, arguments.overlap.0, arguments.expires.map(|period| period.0))?;
    store.save()?;
    let MadeKey { key, record } = made;
    let mut stdout = io::stdout();
    if arguments.json {
        let replaces = json!({ "id": old.id, "expires": old.expires });
        let made =
            json!({ "key": key.expose_secret(), "id": record.id, "expires": record.expires, "replaces": replaces });
        writeln!(stdout, "{made}")?;
        return Ok(Exit::Done);
    }
    writeln!(stdout, "{}", key.expose_secret())?;
    writeln!(
        io::stderr(),
        "Key {} for {} takes the place of {}, which works{}.",
        record.id,
        old.subject,
        old.id,
        until(&old)
    )?;
    keep_it()
}

fn keep_it() -> anyhow::Result<Exit> {
    writeln!(
        io::stderr(),
        "Keep the key now: it is not stored, only its hash is. A router that runs knows it within seconds."
    )?;
    Ok(Exit::Done)
}

async fn list(arguments: &List) -> anyhow::Result<Exit> {
    let keys: Vec<Value> = if arguments.router {
        let answer = arguments.admin.get("/admin/keys").await?;
        answer["keys"].as_array().cloned().unwrap_or_default()
    } else {
        read_key_file(&arguments.file.file)?.iter().map(without_hash).collect()
    };
    let mut stdout = io::stdout();
    if arguments.json {
        writeln!(stdout, "{}", json!(keys))?;
        return Ok(Exit::Done);
    }
    let text = |key: &Value, name: &str| key[name].as_str().map(str::to_owned);
    let rows: Vec<[String; 5]> = keys
        .iter()
        .map(|key| {
            let roles = key["roles"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let tenant = text(key, "tenant").map(|tenant| format!("  (tenant {tenant})")).unwrap_or_default();
            [
                text(key, "id").unwrap_or_default(),
                text(key, "subject").unwrap_or_default(),
                works(text(key, "revoked"), text(key, "expires")),
                if arguments.router {
                    text(key, "last_used").unwrap_or_else(|| "never".to_owned())
                } else {
                    String::new()
                },
                roles.collect::<Vec<_>>().join(", ") + &tenant,
            ]
        })
        .collect();
    let heads = ["ID", "SUBJECT", "WORKS UNTIL", if arguments.router { "LAST USED" } else { "" }, "ROLES"];
    let widths: Vec<usize> = (0..4)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(heads[column].len()))
        .collect();
    for row in std::iter::once(heads.map(str::to_owned)).chain(rows) {
        let cells = row.iter().zip(widths.iter().chain([&0])).filter(|(cell, width)| **width > 0 || !cell.is_empty());
        let line: Vec<String> = cells.map(|(cell, &width)| format!("{cell:<width$}")).collect();
        writeln!(stdout, "{}", line.join("  ").trim_end())?;
    }
    Ok(Exit::Done)
}

async fn revoke(arguments: &Revoke) -> anyhow::Result<Exit> {
    if arguments.router {
        let answer = arguments.admin.post("/admin/keys/revoke", json!({ "id": arguments.id }).to_string()).await?;
        let everywhere = answer["reached"] == "everywhere";
        let how_far = if everywhere {
            "No replica accepts it any more."
        } else {
            "This replica refuses it. Redis cannot be reached: the others follow when it can."
        };
        writeln!(io::stdout(), "Revoked the key {}. {how_far}", arguments.id)?;
        if answer["recorded"] == false {
            writeln!(
                io::stderr(),
                "The router cannot write its key file: run `weir keys revoke {}` where the file is made, too.",
                arguments.id
            )?;
        }
        return Ok(Exit::Done);
    }
    let mut store = KeyStore::open(&arguments.file.file)?;
    let record = store.revoke(&arguments.id, Timestamp::now())?;
    store.save()?;
    writeln!(
        io::stdout(),
        "Revoked the key {} of {}. A router that reads this file refuses it within seconds, and so do all that share its Redis.",
        record.id,
        record.subject
    )?;
    Ok(Exit::Done)
}

fn without_hash(record: &KeyRecord) -> Value {
    let KeyRecord { id, hash: _, subject, tenant, roles, created, expires, revoked } = record;
    json!({
        "id": id, "subject": subject, "tenant": tenant, "roles": roles, "created": created, "expires": expires,
        "revoked": revoked,
    })
}

fn until(record: &KeyRecord) -> String {
    record.expires.as_ref().map(|expires| format!(" until {expires}")).unwrap_or_default()
}

fn works(revoked: Option<String>, expires: Option<String>) -> String {
    let has_passed = |expires: &String| expires.parse::<Timestamp>().is_ok_and(|moment| moment <= Timestamp::now());
    match (revoked, expires) {
        (Some(revoked), _) => format!("revoked {revoked}"),
        (None, Some(expires)) if has_passed(&expires) => "expired".to_owned(),
        (None, Some(expires)) => expires,
        (None, None) => "no end".to_owned(),
    }
}

//! What a running router holds back, from the command line.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{print_diff, put};
use crate::cli::{Exit, Style, admin::Admin, output::count};

#[derive(Debug, Args)]
pub(super) struct Held {
    /// Only this one, by the name that callers would see.
    name: Option<String>,
    #[command(flatten)]
    admin: Admin,
    /// Print the router's answer as JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Approve {
    /// The tool, by the name that callers would see.
    name: String,
    /// The digest that `weir lock held` shows with what changed: another definition is not approved by it.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    #[command(flatten)]
    admin: Admin,
    /// Print the router's answer as JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Where to write it, instead of to standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    admin: Admin,
}

pub(super) async fn held(arguments: &Held) -> anyhow::Result<Exit> {
    let told = ask(&arguments.admin, arguments.name.as_deref()).await?;
    let mut stdout = io::stdout();
    if arguments.json {
        writeln!(stdout, "{told}")?;
        return Ok(Exit::Done);
    }
    let style = Style::of(&stdout);
    let list = |member: &str| told[member].as_array().cloned().unwrap_or_default();
    for held in list("held") {
        print_held(&mut stdout, style, &held)?;
    }
    if arguments.name.is_none() {
        for tool in list("suspicious") {
            for finding in tool["findings"].as_array().into_iter().flatten() {
                let (name, place, what) = (text(&tool, "name"), text(finding, "place"), text(finding, "what"));
                writeln!(stdout, "{} {}: `{place}` {what}", style.bad("look:"), style.bold(name))?;
            }
        }
        for tool in list("missing") {
            writeln!(
                stdout,
                "{} {} is in the lock file and not offered any more",
                text(&tool, "downstream"),
                text(&tool, "tool")
            )?;
        }
    }
    writeln!(io::stderr(), "{} held back", count(list("held").len(), "tool"))?;
    Ok(Exit::Done)
}

pub(super) async fn approve(arguments: &Approve) -> anyhow::Result<Exit> {
    let name = &arguments.name;
    let Some(digest) = &arguments.digest else {
        let told = ask(&arguments.admin, Some(name)).await?;
        let Some(held) = told["held"].get(0) else {
            bail!("no tool `{name}` is held back; `weir lock held` lists those that are")
        };
        let stderr = io::stderr();
        print_held(&mut &stderr, Style::of(&stderr), held)?;
        bail!("look at what changed, then say which definition you mean by --digest");
    };
    let answer = arguments
        .admin
        .post("/admin/definitions/approve", json!({ "name": name, "digest": digest }).to_string())
        .await?;
    let mut stdout = io::stdout();
    if arguments.json {
        writeln!(stdout, "{answer}")?;
        return Ok(Exit::Done);
    }
    let reach = if answer["reached"] == "everywhere" {
        "Every replica shows it within 5 s. "
    } else {
        "This router has no Redis: the approval ends with its process. "
    };
    writeln!(stdout, "Approved {name}. {reach}Put it into the lock file with `weir lock export`.")?;
    Ok(Exit::Done)
}

pub(super) async fn export(arguments: &Export) -> anyhow::Result<Exit> {
    let told = arguments.admin.get("/admin/definitions/lock").await?;
    let lock = told["lock"].as_str().context("the router gave no lock file: is it of the same version?")?;
    match &arguments.output {
        Some(path) => {
            put(path, lock).with_context(|| format!("{} cannot be written", path.display()))?;
            writeln!(io::stderr(), "Wrote {}.", path.display())?;
        }
        None => io::stdout().write_all(lock.as_bytes())?,
    }
    Ok(Exit::Done)
}

async fn ask(admin: &Admin, name: Option<&str>) -> anyhow::Result<Value> {
    let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match name {
        None => admin.get("/admin/definitions").await,
        Some(name) if is_plain(name) => admin.get(&format!("/admin/definitions?name={name}")).await,
        Some(name) => bail!("`{name}` is no name that callers see: `weir lock held` lists them"),
    }
}

fn print_held(to: &mut impl io::Write, style: Style, held: &Value) -> io::Result<()> {
    let (name, why, since, digest) = (text(held, "name"), text(held, "why"), text(held, "since"), text(held, "digest"));
    writeln!(to, "{} is held back: {why}, since {since}", style.bold(name))?;
    for finding in held["findings"].as_array().into_iter().flatten() {
        writeln!(to, "    {} `{}` {}", style.bad("look:"), text(finding, "place"), text(finding, "what"))?;
    }
    let lines: Vec<&str> = held["diff"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    print_diff(to, style, &lines)?;
    if held["diff"].is_null() {
        writeln!(to, "    (what changed: `weir lock held {name}`)")?;
    }
    writeln!(to, "    weir lock approve {name} --digest {digest}\n")
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

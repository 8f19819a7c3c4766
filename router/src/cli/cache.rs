//! `weir cache`: what an operator does with cached answers.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Exit, admin::Admin, output::count};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// End cached answers in all replicas: the next calls ask the downstreams again.
    Purge(Purge),
}

#[derive(Debug, Args)]
struct Purge {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    admin: Admin,
    /// Print the router's answer as JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Those about this: customer:CUST-00042, or customer:* for the whole family. May be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Those of this tool, by the name that callers see.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let Command::Purge(Purge { what, admin, json }) = &arguments.command;
    let asked = match what {
        What { tool: Some(tool), .. } => json!({ "tool": tool }),
        What { all: true, .. } => json!({ "all": true }),
        What { tags, .. } => json!({ "tags": tags }),
    };
    let answer = admin.post("/admin/cache/purge", asked.to_string()).await?;
    let mut stdout = io::stdout();
    if *json {
        writeln!(stdout, "{answer}")?;
        return Ok(Exit::Done);
    }
    let ended = match what {
        What { tool: Some(tool), .. } => format!("the cached answers of {tool}"),
        What { all: true, .. } => "all cached answers".to_owned(),
        What { tags, .. } => format!("all cached answers about {}", count(tags.len(), "tag")),
    };
    let everywhere = answer["reached"] == "everywhere";
    let so_far =
        if everywhere { "" } else { " in this replica. Redis cannot be reached: the others follow when it can" };
    writeln!(stdout, "Ended {ended}{so_far}.")?;
    Ok(Exit::Done)
}

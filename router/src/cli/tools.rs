//! `weir tools`: what a caller sees.

use std::io::{self, Write as _};

use clap::Args;
use router::{ToolLine, definitions::findings_in_text};
use serde_json::{Value, json};

use super::{
    Exit, Style,
    connection::ListedTool,
    output::{count, first_line},
    target::{Opened, Target},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Print a JSON array instead of text.
    #[arg(long)]
    json: bool,
}

/// A tool that the caller sees, with what only the router knows of it.
#[derive(Debug)]
struct Line {
    listed: ListedTool,
    known: Option<ToolLine>,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let Opened { mut connection, router } = arguments.target.open().await?;
    let listed = connection.list_tools().await;
    let known = router.as_ref().map(|router| router.tools()).unwrap_or_default();
    if let Some(router) = router {
        router.drain().await;
    }
    let listed = listed?;
    let line = |listed: ListedTool| {
        let known = known.iter().find(|known| known.name == listed.name).cloned();
        Line { listed, known }
    };
    let lines: Vec<Line> = listed.into_iter().map(line).collect();
    let mut stdout = io::stdout();
    if arguments.json {
        let lines: Vec<Value> = lines.iter().map(Line::as_json).collect();
        writeln!(stdout, "{}", json!(lines))?;
        return Ok(Exit::Done);
    }
    let style = Style::of(&stdout);
    let widest = lines.iter().map(|line| line.listed.name.len()).max().unwrap_or_default();
    for line in &lines {
        line.print(&mut stdout, style, widest)?;
    }
    writeln!(io::stderr(), "{}", count(lines.len(), "tool"))?;
    Ok(Exit::Done)
}

impl Line {
    fn as_json(&self) -> Value {
        let mut json = json!({ "name": self.listed.name, "description": self.listed.description });
        if let Some(known) = &self.known {
            json["downstream"] = json!(known.downstream);
            json["local_name"] = json!(known.local_name);
            json["alias"] = json!(known.alias);
            json["effect"] = json!(known.effect);
        }
        json
    }

    fn print(&self, to: &mut impl io::Write, style: Style, widest: usize) -> io::Result<()> {
        write!(to, "{}", style.bold(&style.foreign(&self.listed.name)))?;
        if let Some(known) = &self.known {
            let padding = widest - self.listed.name.len();
            write!(to, "{:padding$}  {}", "", known.effect)?;
            if known.alias {
                write!(to, "  (stands for `{}` of {})", style.foreign(&known.local_name), known.downstream)?;
            }
        }
        writeln!(to)?;
        let about = style.foreign(first_line(&self.listed.description));
        if !about.is_empty() {
            writeln!(to, "    {about}")?;
        }
        let found = findings_in_text("description", &self.listed.description);
        found.iter().try_for_each(|finding| writeln!(to, "    {} {finding}", style.bad("look:")))
    }
}

//! `weir init`: a first config, and how the usual callers use it.

mod snippets;

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use router::bridge::Target;

use super::{Exit, Style};
use snippets::Snippets;

/// What is written; a test loads it.
const STARTER: &str = include_str!("init/weir.yaml");
const FILE_NAME: &str = "weir.yaml";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder for weir.yaml. One that is there already stays as it is, and the snippets are for it.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// The endpoint of a router that runs, such as https://weir.example/mcp: the snippets are for it, and nothing is written.
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    url: Option<String>,
    /// Print only how Claude Desktop uses it.
    #[arg(long)]
    claude_desktop: bool,
    /// Print only how Claude Code uses it.
    #[arg(long)]
    claude_code: bool,
    /// Print only how the Claude API uses it.
    #[arg(long)]
    api: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let binary = std::env::current_exe().context("cannot tell where this program is")?;
    if let Some(url) = &arguments.url {
        // Not while the words are parsed: that would repeat a password that somebody put into the address.
        url.parse::<Target>()?;
        return print(arguments, &Snippets::of_endpoint(url, &binary));
    }
    fs::create_dir_all(&arguments.dir)
        .with_context(|| format!("cannot make the folder {}", arguments.dir.display()))?;
    let dir = arguments.dir.canonicalize()?;
    let file = dir.join(FILE_NAME);
    let is_new = write_new(&file)?;
    let loaded = config::load(&file)?;

    let mut stderr = io::stderr();
    if is_new {
        writeln!(stderr, "Wrote {}. Next: put your own downstream into it, then", file.display())?;
        writeln!(stderr, "  weir check --connect    whether all of it is right and can be reached")?;
        writeln!(stderr, "  weir serve              the router\n")?;
    } else {
        writeln!(stderr, "{} is there already and stays as it is.\n", file.display())?;
    }
    print(arguments, &Snippets::of_config(&loaded.config, &file, &binary))
}

/// What to copy goes to stdout, all else to stderr.
fn print(arguments: &Arguments, snippets: &Snippets<'_>) -> anyhow::Result<Exit> {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let style = Style::of(&stderr);
    let all = !(arguments.claude_desktop || arguments.claude_code || arguments.api);
    let chosen = [
        (arguments.claude_desktop, "Claude Desktop", snippets.claude_desktop()),
        (arguments.claude_code, "Claude Code", snippets.claude_code()),
        (arguments.api, "Claude API", snippets.api()),
    ];
    for (_, title, snippet) in chosen.iter().filter(|(wanted, ..)| *wanted || all) {
        writeln!(stderr, "{}: {}", style.bold(title), snippet.advice)?;
        writeln!(stdout, "{}", snippet.text)?;
        writeln!(stderr)?;
    }
    Ok(Exit::Done)
}

/// Writes the starter unless there is a file. True when it was written.
fn write_new(file: &Path) -> anyhow::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut new) => {
            new.write_all(STARTER.as_bytes()).with_context(|| format!("cannot write {}", file.display()))?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_starter_is_right_also_with_everything_in_it_uncommented() {
        config::parse(super::STARTER, "weir.yaml", Path::new("")).expect("the starter");
        // Settings are commented out as `# key:` or `#   key:`; prose and shell lines are sentences or start with a program.
        let is_setting = |line: &str| {
            let text = line.trim_start_matches([' ', '#']);
            line.trim_start().starts_with("# ")
                && (text.starts_with("- {")
                    || text
                        .split_once(':')
                        .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')))
        };
        let uncommented: Vec<String> = super::STARTER
            .lines()
            .map(|line| if is_setting(line) { line.replacen("# ", "", 1) } else { line.to_owned() })
            .collect();
        let all = config::parse(&uncommented.join("\n"), "weir.yaml", Path::new("")).expect("all of it");
        assert_eq!((all.config.downstreams.len(), all.config.policy.roles.len()), (2, 2));
        assert!(all.config.identity.api_keys.is_some() && all.config.audit.dir.is_some());
    }
}

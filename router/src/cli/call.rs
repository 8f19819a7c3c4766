//! `weir call`: one call from the shell.

use std::io::{self, Read as _, Write as _};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use router::pairs::typed;
use serde_json::{Value, value::RawValue};

use super::{
    Exit, Style,
    target::{Opened, Target},
};

/// The most that is read from standard input; the router takes no larger request by default.
const INPUT_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The tool, by the name that `weir tools` shows.
    name: String,
    /// Its arguments: one JSON object, `-` to read that from standard input, or KEY=VALUE for each.
    #[arg(value_name = "JSON | - | KEY=VALUE")]
    arguments: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// Print the whole result as JSON, instead of its text.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let given = Given::read(&arguments.arguments)?;
    let Opened { mut connection, router } = arguments.target.open().await?;
    // The schema says which pairs are text, and which arguments are repeated as headers.
    let tools = connection.list_tools().await?;
    let schema = tools.iter().find(|tool| tool.name == arguments.name).map(|tool| &tool.input_schema);
    let values = given.values(schema)?;
    let result = connection.call_tool(&arguments.name, &values, schema).await;
    if let Some(router) = router {
        // The record of this call is on its way to the disk, also when the call was refused.
        router.drain().await;
    }
    let result = result?;
    let mut stdout = io::stdout();
    if arguments.json {
        writeln!(stdout, "{}", Style::of(&stdout).foreign(result.raw.get()))?;
    } else if result.is_error {
        let stderr = io::stderr();
        writeln!(&stderr, "{}", Style::of(&stderr).foreign(&result.text()))?;
    } else {
        writeln!(stdout, "{}", Style::of(&stdout).foreign(&result.text()))?;
    }
    Ok(if result.is_error { Exit::Failed } else { Exit::Done })
}

/// Arguments as they stand on the command line. They are sent as they stand there: parsing them would cost digits of numbers, and hide
/// from the router what it refuses, such as a member that comes twice.
#[derive(Debug)]
pub(super) enum Given {
    Object(Box<RawValue>),
    Pairs(Vec<(String, String)>),
}

impl Given {
    pub(super) fn read(words: &[String]) -> anyhow::Result<Self> {
        match words {
            [] => object("{}"),
            [word] if word == "-" => {
                let mut text = String::new();
                io::stdin()
                    .take(INPUT_BYTES_MAX)
                    .read_to_string(&mut text)
                    .context("cannot read the arguments from standard input")?;
                object(&text)
            }
            [word] if word.trim_start().starts_with('{') => object(word),
            pairs => {
                let pairs: Vec<_> = pairs.iter().map(|pair| self::pair(pair)).collect::<anyhow::Result<_>>()?;
                Ok(Self::Pairs(pairs))
            }
        }
    }

    /// The arguments as JSON. The schema, where it is known, says which pairs are text.
    fn values(self, schema: Option<&Value>) -> anyhow::Result<Box<RawValue>> {
        match self {
            Self::Object(object) => Ok(object),
            Self::Pairs(pairs) => Ok(typed(&pairs, schema)?),
        }
    }
}

fn object(text: &str) -> anyhow::Result<Given> {
    let form = r#"the arguments must be one JSON object, such as '{"customer_id": "C-00042"}'"#;
    let value: Box<RawValue> = serde_json::from_str(text).context(form)?;
    ensure!(value.get().starts_with('{'), form);
    Ok(Given::Object(value))
}

fn pair(word: &str) -> anyhow::Result<(String, String)> {
    match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!("`{word}` is no argument: write KEY=VALUE, such as customer_id=C-00042, or one JSON object"),
    }
}

#[cfg(test)]
mod tests {
    use super::Given;

    fn words(words: &[&str]) -> anyhow::Result<Given> {
        Given::read(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn pairs_end_at_the_first_sign() {
        let Ok(Given::Pairs(pairs)) = words(&["id=123", "odd=a=b", "none="]) else { panic!("not pairs") };
        assert_eq!(pairs, [("id", "123"), ("odd", "a=b"), ("none", "")].map(|(key, value)| (key.into(), value.into())));
    }

    #[test]
    fn what_is_no_argument_is_refused_with_the_right_form() {
        for (given, advice) in
            [(&["customer_id"][..], "KEY=VALUE"), (&["=x"], "KEY=VALUE"), (&["{\"a\":"], "JSON object")]
        {
            let error = words(given).expect_err("no argument");
            assert!(format!("{error:#}").contains(advice), "{error:#}");
        }
    }
}

//! `weir call`: one call from the shell.

use std::io::{self, Read as _, Write as _};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::{
    Exit,
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
    let values = match given {
        Given::Object(object) => object,
        Given::Pairs(pairs) => {
            let tools = connection.list_tools().await?;
            let schema = tools.iter().find(|tool| tool.name == arguments.name).map(|tool| &tool.input_schema);
            typed(pairs, schema)
        }
    };
    let result = connection.call_tool(&arguments.name, &Value::Object(values)).await;
    if let Some(router) = router {
        // The record of this call is on its way to the disk, also when the call was refused.
        router.drain().await;
    }
    let result = result?;
    let mut stdout = io::stdout();
    if arguments.json {
        writeln!(stdout, "{}", result.raw)?;
    } else if result.is_error {
        writeln!(io::stderr(), "{}", result.text())?;
    } else {
        writeln!(stdout, "{}", result.text())?;
    }
    Ok(if result.is_error { Exit::Failed } else { Exit::Done })
}

/// Arguments as they stand on the command line.
#[derive(Debug, PartialEq)]
enum Given {
    Object(Map<String, Value>),
    Pairs(Vec<(String, String)>),
}

impl Given {
    fn read(words: &[String]) -> anyhow::Result<Self> {
        match words {
            [] => Ok(Self::Object(Map::new())),
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
}

fn object(text: &str) -> anyhow::Result<Given> {
    let form = r#"the arguments must be one JSON object, such as '{"customer_id": "C-00042"}'"#;
    serde_json::from_str(text).map(Given::Object).context(form)
}

fn pair(word: &str) -> anyhow::Result<(String, String)> {
    match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!("`{word}` is no argument: write KEY=VALUE, such as customer_id=C-00042, or one JSON object"),
    }
}

/// What the pairs mean: text where the tool wants text, otherwise JSON where it is JSON.
fn typed(pairs: Vec<(String, String)>, schema: Option<&Value>) -> Map<String, Value> {
    let wants_text = |key: &str| schema.is_some_and(|schema| schema["properties"][key]["type"] == "string");
    let typed = |(key, text): (String, String)| {
        let parsed = if wants_text(&key) { None } else { serde_json::from_str(&text).ok() };
        (key, parsed.unwrap_or(Value::String(text)))
    };
    pairs.into_iter().map(typed).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Given, typed};

    fn words(words: &[&str]) -> anyhow::Result<Given> {
        Given::read(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn pairs_take_the_type_that_the_tool_wants() {
        let schema = json!({ "properties": { "id": { "type": "string" }, "limit": { "type": "integer" } } });
        let Given::Pairs(pairs) =
            words(&["id=123", "limit=5", "labels=[\"a\"]", "note=plain text", "odd=a=b", "none="]).expect("pairs")
        else {
            panic!("not pairs");
        };
        assert_eq!(
            Value::Object(typed(pairs, Some(&schema))),
            json!({ "id": "123", "limit": 5, "labels": ["a"], "note": "plain text", "odd": "a=b", "none": "" })
        );
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

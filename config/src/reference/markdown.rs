//! The reference page: per section a table of key, type, default and meaning.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::environment;

const BEGINNING: &str = "\
# weir.yaml

<!-- Written from the types in `config/src` by the tests of that crate. Change those, not this page. -->

Every setting of Weir, section by section. [`config/weir.yaml`](../config/weir.yaml) is an annotated example. `weir check`
reads a config and reports every mistake at once, each with its line and the right form; it also tries whether the secrets
and files that the config refers to are there. A key that Weir does not know is a mistake, never ignored. Relative paths
start beside the config file.

Editors complete and check the file when it begins with this line (the schema is in the repository):

```yaml
# yaml-language-server: $schema=config/schema.json
```

## Units

| type | form | examples |
|---|---|---|
| time | a whole number with `ms`, `s`, `m`, `h` or `d` | `250ms`, `5s`, `10m`, `24h`, `90d` |
| size | a whole number with `B`, `KiB`, `MiB` or `GiB` (powers of 1024) | `512B`, `64KiB`, `4MiB`, `1GiB` |
| pattern | a name in which `*` stands for any run of characters; case counts | `crm__get_*`, `*` |
| address | an IP address with a port; port `0` is any free one | `127.0.0.1:8080`, `[::1]:8080` |
| secret | a reference to a secret, never the secret itself | `{ env: CRM_URL }`, `{ file: secrets/crm-url }` |

A secret is the value of an environment variable, or the content of a file that its owner alone may read (`chmod 600`); one
newline at the end of the file is removed.
";

const KEY_FILE: &str = "\
## The key file

The file that `identity.api_keys.file` names. `weir keys create` writes it; it holds hashes, so nobody can read a key out of
it. Its owner alone may read it (`chmod 600`).

```yaml
# keys.yaml
keys:
  - id: example
    hash: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    subject: ada@example.com
    roles: [support_agent]
    expires: \"2027-01-31T00:00:00Z\"
```
";

/// The whole page.
pub(super) fn page(config: &Value, key_file: &Value) -> String {
    let mut page = Page { text: BEGINNING.to_owned(), schema: config, waiting: Vec::new() };
    let properties = config["properties"].as_object().expect("the config is a map");
    for (name, section) in properties {
        page.section(name, section);
    }

    page.schema = key_file;
    page.text.push('\n');
    page.text.push_str(KEY_FILE);
    page.table("keys[]", page.follow(&key_file["properties"]["keys"]["items"]));
    page.environment();
    page.text
}

struct Page<'a> {
    text: String,
    schema: &'a Value,
    /// Sections inside of the one that is being written, which follow it.
    waiting: Vec<(String, &'a Value)>,
}

impl<'a> Page<'a> {
    /// A section with its table, and the sections inside of it.
    fn section(&mut self, path: &str, section: &'a Value) {
        let inner = self.follow(section);
        self.heading(path, description(inner).or_else(|| description(section)).unwrap_or_default());
        if inner["properties"].is_object() {
            self.table(path, inner);
        } else if let Some((name, entry)) = entries(path, inner) {
            let _ = write!(self.text, "\nA map of entries, each `{name}`.\n");
            self.waiting.push((format!("{path}.{name}"), entry));
        }
        for (path, section) in std::mem::take(&mut self.waiting) {
            self.section(&path, section);
        }
    }

    fn heading(&mut self, path: &str, meaning: &str) {
        let level = if path.contains('.') { "###" } else { "##" };
        let _ = write!(self.text, "\n{level} `{path}`\n\n{}\n", one_line(meaning));
    }

    fn table(&mut self, path: &str, section: &'a Value) {
        self.text.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        let required: Vec<&str> =
            section["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let properties: &'a Map<String, Value> = section["properties"].as_object().expect("a section has keys");
        for (key, value) in properties {
            let path = format!("{path}.{key}");
            let default = match (&value["default"], required.contains(&key.as_str())) {
                (_, true) => "required".to_owned(),
                (Value::Null, false) => "–".to_owned(),
                (default, false) => shown(default),
            };
            let kind = self.kind(&path, value);
            let meaning = one_line(&format!("{}{}", description(value).unwrap_or_default(), self.words(value)));
            let _ = writeln!(self.text, "| `{key}` | {kind} | {default} | {} |", meaning.replace('|', "\\|"));
        }
    }

    /// The type of a setting, in words. What needs a section of its own is noted for later.
    fn kind(&mut self, path: &str, value: &'a Value) -> String {
        let inner = self.follow(value);
        match named(value) {
            Some("Period") => return "[time](#units)".to_owned(),
            Some("ByteSize") => return "[size](#units)".to_owned(),
            Some("SecretRef") => return "[secret](#units)".to_owned(),
            Some("Glob") => return "[pattern](#units)".to_owned(),
            _ => {}
        }
        if let Some(choices) = inner["oneOf"].as_array().filter(|_| !inner["properties"].is_object()) {
            return self.choices(path, choices);
        }
        if inner["properties"].is_object() {
            self.waiting.push((path.to_owned(), value));
            return format!("[section](#{})", anchor(path));
        }
        if let Some((name, entry)) = entries(path, inner) {
            let path = format!("{path}.{name}");
            let entry_within = self.follow(entry);
            if !entry_within["properties"].is_object() && entries(&path, entry_within).is_none() {
                return format!("map of {}", self.kind(&path, entry));
            }
            self.waiting.push((path.clone(), entry));
            return format!("map of [sections](#{})", anchor(&path));
        }
        match inner["type"].as_str().or_else(|| inner["type"][0].as_str()) {
            Some("array") => {
                let path = format!("{path}[]");
                match inner["items"].is_object() {
                    true => format!("list of {}", self.kind(&path, &inner["items"])),
                    false => "list of any values".to_owned(),
                }
            }
            Some("string") if inner["format"] == "address" => "[address](#units)".to_owned(),
            Some("string") => "text".to_owned(),
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("integer") => "whole number".to_owned(),
            Some("number") => "number".to_owned(),
            _ => "any value".to_owned(),
        }
    }

    /// One of several words, or one of several keys.
    fn choices(&mut self, path: &str, choices: &'a [Value]) -> String {
        let mut shown = Vec::new();
        for choice in choices {
            if let Some(word) = choice["const"].as_str() {
                shown.push(format!("`{word}`"));
            }
            for (key, value) in choice["properties"].as_object().into_iter().flatten() {
                shown.push(format!("`{{ {key}: … }}` ({})", self.kind(&format!("{path}.{key}"), value)));
            }
        }
        shown.join(", ")
    }

    /// What each of the words stands for.
    fn words(&self, value: &Value) -> String {
        let choices = self.follow(value)["oneOf"].as_array();
        let mut words = String::new();
        for choice in choices.into_iter().flatten() {
            if let (Some(word), Some(meaning)) = (choice["const"].as_str(), description(choice)) {
                let _ = write!(words, " `{word}`: {meaning}");
            }
        }
        words
    }

    /// The schema behind a reference, also one that may be `null`.
    fn follow(&self, value: &'a Value) -> &'a Value {
        match named(value) {
            Some(name) => &self.schema["$defs"][name],
            None => value,
        }
    }

    fn environment(&mut self) {
        self.text.push_str("\n## Environment variables\n\n| variable | meaning |\n|---|---|\n");
        for (name, meaning) in environment::VARIABLES {
            let _ = writeln!(self.text, "| `{name}` | {meaning} |");
        }
    }
}

/// The name of the type that a schema refers to.
fn named(value: &Value) -> Option<&str> {
    let reference = value["$ref"].as_str().or_else(|| value["anyOf"][0]["$ref"].as_str())?;
    reference.strip_prefix("#/$defs/")
}

/// For a map of names: what a name stands for, and the schema of an entry.
fn entries<'a>(path: &str, map: &'a Value) -> Option<(&'static str, &'a Value)> {
    let by_pattern = map["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
    let entry = by_pattern.or_else(|| Some(&map["additionalProperties"]).filter(|entry| entry.is_object()))?;
    let name = match path.rsplit('.').next().unwrap_or_default() {
        "downstreams" => "<downstream>",
        "tools" => "<tool>",
        "arguments" => "<argument>",
        "roles" => "<role>",
        _ => "<name>",
    };
    Some((name, entry))
}

fn description(value: &Value) -> Option<&str> {
    value["description"].as_str()
}

/// A default as it would stand in the file.
fn shown(default: &Value) -> String {
    match default {
        Value::String(text) => format!("`{text}`"),
        Value::Object(map) if map.is_empty() => "`{}`".to_owned(),
        other => format!("`{other}`"),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The anchor of a heading, as hosts of Markdown make it from its text.
fn anchor(path: &str) -> String {
    path.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-').collect::<String>().to_lowercase()
}

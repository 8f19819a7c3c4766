//! One mistake on its way out of the deserializer, and the words for it.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::{
    document::{Document, Node, Segment, SettingPath, Value},
    nearest::nearest,
    problem::{Finding, Findings},
};

/// Why a node is not what it should be.
#[derive(Debug)]
pub(super) enum Cause {
    /// A key that its section does not have.
    UnknownKey { known: &'static [&'static str] },
    /// A word that is none of the known ones.
    UnknownWord { known: &'static [&'static str] },
    /// A section lacks a key that it must have.
    Missing { key: &'static str },
    /// A value of another type or form.
    Wrong { expected: String },
    /// Something else than a map, of which the keys are `known` where it is a section.
    NotAMap { known: &'static [&'static str] },
    /// A map in which exactly one of the keys must be given.
    NotOneOf { known: &'static [&'static str] },
    /// A type's own words.
    Said(String),
    /// Nothing is left of it because of mistakes that are reported already.
    Emptied,
}

#[derive(Debug)]
pub(super) struct Failure {
    cause: Cause,
    about_key: bool,
    secret: bool,
    /// From the inside to the outside.
    path: Vec<Segment>,
}

impl Failure {
    pub(super) fn new(cause: Cause, secret: bool) -> Self {
        Self { cause, about_key: false, secret, path: Vec::new() }
    }

    pub(super) fn inside_key(mut self, key: &str) -> Self {
        self.path.push(Segment::Key(key.to_owned()));
        self
    }

    pub(super) fn inside_index(mut self, index: usize) -> Self {
        self.path.push(Segment::Index(index));
        self
    }

    /// The key itself is wrong, not its value.
    pub(super) fn about_key(mut self) -> Self {
        self.about_key = true;
        self
    }

    pub(super) fn keeping_secret(mut self, secret: bool) -> Self {
        self.secret |= secret;
        self
    }

    /// A key that is missing because it was left out was reported when it was left out.
    pub(super) fn missing_on_purpose(mut self, node: &Node) -> Self {
        if let Cause::Missing { key } = self.cause
            && self.path.is_empty()
            && node.entries().iter().any(|entry| entry.key == key)
        {
            self.cause = Cause::Emptied;
        }
        self
    }

    pub(super) fn path(&self) -> SettingPath {
        self.path.iter().rev().cloned().collect()
    }

    /// Adds the problem to `findings`, in words, and hides what must not be shown.
    pub(super) fn report(self, document: &Document, path: &SettingPath, findings: &mut Findings) {
        let Some(node) = document.node(path) else { return };
        let unknown_key = matches!(self.cause, Cause::UnknownKey { .. });
        // Below an unknown key anything may stand, also a password for a setting that does not exist.
        if self.secret || unknown_key || matches!(self.cause, Cause::NotAMap { .. }) {
            hide_all(node, findings);
        }
        let Some((message, help)) = self.words(document, path, node) else { return };
        let at_key =
            self.about_key || unknown_key || matches!(self.cause, Cause::Missing { .. } | Cause::NotOneOf { .. });
        let key_place = if at_key { document.key_place(path) } else { None };
        let place = key_place.or_else(|| document.place(path));
        findings.add(Finding { place, setting: path.clone(), message, help, warning: false });
    }

    fn words(&self, document: &Document, path: &SettingPath, node: &Node) -> Option<(String, Option<String>)> {
        let setting = named(path);
        let found = match self.cause {
            _ if self.secret => hidden_found(node, "the value itself"),
            Cause::NotAMap { .. } => hidden_found(node, "a plain value"),
            _ => found(node, document),
        };
        Some(match &self.cause {
            Cause::UnknownKey { known } => {
                let (key, section) = split(path);
                let help = match nearest(&key, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("{section} knows {}", list(known)),
                };
                (format!("`{key}` is not known in {section}"), Some(help))
            }
            Cause::UnknownWord { known } => {
                let near = match &node.value {
                    Value::Text(word) if !self.secret => nearest(word, known.iter().copied()),
                    _ => None,
                };
                (
                    format!("{setting} must be one of {}, {found}", list(known)),
                    near.map(|near| format!("did you mean `{near}`?")),
                )
            }
            Cause::Missing { key } => (format!("{setting} lacks `{key}`"), Some(format!("add `{key}: …` to it"))),
            Cause::Wrong { expected } => {
                let (form, help) = form(expected, node, self.secret);
                (format!("{setting} must be {form}, {found}"), help)
            }
            Cause::NotAMap { known } => {
                let help = match known {
                    [] => "write a line `name: …` for each entry".to_owned(),
                    known => format!("its keys are {}", list(known)),
                };
                (format!("{setting} must be a map, {found}"), Some(help))
            }
            Cause::NotOneOf { known } => (format!("{setting} must have exactly one of the keys {}", list(known)), None),
            Cause::Said(words) if self.secret => (format!("{setting} is not right: {words}"), None),
            Cause::Said(words) => (format!("{setting}: {words}"), None),
            Cause::Emptied => return None,
        })
    }
}

fn hide_all(node: &Node, findings: &mut Findings) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| hide_all(item, findings)),
        Value::Map(entries) => entries.iter().for_each(|entry| hide_all(&entry.node, findings)),
        _ => findings.hide(node.place),
    }
}

fn named(path: &SettingPath) -> String {
    if path.is_root() { "the file".to_owned() } else { format!("`{path}`") }
}

/// The last key of a path, and what it stands in.
fn split(path: &SettingPath) -> (String, String) {
    let mut section = path.clone();
    let key = match section.segments().last() {
        Some(Segment::Key(key)) => key.clone(),
        _ => path.to_string(),
    };
    section.pop();
    let section = if section.is_root() { "this file".to_owned() } else { format!("`{section}`") };
    (key, section)
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// What stands there instead, in the user's own spelling.
fn found(node: &Node, document: &Document) -> String {
    const CHARACTERS_MAX: usize = 60;
    let text = match &node.value {
        Value::Nothing | Value::List(_) | Value::Map(_) => return hidden_found(node, "a plain value"),
        Value::Text(text) if text.is_empty() => return "not an empty text".to_owned(),
        Value::Text(text) => text,
        Value::Boolean(_) | Value::Number(_) => document.text.get(node.place.start..node.place.end).unwrap_or_default(),
    };
    if text.chars().count() <= CHARACTERS_MAX {
        return format!("not `{text}`");
    }
    format!("not `{}…`", text.chars().take(CHARACTERS_MAX).collect::<String>())
}

/// What stands there instead, without a word of it.
fn hidden_found(node: &Node, plain: &str) -> String {
    match &node.value {
        Value::Nothing => "but is empty".to_owned(),
        Value::List(_) => "not a list".to_owned(),
        Value::Map(_) => "not a map".to_owned(),
        Value::Boolean(_) | Value::Number(_) | Value::Text(_) => format!("not {plain}"),
    }
}

/// The right form in words for people, and what to do for a frequent slip.
fn form(expected: &str, node: &Node, secret: bool) -> (String, Option<String>) {
    let yes_or_no = |text: &str| match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" => Some("write `true`"),
        "no" | "off" | "n" => Some("write `false`"),
        "true" | "false" => Some("remove the quotes"),
        _ => None,
    };
    match (expected, &node.value) {
        ("a boolean", Value::Text(text)) => ("`true` or `false`".to_owned(), yes_or_no(text).map(str::to_owned)),
        ("a boolean", _) => ("`true` or `false`".to_owned(), None),
        ("usize" | "u64" | "u32" | "u16", Value::Text(text))
            if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() =>
        {
            ("a whole number".to_owned(), Some("remove the quotes".to_owned()))
        }
        ("usize" | "u64" | "u32" | "u16", _) => ("a whole number".to_owned(), None),
        ("a JSON number", _) => ("a number".to_owned(), None),
        ("a string" | "path string" | "a borrowed string", Value::Boolean(_) | Value::Number(_)) if !secret => {
            ("a text".to_owned(), Some("put it in quotes if the text is meant".to_owned()))
        }
        ("a string" | "path string", _) => ("a text".to_owned(), None),
        ("a sequence", _) => ("a list".to_owned(), Some("write `[ … ]`, or a line with `- ` for each item".to_owned())),
        (other, _) => (other.to_owned(), None),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.cause)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Cause::Said(message.to_string()), false)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Cause::Wrong { expected: expected.to_string() }, false)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Cause::Wrong { expected: expected.to_string() }, false)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(Cause::Said(format!("{length} items where {expected} is expected")), false)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownWord { known }, false)
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownKey { known }, false)
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Cause::Missing { key }, false)
    }
}

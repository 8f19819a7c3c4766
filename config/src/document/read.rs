//! From YAML text to the tree.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::{DuplicateKeyPolicy, Error, NonFiniteFloatPolicy, Spanned};

use super::{Document, Entry, Node, Place, Value};

/// A text that is no YAML, or YAML made to exhaust its reader.
#[derive(Debug)]
pub(crate) struct NotReadable {
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
}

// Far above any real config, far below what hurts.
const NODES_MAX: usize = 100_000;
// Each level takes some 30 KiB of stack in a debug build, and threads have 2 MiB.
const DEPTH_MAX: usize = 24;

impl Document {
    /// Reads `text`. Keys that occur twice are kept both, for [`Document::take_duplicates`].
    pub(crate) fn read(text: &str, named: &str) -> Result<Self, NotReadable> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_depth: DEPTH_MAX },
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            // YAML 1.2: `no`, `0123` and `1_000` are texts.
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            with_snippet: false,
        };
        let root =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| NotReadable::new(&error, text))?;
        Ok(Self { named: named.to_owned(), text: text.to_owned(), root })
    }
}

impl NotReadable {
    fn new(error: &Error, text: &str) -> Self {
        let (message, help) = words(error);
        let place = error.location().map(|location| {
            let start = byte_offset(text, number(location.span().offset()));
            Place { line: number(location.line()), column: number(location.column()), start, end: start }
        });
        Self { place, message, help }
    }
}

fn words(error: &Error) -> (String, Option<&'static str>) {
    match error {
        Error::Message { msg, .. } | Error::ExternalMessage { msg, .. } => syntax(msg),
        Error::MultipleDocuments { .. } => {
            ("a second YAML document begins here".to_owned(), Some("keep one document in the file and remove `---`"))
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasError { .. } => (
            format!("the text unfolds to more than {NODES_MAX} values or {DEPTH_MAX} levels"),
            Some("use fewer levels, and fewer aliases (`*name`) inside of anchors (`&name`)"),
        ),
        Error::UnknownAnchor { .. } => (
            "this alias has no anchor".to_owned(),
            Some("`*name` repeats what `&name` marks further up; put a text that begins with `*` in quotes: `\"*\"`"),
        ),
        Error::NullIntoString { .. } | Error::Unexpected { .. } => ("a key must be a text".to_owned(), None),
        _ => (
            "this YAML cannot be used here".to_owned(),
            Some("write plain maps, lists, texts, numbers, `true` and `false`"),
        ),
    }
}

/// The parser's words are exact but for its own use; those for the frequent slips are put for the writer of a config.
fn syntax(message: &str) -> (String, Option<&'static str>) {
    const SLIPS: [(&str, &str, &str); 8] = [
        (
            "tabs disallowed",
            "a tab is used for indentation",
            "YAML is indented with spaces: replace the tab by two of them",
        ),
        (
            "mapping values are not allowed",
            "a second `:` on this line",
            "put a value that contains `: ` in quotes, or begin a new line for the inner key",
        ),
        (
            "did not find expected key",
            "this line is indented unlike the lines of its section, or the line before does not end",
            "keys of one section start in the same column",
        ),
        (
            "while scanning an anchor or alias",
            "`*` and `&` at the start of a text have a meaning of their own in YAML",
            "put the text in quotes: `\"*\"`",
        ),
        (
            "while parsing a flow",
            "a bracket is not closed before this, or a comma is missing",
            "end every `{` with `}` and every `[` with `]`",
        ),
        ("unclosed quote", "this quote is never closed", "end the text with the same quote"),
        ("unclosed bracket", "a bracket is never closed", "end every `{` with `}` and every `[` with `]`"),
        ("unexpected character", "no value begins with this character", "put the text in quotes"),
    ];
    match SLIPS.iter().find(|(parser, _, _)| message.contains(parser)) {
        Some((_, words, help)) => ((*words).to_owned(), Some(help)),
        None => (format!("this is no YAML: {}", message.replace('\'', "`")), None),
    }
}

/// The place in bytes of the character at `offset`: the parser tells bytes for values only, not for errors.
fn byte_offset(text: &str, offset: usize) -> usize {
    text.char_indices().nth(offset).map_or(text.len(), |(byte, _)| byte)
}

fn number(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: place(&spanned), value: spanned.value, left_out: false })
    }
}

fn place<T>(spanned: &Spanned<T>) -> Place {
    let location = spanned.referenced;
    let start = number(location.span().byte_offset().unwrap_or(0));
    let length = number(location.span().byte_len().unwrap_or(0));
    Place { line: number(location.line()), column: number(location.column()), start, end: start.saturating_add(length) }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> de::Visitor<'de> for AnyValue {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any YAML value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Nothing)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Boolean(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(serde_json::Number::from_f64(value).map_or_else(|| Value::Text(value.to_string()), Value::Number))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(Value::Text(value))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Value::List(items))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let key_place = place(&key);
                    entries.push(Entry { key: key.value, key_place, node: map.next_value()? });
                }
                Ok(Value::Map(entries))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

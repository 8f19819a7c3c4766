//! Tags: what an answer is about, and what a write changes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// What an answer is about or a write changes, as `family:rest`; in the rest `{customer_id}` stands for an argument of the call and
/// `{result.key}` for a member of its structured result, `{ids[]}` and `{result.tickets[].key}` for that of every item. Texts stand there as
/// they are, numbers with all their digits, so that 42, 42.0 and "42" are one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct TagTemplate {
    text: String,
    #[serde(skip)]
    #[schemars(skip)]
    pieces: Vec<TagPiece>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagPiece {
    /// Stands for itself.
    Text(String),
    /// The values of an argument, or of a member of one.
    Argument(Vec<TagStep>),
    /// The values of a member of the structured result.
    Result(Vec<TagStep>),
}

/// One step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagStep {
    /// Into this member of an object.
    Member(String),
    /// Into every item of an array.
    Items,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// It has no family.
    #[error(
        "a tag is `family:rest`, where the family has letters, digits, `_` and `-`, such as `customer:{{customer_id}}`"
    )]
    Family,
    /// Weir's own.
    #[error("tags of the family `weir` are Weir's own")]
    Reserved,
    /// It is longer than any tag.
    #[error("a tag has at most {TAG_BYTES_MAX} bytes")]
    Long,
    /// It has characters that no line holds.
    #[error("a tag has no control characters, such as line breaks")]
    Control,
    /// A brace has no partner.
    #[error("a `{{` and a `}}` belong together")]
    Braces,
    /// What stands between the braces leads nowhere.
    #[error(
        "between braces stands the name of an argument, or `result.` and the way to a member, such as `result.tickets[].key`"
    )]
    Place,
}

/// The longest tag. What is longer names nothing.
pub const TAG_BYTES_MAX: usize = 1024;

impl TagTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TagError`] says what its form is.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        check(text)?;
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (before, placed) = match rest.split_once('{') {
                Some((before, after)) => {
                    let (place, after) = after.split_once('}').ok_or(TagError::Braces)?;
                    rest = after;
                    (before, Some(place))
                }
                None => (std::mem::take(&mut rest), None),
            };
            if before.contains('}') || placed.is_some_and(|place| place.contains('{')) {
                return Err(TagError::Braces);
            }
            if !before.is_empty() {
                pieces.push(TagPiece::Text(before.to_owned()));
            }
            pieces.extend(placed.map(piece).transpose()?);
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// The part before the first `:`.
    #[must_use]
    pub fn family(&self) -> &str {
        family(&self.text)
    }

    /// The template's own text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its parts in order.
    #[must_use]
    pub fn pieces(&self) -> &[TagPiece] {
        &self.pieces
    }

    /// Whether only the result says which tags it stands for.
    #[must_use]
    pub fn is_of_result(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, TagPiece::Result(_)))
    }
}

/// The part of a tag before its first `:`.
#[must_use]
pub fn family(tag: &str) -> &str {
    tag.split_once(':').map_or("", |(family, _)| family)
}

/// Whether it can be the family of a tag.
#[must_use]
pub fn is_family(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether `text` is a tag that others than Weir itself may name.
///
/// # Errors
/// [`TagError`] says what its form is.
pub fn check(text: &str) -> Result<(), TagError> {
    match family(text) {
        family if !is_family(family) => Err(TagError::Family),
        "weir" => Err(TagError::Reserved),
        _ if text.len() > TAG_BYTES_MAX => Err(TagError::Long),
        _ if text.chars().any(char::is_control) => Err(TagError::Control),
        _ => Ok(()),
    }
}

fn piece(place: &str) -> Result<TagPiece, TagError> {
    match place.strip_prefix("result.") {
        Some(way) => steps(way).map(TagPiece::Result),
        None => steps(place).map(TagPiece::Argument),
    }
}

fn steps(way: &str) -> Result<Vec<TagStep>, TagError> {
    let mut steps = Vec::new();
    for part in way.split('.') {
        let (name, items) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        if name.is_empty() || name.contains(['[', ']']) {
            return Err(TagError::Place);
        }
        steps.push(TagStep::Member(name.to_owned()));
        steps.extend(items.then_some(TagStep::Items));
    }
    Ok(steps)
}

impl fmt::Display for TagTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for TagTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{TagError, TagPiece, TagStep, TagTemplate};

    #[test]
    fn a_template_names_arguments_and_members_of_the_result() {
        let text = |text: &str| TagPiece::Text(text.to_owned());
        let member = |name: &str| TagStep::Member(name.to_owned());
        let template = TagTemplate::parse("ticket:{project.keys[]}/{result.tickets[].key}!").expect("a template");
        let argument = TagPiece::Argument(vec![member("project"), member("keys"), TagStep::Items]);
        let result = TagPiece::Result(vec![member("tickets"), TagStep::Items, member("key")]);
        assert_eq!(template.pieces(), [text("ticket:"), argument, text("/"), result, text("!")]);
        assert_eq!((template.family(), template.is_of_result()), ("ticket", true));
        assert!(!TagTemplate::parse("customers:all").expect("a template").is_of_result());
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_form() {
        for (text, error) in [
            ("customer", TagError::Family),
            (":x", TagError::Family),
            ("{a}:x", TagError::Family),
            ("weir:x", TagError::Reserved),
            ("a:{b", TagError::Braces),
            ("a:b}", TagError::Braces),
            ("a:{b{c}}", TagError::Braces),
            ("a:{}", TagError::Place),
            ("a:{b..c}", TagError::Place),
            ("a:{b[0]}", TagError::Place),
            ("a:{[]}", TagError::Place),
            ("a:b\nc:d", TagError::Control),
            (&format!("a:{}", "b".repeat(1023)), TagError::Long),
            ("a:{result.}", TagError::Place),
            ("a:{result.b[0]}", TagError::Place),
        ] {
            assert_eq!(TagTemplate::parse(text), Err(error), "{text}");
        }
    }
}

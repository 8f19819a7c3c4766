//! Tags: what an answer is about, and what a write changes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// What an answer is about or a write changes, as `family:rest`; in the rest `{customer_id}` stands for an argument of the call and
/// `{result.key}` for a member of its structured result, `{result.tickets[].key}` for that of every item.
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
    /// The value of an argument, by the names that lead to it.
    Argument(Vec<String>),
    /// The values of a member of the structured result.
    Result(Vec<TagStep>),
}

/// One step on the way to a member of a result.
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
    /// A brace has no partner.
    #[error("a `{{` and a `}}` belong together")]
    Braces,
    /// What stands between the braces leads nowhere.
    #[error(
        "between braces stands the name of an argument, or `result.` and the way to a member, such as `result.tickets[].key`"
    )]
    Place,
}

impl TagTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TagError`] says what its form is.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        let (family, _) = text.split_once(':').ok_or(TagError::Family)?;
        if !is_family(family) {
            return Err(TagError::Family);
        }
        if family == "weir" {
            return Err(TagError::Reserved);
        }
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
        self.text.split_once(':').map_or("", |(family, _)| family)
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

/// Whether it can be the family of a tag.
#[must_use]
pub fn is_family(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn piece(place: &str) -> Result<TagPiece, TagError> {
    let Some(way) = place.strip_prefix("result.") else {
        let names: Vec<String> = place.split('.').map(str::to_owned).collect();
        let is_name = |name: &String| !name.is_empty() && !name.contains(['[', ']']);
        return if names.iter().all(is_name) { Ok(TagPiece::Argument(names)) } else { Err(TagError::Place) };
    };
    let mut steps = Vec::new();
    for part in way.split('.') {
        let (name, items) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        if name.is_empty() || name.contains(['[', ']']) {
            return Err(TagError::Place);
        }
        steps.push(TagStep::Member(name.to_owned()));
        steps.extend(items.then_some(TagStep::Items));
    }
    Ok(TagPiece::Result(steps))
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
        let template = TagTemplate::parse("ticket:{project.key}/{result.tickets[].key}!").expect("a template");
        let argument = TagPiece::Argument(vec!["project".to_owned(), "key".to_owned()]);
        let steps = vec![TagStep::Member("tickets".to_owned()), TagStep::Items, TagStep::Member("key".to_owned())];
        assert_eq!(template.pieces(), [text("ticket:"), argument, text("/"), TagPiece::Result(steps), text("!")]);
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
            ("a:{b[]}", TagError::Place),
            ("a:{result.}", TagError::Place),
            ("a:{result.b[0]}", TagError::Place),
        ] {
            assert_eq!(TagTemplate::parse(text), Err(error), "{text}");
        }
    }
}

//! The texts of a request in which arguments have places: `/accounts/{account_id}`.

/// A text with places for arguments, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What it consists of, in order; no two literals follow each other.
    pub parts: Vec<Part>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Literal(String),
    /// The place of the argument of this name.
    Argument(String),
}

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace opens and nothing closes it.
    #[error("has a `{{` without its `}}`")]
    Open,
    /// A brace closes and nothing opened it.
    #[error("has a `}}` without its `{{`")]
    Close,
    /// Nothing stands between two braces.
    #[error("has braces with no name in them")]
    Empty,
}

impl Template {
    /// Takes `text` apart: `{name}` is an argument, `{{` and `}}` are braces.
    ///
    /// # Errors
    /// When braces do not match.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, behind) = rest[at..].split_at(1);
            if let Some(behind) = behind.strip_prefix(brace) {
                literal.push_str(brace);
                rest = behind;
                continue;
            }
            if brace == "}" {
                return Err(TemplateError::Close);
            }
            let end = behind.find(['{', '}']).filter(|end| behind[*end..].starts_with('}'));
            let (name, behind) = behind.split_at(end.ok_or(TemplateError::Open)?);
            if name.is_empty() {
                return Err(TemplateError::Empty);
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Argument(name.to_owned()));
            rest = &behind[1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The names of its arguments, in order.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Argument(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, Template, TemplateError};

    #[test]
    fn a_text_is_taken_apart_at_its_braces() {
        let literal = |text: &str| Part::Literal(text.to_owned());
        let argument = |name: &str| Part::Argument(name.to_owned());
        for (text, expected) in [
            ("", Ok(vec![])),
            ("plain", Ok(vec![literal("plain")])),
            ("{a}", Ok(vec![argument("a")])),
            ("/x/{a}-{b}/", Ok(vec![literal("/x/"), argument("a"), literal("-"), argument("b"), literal("/")])),
            ("{a}{b}", Ok(vec![argument("a"), argument("b")])),
            ("{{a}}", Ok(vec![literal("{a}")])),
            ("ü{ü}ü", Ok(vec![literal("ü"), argument("ü"), literal("ü")])),
            ("{{{a}}}", Ok(vec![literal("{"), argument("a"), literal("}")])),
            ("{a", Err(TemplateError::Open)),
            ("{a{b}", Err(TemplateError::Open)),
            ("{", Err(TemplateError::Open)),
            ("a}", Err(TemplateError::Close)),
            ("{}", Err(TemplateError::Empty)),
        ] {
            assert_eq!(Template::parse(text).map(|template| template.parts), expected, "{text}");
        }
    }
}

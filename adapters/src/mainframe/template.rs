//! The templates of a request, taken apart once at the start: a type for each place, which alone knows how an argument is
//! written there. Nothing is put together by joining text that was not encoded for its place.

use config::downstream::mainframe::{Part, Template};
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::encode;
use crate::json;

/// An argument of a call that was given or has a default.
#[derive(Debug)]
pub(super) struct Given {
    /// Its JSON text, byte for byte as it was judged.
    pub(super) raw: String,
    /// What it is where there is only text, or why it cannot stand there.
    pub(super) text: Result<String, &'static str>,
}

/// The arguments of one call, in the order of the config.
pub(super) struct Arguments<'a> {
    pub(super) names: &'a [Box<str>],
    pub(super) given: &'a [Option<Given>],
}

/// Why an argument cannot stand in its place: "`name` …".
pub(super) type Misfit = String;

/// A text with places for arguments.
#[derive(Debug)]
pub(super) struct Text(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Literal(Box<str>),
    /// The argument at this place of the config.
    Argument(usize),
}

/// The path of a request; no argument leaves its segment.
#[derive(Debug)]
pub(super) struct Path(Vec<Text>);

/// A parameter of a query.
#[derive(Debug)]
pub(super) struct Parameter {
    name: Box<str>,
    value: Text,
}

/// A header.
#[derive(Debug)]
pub(super) struct Header {
    name: HeaderName,
    value: Text,
}

/// A field of a form.
#[derive(Debug)]
pub(super) struct Field {
    name: Box<str>,
    value: Text,
}

/// A JSON value in which texts may have places for arguments.
#[derive(Debug)]
pub(super) enum Json {
    /// JSON text.
    Literal(Box<str>),
    /// An argument, with its type.
    Argument(usize),
    Text(Text),
    List(Vec<Json>),
    Object(Vec<(Box<str>, Json)>),
}

impl Text {
    /// # Errors
    /// When braces do not match, or `names` lack the name in them.
    pub(super) fn new(text: &str, names: &[Box<str>]) -> Result<Self, String> {
        let template = Template::parse(text).map_err(|error| error.to_string())?;
        let piece = |part| match part {
            Part::Literal(text) => Ok(Piece::Literal(text.into())),
            Part::Argument(name) => names
                .iter()
                .position(|known| **known == *name)
                .map(Piece::Argument)
                .ok_or_else(|| format!("uses `{{{name}}}`, but there is no argument of this name")),
        };
        template.parts.into_iter().map(piece).collect::<Result<_, _>>().map(Self)
    }

    /// The text with its arguments, each piece written by `write`; `None` where all of its arguments were left out.
    fn fill(
        &self,
        arguments: &Arguments<'_>,
        mut write: impl FnMut(&mut String, &str, Option<&str>) -> Result<(), Misfit>,
    ) -> Result<Option<String>, Misfit> {
        let mut out = String::new();
        let (mut places, mut filled) = (0, 0);
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => write(&mut out, text, None)?,
                Piece::Argument(index) => {
                    places += 1;
                    let Some(given) = &arguments.given[*index] else { continue };
                    filled += 1;
                    let name = &arguments.names[*index];
                    let text =
                        given.text.as_deref().map_err(|why| format!("`{name}` {why} where only text can stand"))?;
                    write(&mut out, text, Some(name))?;
                }
            }
        }
        Ok((places == 0 || filled > 0).then_some(out))
    }

    fn plain(&self, arguments: &Arguments<'_>) -> Result<Option<String>, Misfit> {
        self.fill(arguments, |out, text, _| {
            out.push_str(text);
            Ok(())
        })
    }

    /// Its arguments, by their places in the config.
    fn arguments(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Argument(index) => Some(*index),
            Piece::Literal(_) => None,
        })
    }
}

impl Path {
    /// # Errors
    /// When the text is no template of a path.
    pub(super) fn new(text: &str, names: &[Box<str>]) -> Result<Self, String> {
        let segments = text.strip_prefix('/').ok_or("must start with `/`")?;
        segments.split('/').map(|segment| Text::new(segment, names)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an argument says which thing is asked for.
    pub(super) fn names_one(&self) -> bool {
        self.0.iter().any(|segment| segment.arguments().next().is_some())
    }

    /// The path with its arguments, from the slash on.
    ///
    /// # Errors
    /// The argument that would leave its segment, be it as nothing or as a step up: servers resolve those before they look.
    pub(super) fn fill(&self, arguments: &Arguments<'_>) -> Result<String, Misfit> {
        let mut path = String::new();
        for segment in &self.0 {
            let filled = segment.fill(arguments, |out, text, argument| {
                match argument {
                    Some(_) => encode::percent(out, text),
                    None => out.push_str(text),
                }
                Ok(())
            })?;
            let filled = filled.unwrap_or_default();
            // Servers that know parameters of a segment (`;v=1`) take those away first. One of an argument is encoded.
            let step = filled.split(';').next().unwrap_or_default();
            if let Some(index) = segment.arguments().next()
                && matches!(&*step.to_ascii_lowercase().replace("%2e", "."), "" | "." | "..")
            {
                let name = &arguments.names[index];
                return Err(format!("`{name}` is a part of a path, which must not be empty, `.` or `..`"));
            }
            path.push('/');
            path.push_str(&filled);
        }
        Ok(path)
    }
}

impl Parameter {
    pub(super) fn new(name: &str, value: &str, names: &[Box<str>]) -> Result<Self, String> {
        let mut encoded = String::new();
        encode::percent(&mut encoded, name);
        Ok(Self { name: encoded.into(), value: Text::new(value, names)? })
    }

    /// Writes it behind those that are in `query` already, unless it was left out.
    pub(super) fn add_to(&self, query: &mut String, arguments: &Arguments<'_>) -> Result<(), Misfit> {
        let Some(value) = self.value.plain(arguments)? else { return Ok(()) };
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(&self.name);
        query.push('=');
        encode::percent(query, &value);
        Ok(())
    }
}

impl Header {
    pub(super) fn new(name: &str, value: &str, names: &[Box<str>]) -> Result<Self, String> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("is no name of a header: `{name}`"))?;
        Ok(Self { name, value: Text::new(value, names)? })
    }

    /// Its value; `None` where it was left out.
    ///
    /// # Errors
    /// An argument with anything but visible ASCII characters and spaces: nothing in it may end the header or be read in two ways.
    pub(super) fn fill(&self, arguments: &Arguments<'_>) -> Result<Option<(HeaderName, HeaderValue)>, Misfit> {
        let filled = self.value.fill(arguments, |out, text, argument| {
            if let Some(name) = argument
                && !text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
            {
                return Err(format!(
                    "`{name}` is sent in a header, which takes only visible ASCII characters and spaces"
                ));
            }
            out.push_str(text);
            Ok(())
        })?;
        let Some(text) = filled else { return Ok(None) };
        let value = HeaderValue::from_str(&text).map_err(|_| format!("`{}` takes no such value", self.name))?;
        Ok(Some((self.name.clone(), value)))
    }

    pub(super) fn name(&self) -> &HeaderName {
        &self.name
    }
}

impl Field {
    pub(super) fn new(name: &str, value: &str, names: &[Box<str>]) -> Result<Self, String> {
        let mut encoded = String::new();
        encode::form(&mut encoded, name);
        Ok(Self { name: encoded.into(), value: Text::new(value, names)? })
    }

    /// Writes it behind those that are in `form` already, unless it was left out.
    pub(super) fn add_to(&self, form: &mut String, arguments: &Arguments<'_>) -> Result<(), Misfit> {
        let Some(value) = self.value.plain(arguments)? else { return Ok(()) };
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(&self.name);
        form.push('=');
        encode::form(form, &value);
        Ok(())
    }
}

impl Json {
    pub(super) fn new(value: &Value, names: &[Box<str>]) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => {
                let text = Text::new(text, names)?;
                match text.0[..] {
                    [Piece::Argument(index)] => Self::Argument(index),
                    _ => Self::Text(text),
                }
            }
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::new(item, names)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let member = |(name, value): (&String, _)| Ok((name.as_str().into(), Self::new(value, names)?));
                Self::Object(members.iter().map(member).collect::<Result<_, String>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Literal(value.to_string().into()),
        })
    }

    /// Its JSON text; `None` where all of its arguments were left out, so that a member or an item goes with them.
    pub(super) fn fill(&self, arguments: &Arguments<'_>) -> Result<Option<String>, Misfit> {
        Ok(match self {
            Self::Literal(text) => Some(text.to_string()),
            Self::Argument(index) => arguments.given[*index].as_ref().map(|given| given.raw.clone()),
            Self::Text(text) => text.plain(arguments)?.map(|text| json::string(&text)),
            Self::List(items) => {
                let items = items.iter().filter_map(|item| item.fill(arguments).transpose());
                Some(format!("[{}]", items.collect::<Result<Vec<_>, _>>()?.join(",")))
            }
            Self::Object(members) => {
                let member = |(name, value): &(Box<str>, Self)| {
                    let value = value.fill(arguments).transpose()?;
                    Some(value.map(|value| format!("{}:{value}", json::string(name))))
                };
                Some(format!("{{{}}}", members.iter().filter_map(member).collect::<Result<Vec<_>, _>>()?.join(",")))
            }
        })
    }
}

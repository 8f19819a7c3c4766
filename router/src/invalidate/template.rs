//! Templates of tags, filled with the arguments of a call and with its result.
//!
//! Where a template cannot be filled, a read is not stored, and a write ends all entries of the family: both are always right.

use std::{borrow::Cow, collections::BTreeSet};

use adapters::json::{self, Object};
use bytes::Bytes;
use cache::Tag;
use config::{
    TagTemplate,
    tag::{TAG_BYTES_MAX, TagPiece, TagStep},
};
use serde_json::value::RawValue;

use super::{StrictFamilies, Tags};

/// How many tags one call has at most. More of them would cost every hit more than they are worth.
const TAGS_MAX: usize = 256;

/// What is known of a read's tags before its fetch.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Those that the arguments name, and the whole families.
    pub(crate) tags: Vec<Tag>,
    /// Stand for those that only the result will name.
    pub(crate) templates: Vec<Tag>,
    /// An argument is missing, or is none that a tag can hold: the read is not stored.
    pub(crate) unresolved: bool,
}

/// What a write raises before it is sent.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Those that the arguments name; whole families where an argument is missing, and strict ones of which only the result will name tags.
    pub(crate) tags: Vec<Tag>,
    /// One for each family.
    pub(crate) templates: Vec<Tag>,
}

/// The tags of a read. `arguments` are those that the downstream gets, defaults included.
pub(crate) fn tags_of_arguments(
    templates: &[TagTemplate],
    strict: &StrictFamilies,
    arguments: Option<&Bytes>,
) -> Resolved {
    let source = Source::new(templates, arguments, None);
    let (mut tags, mut stand_ins) = (Tags::default(), Tags::default());
    let mut unresolved = false;
    for template in templates {
        tags.add(strict.all_of(template.family()));
        if template.is_of_result() {
            stand_ins.add(strict.any_of(template.family()));
        }
        let filled = !template.is_of_result() && fill(template, &source, strict, &mut tags).is_none();
        unresolved |= filled;
    }
    Resolved { tags: tags.0, templates: stand_ins.0, unresolved }
}

/// The tags of a read that its result names; `None` when the result does not name them all: it is not stored.
pub(crate) fn tags_of_result(
    templates: &[TagTemplate],
    strict: &StrictFamilies,
    arguments: Option<&Bytes>,
    result: &Bytes,
) -> Option<Vec<Tag>> {
    let of_result = || templates.iter().filter(|template| template.is_of_result());
    if of_result().next().is_none() {
        return Some(Vec::new());
    }
    let source = Source::new(templates, arguments, Some(result));
    let mut tags = Tags::default();
    of_result().try_for_each(|template| fill(template, &source, strict, &mut tags))?;
    Some(tags.0)
}

/// What a write raises before it is sent.
pub(crate) fn tags_of_write(templates: &[TagTemplate], strict: &StrictFamilies, arguments: Option<&Bytes>) -> Changes {
    let source = Source::new(templates, arguments, None);
    let (mut tags, mut stand_ins) = (Tags::default(), Tags::default());
    for template in templates {
        let whole = strict.all_of(template.family());
        stand_ins.add(strict.any_of(template.family()));
        // Should Redis be gone when the result could say more, what was said before counts for all: a strict family has to end as a whole.
        let is_known = if template.is_of_result() {
            !whole.is_strict()
        } else {
            fill(template, &source, strict, &mut tags).is_some()
        };
        if !is_known {
            tags.add(whole);
        }
    }
    Changes { tags: tags.0, templates: stand_ins.0 }
}

/// What a write raises after its end besides: what its result names, and whole families where it names nothing or there is none.
pub(crate) fn tags_of_written(
    templates: &[TagTemplate],
    strict: &StrictFamilies,
    arguments: Option<&Bytes>,
    result: Option<&Bytes>,
) -> Vec<Tag> {
    let source = Source::new(templates, arguments, result);
    let mut tags = Tags::default();
    for template in templates.iter().filter(|template| template.is_of_result()) {
        if fill(template, &source, strict, &mut tags).is_none() {
            tags.add(strict.all_of(template.family()));
        }
    }
    tags.0
}

/// Where the values come from, as JSON text.
struct Source<'a> {
    arguments: Option<&'a str>,
    /// The structured result.
    result: Option<&'a str>,
}

impl<'a> Source<'a> {
    fn new(templates: &[TagTemplate], arguments: Option<&'a Bytes>, result: Option<&'a Bytes>) -> Self {
        let arguments = arguments.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let is_asked = templates.iter().any(TagTemplate::is_of_result);
        let result = result.filter(|_| is_asked).and_then(|bytes| std::str::from_utf8(bytes).ok());
        Self { arguments, result: result.and_then(|text| Object::parse(text)?.get("structuredContent")) }
    }
}

/// Adds the tags that a template stands for, one for each combination of its values; `None` when one of them cannot be had, or when there are
/// too many. What was added by then stays: too many tags harm nobody.
fn fill(template: &TagTemplate, source: &Source<'_>, strict: &StrictFamilies, tags: &mut Tags) -> Option<()> {
    let mut names = vec![String::new()];
    for piece in template.pieces() {
        let (from, steps) = match piece {
            TagPiece::Text(text) => {
                names.iter_mut().for_each(|name| name.push_str(text));
                continue;
            }
            TagPiece::Argument(steps) => (source.arguments, steps),
            TagPiece::Result(steps) => (source.result, steps),
        };
        let mut values = BTreeSet::new();
        collect(from?, steps, &mut values)?;
        if names.len().saturating_mul(values.len()) > TAGS_MAX {
            return None;
        }
        names = names.iter().flat_map(|name| values.iter().map(move |value| format!("{name}{value}"))).collect();
    }
    for name in names {
        if name.len() > TAG_BYTES_MAX || tags.0.len() == TAGS_MAX {
            return None;
        }
        tags.add(strict.tag(&name));
    }
    Some(())
}

/// The values at the end of `steps`, as tags spell them.
fn collect<'a>(raw: &'a str, steps: &[TagStep], values: &mut BTreeSet<Cow<'a, str>>) -> Option<()> {
    match steps.split_first() {
        None => {
            values.insert(spelled(raw)?);
            (values.len() <= TAGS_MAX).then_some(())
        }
        Some((TagStep::Member(name), rest)) => collect(Object::parse(raw)?.get(name)?, rest, values),
        Some((TagStep::Items, rest)) => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            items.into_iter().try_for_each(|item| collect(item.get(), rest, values))
        }
    }
}

/// A text as it is, a number by its exact value, true or false. Nothing else is a name.
fn spelled(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first()? {
        b'"' => json::unquote(raw).filter(|text| text.len() <= TAG_BYTES_MAX),
        b't' | b'f' => Some(Cow::Borrowed(raw)),
        b'-' | b'0'..=b'9' => {
            let number = cache::exact_number(raw).ok()?;
            // As a name it has no sign.
            Some(if number == "-0" { Cow::Borrowed("0") } else { Cow::Owned(number) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

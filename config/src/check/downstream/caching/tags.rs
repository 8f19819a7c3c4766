//! The tags of a downstream's tools: whether they can be made, and whether its reads hear of its writes.

use std::collections::BTreeSet;

use crate::{
    Downstream, Effect, TagTemplate,
    downstream::{ArgumentType, Kind, Ticketing},
    nearest::nearest,
    tag::{TagPiece, TagStep},
};

use super::super::{Scope, listed};

pub(super) fn tags(downstream: &Downstream, scope: &Scope<'_>) {
    for (name, tool) in &downstream.tools {
        let scope = scope.key("tools").key(name);
        let tags = tool.cache.as_ref().map_or(&[][..], |cache| &cache.tags);
        for (list, templates) in [(scope.key("cache").key("tags"), tags), (scope.key("invalidates"), &tool.invalidates)]
        {
            for (scope, template) in list.items(templates) {
                template_can_be_filled(downstream, name, template, &scope);
            }
        }
        if scope.key("cache").key("not_found_for").given() && tags.iter().any(TagTemplate::is_of_result) {
            scope.key("cache").key("not_found_for").warn(
                "means nothing: an answer that there is no such thing does not name what a tag takes from the result, and is not kept",
                "take all tags from arguments, or remove it",
            );
        }
        if downstream.effect_of(name) == Effect::Read && tool.cache.is_some() {
            reads_hear_of_writes(downstream, tags, &scope.key("cache"));
        }
    }
}

/// Refuses names that the tool does not have. Which arguments a tool of another server takes is not known here.
fn template_can_be_filled(downstream: &Downstream, tool: &str, template: &TagTemplate, scope: &Scope<'_>) {
    let Some(known) = arguments(downstream, tool) else { return };
    let steps = template.pieces().iter().filter_map(|piece| match piece {
        TagPiece::Argument(steps) => Some(steps),
        TagPiece::Text(_) | TagPiece::Result(_) => None,
    });
    for steps in steps {
        let Some((TagStep::Member(name), rest)) = steps.split_first() else { continue };
        let Some(argument) = known.iter().find(|argument| argument.name == name) else {
            let names: Vec<&str> = known.iter().map(|argument| argument.name).collect();
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => {
                    "it takes no arguments; what its result says stands as `{result.…}`".to_owned()
                }
                None => format!("it takes {}; what its result says stands as `{{result.…}}`", listed(&names)),
            };
            scope.refuse(format!("is `{template}`, but the tool has no argument `{name}`"), help);
            continue;
        };
        if !argument.leads_to_a_value(rest) {
            scope.refuse(
                format!("is `{template}`, but the argument `{name}` is of type `{}`", argument.kind.as_str()),
                "a tag is made of texts, numbers, true and false; the items of a list stand as `{name[]}`, members of an object as `{name.member}`",
            );
        } else if !argument.always_there && downstream.effect_of(tool) == Effect::Read {
            scope.warn(
                format!("is `{template}`, but callers may leave out `{name}`: such calls are not cached"),
                format!("give `{name}` a `default`, or use another tag"),
            );
        }
    }
}

struct Known<'a> {
    name: &'a str,
    kind: ArgumentType,
    /// It is required, or has a default.
    always_there: bool,
}

impl Known<'_> {
    fn leads_to_a_value(&self, rest: &[TagStep]) -> bool {
        match (self.kind, rest) {
            (ArgumentType::Object, []) => false,
            (ArgumentType::Array, rest) => matches!(rest.first(), Some(TagStep::Items)),
            (ArgumentType::Object, rest) => matches!(rest.first(), Some(TagStep::Member(_))),
            (ArgumentType::String | ArgumentType::Integer | ArgumentType::Number | ArgumentType::Boolean, rest) => {
                rest.is_empty()
            }
        }
    }
}

/// The arguments of a tool, where they are known without asking the downstream.
fn arguments<'a>(downstream: &'a Downstream, tool: &str) -> Option<Vec<Known<'a>>> {
    match downstream.kind()? {
        Kind::Postgres(_) | Kind::Mainframe(_) => {
            let arguments = downstream.tools.get(tool)?.arguments.iter();
            let known = arguments.map(|(name, argument)| Known {
                name,
                kind: argument.kind,
                always_there: argument.default.as_ref().map_or(argument.required, |default| !default.is_null()),
            });
            Some(known.collect())
        }
        Kind::Ticketing(_) => {
            let known = Ticketing::arguments_of(tool)?.iter();
            Some(known.map(|&(name, kind, always_there)| Known { name, kind, always_there }).collect())
        }
        Kind::Mcp(_) => None,
    }
}

/// Warns where a write of the same downstream changes what this read shows, and the read would not hear of it.
fn reads_hear_of_writes(downstream: &Downstream, tags: &[TagTemplate], scope: &Scope<'_>) {
    let writes = writes(downstream);
    if tags.is_empty() {
        if let Some((write, _)) = writes.iter().find(|(_, invalidates)| invalidates.is_empty()) {
            scope.warn(
                format!("has no `tags`, and `{write}` does not say what it changes: until `fresh_for` is over nobody sees its effect"),
                format!("give both the same tag: `tags` here, `invalidates` at `{write}`"),
            );
        }
        return;
    }
    let of_items = tags.iter().filter(|tag| is_of_items(tag)).map(TagTemplate::family);
    let by_arguments = tags.iter().filter(|tag| !tag.is_of_result()).map(TagTemplate::family);
    let (of_items, by_arguments): (BTreeSet<_>, BTreeSet<_>) = (of_items.collect(), by_arguments.collect());
    for family in of_items.difference(&by_arguments) {
        let unheard = writes.iter().find(|(_, invalidates)| {
            invalidates.iter().any(|tag| tag.family() == *family)
                && !invalidates.iter().any(|tag| by_arguments.contains(tag.family()))
        });
        if let Some((write, _)) = unheard {
            scope.key("tags").warn(
                format!(
                    "name the items of the family `{family}` alone, so that `{write}` does not end a list on which what it makes is still missing"
                ),
                format!("give both one more tag that needs no result, such as `{family}s:all`"),
            );
        }
    }
}

/// Whether it stands for the items of a list in the result: what is not on the list yet has no tag there.
fn is_of_items(template: &TagTemplate) -> bool {
    template.pieces().iter().any(|piece| matches!(piece, TagPiece::Result(steps) if steps.contains(&TagStep::Items)))
}

/// The tools that write, as far as they are known, and what they say they change.
fn writes(downstream: &Downstream) -> Vec<(&str, &[TagTemplate])> {
    let stated = downstream.tools.iter().map(|(name, tool)| (name.as_str(), &tool.invalidates[..]));
    let brought = downstream.ticketing.iter().flat_map(|_| Ticketing::TOOLS);
    let brought = brought.filter(|(name, _)| is_offered(downstream, name) && !downstream.tools.contains_key(*name));
    let brought = brought.map(|(name, _)| (name, &[][..]));
    stated.chain(brought).filter(|(name, _)| downstream.effect_of(name).writes()).collect()
}

fn is_offered(downstream: &Downstream, tool: &str) -> bool {
    downstream.expose == crate::downstream::Expose::All || downstream.tools.contains_key(tool)
}

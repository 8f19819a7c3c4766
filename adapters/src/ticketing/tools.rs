//! The definitions of the five tools: the same for every provider.

use config::{Effect, downstream::Ticketing};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use super::arguments::{CURSOR_MAX, LABELS_MAX, LIMIT_DEFAULT, LIMIT_MAX, NAME_MAX, QUERY_MAX, TEXT_MAX, TITLE_MAX};

/// The names of the tools with their definitions. `effect_of` says what holds for each, so that what callers read agrees with it.
pub(super) fn all(effect_of: impl Fn(&str) -> Effect) -> Vec<(&'static str, Box<RawValue>)> {
    Ticketing::TOOLS.into_iter().map(|(name, _)| (name, definition(name, effect_of(name)))).collect()
}

fn definition(name: &str, effect: Effect) -> Box<RawValue> {
    let (title, description, input, output) = match name {
        "search_tickets" => ("Search tickets", SEARCH, search_input(), search_output()),
        "get_ticket" => ("Read a ticket", GET, get_input(), ticket(&detail())),
        "create_ticket" => ("Create a ticket", CREATE, create_input(), ticket(&json!({}))),
        "update_ticket_status" => ("Move a ticket to another status", UPDATE, update_input(), ticket(&update())),
        _ => ("Comment on a ticket", COMMENT, comment_input(), comment_output()),
    };
    let definition = json!({
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": input,
        "outputSchema": output,
        "annotations": annotations(title, effect, name == "update_ticket_status"),
    });
    to_raw_value(&definition).expect("a JSON value has a JSON text")
}

const SEARCH: &str = "Find tickets, the most recently updated first. All conditions given must hold. Shows only the beginning of each \
    description; get_ticket has the rest and the comments. When there are more, the answer has a next_cursor: pass it as `cursor` \
    with the same conditions. A ticket that was just created or changed may take some seconds to be found.";
const GET: &str = "Read one ticket with its description and its latest comments.";
const CREATE: &str = "Create a ticket. Answers with it; its `id` is what the other tools take. Look with search_tickets first, so that \
    nothing is reported twice.";
const UPDATE: &str = "Move a ticket to another status, with a comment if you like. When its workflow does not allow that, the answer \
    lists the statuses that are possible now.";
const COMMENT: &str = "Add a comment to a ticket.";

/// Plain text becomes what the provider keeps.
const FORMAT: &str = "Plain text: blank lines separate paragraphs, lines that begin with `- ` or `1. ` are lists, lines between ``` are kept as they are, \
     URLs become links.";

fn search_input() -> Value {
    strict(
        json!({
            "text": text("Words that must stand in the ticket or its comments.", QUERY_MAX),
            "status": text("The name of a status; or `open`, `in_progress` or `done` for all statuses that mean it.", NAME_MAX),
            "assignee": text("Who it is assigned to: full name, e-mail address or account id.", NAME_MAX),
            "project": text("The key of a project.", NAME_MAX),
            "updated_since": text("Only tickets changed since then: `2026-11-22T08:00:00Z`, or a day; in UTC.", 40),
            "limit": { "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT,
                "description": "How many tickets at most." },
            "cursor": text("`next_cursor` of the answer before, to go on from there.", CURSOR_MAX),
        }),
        &[],
    )
}

fn search_output() -> Value {
    object(
        json!({
            "tickets": { "type": "array", "items": ticket(&json!({})) },
            "next_cursor": { "type": "string", "description": "There are more: pass it as `cursor`." },
        }),
        &["tickets"],
    )
}

fn get_input() -> Value {
    strict(json!({ "id": id() }), &["id"])
}

fn create_input() -> Value {
    strict(
        json!({
            "title": text("What it is about, in one line.", TITLE_MAX),
            "description": text(&format!("The whole story. {FORMAT}"), TEXT_MAX),
            "project": text("The key of the project, where it is not the usual one.", NAME_MAX),
            "type": text("Its type, such as `Task` or `Bug`, where it is not the usual one.", NAME_MAX),
            "priority": text("Its priority, such as `High`.", NAME_MAX),
            "labels": { "type": "array", "maxItems": LABELS_MAX, "description": "Labels, without spaces.",
                "items": { "type": "string", "minLength": 1, "maxLength": NAME_MAX, "pattern": "^\\S+$" } },
        }),
        &["title"],
    )
}

fn update_input() -> Value {
    strict(
        json!({
            "id": id(),
            "status": text("The status it is to have, or the name of the step that leads there.", NAME_MAX),
            "comment": text(&format!("Added after the status has changed. {FORMAT}"), TEXT_MAX),
        }),
        &["id", "status"],
    )
}

fn comment_input() -> Value {
    strict(json!({ "id": id(), "text": text(&format!("The comment. {FORMAT}"), TEXT_MAX) }), &["id", "text"])
}

fn comment_output() -> Value {
    object(
        json!({ "id": described("string", "The ticket."), "url": { "type": "string" }, "comment": comment() }),
        &["id", "url", "comment"],
    )
}

/// A ticket, with `more` members.
fn ticket(more: &Value) -> Value {
    let mut properties = json!({
        "id": described("string", "What the other tools take as `id`."),
        "title": { "type": "string" },
        "status": nullable("What its workflow calls its status."),
        "status_category": { "enum": ["open", "in_progress", "done", null], "description": "What the status means." },
        "type": nullable("Its type."),
        "priority": nullable("Its priority."),
        "assignee": nullable("Who works on it."),
        "reporter": nullable("Who reported it."),
        "labels": { "type": "array", "items": { "type": "string" } },
        "project": nullable("The key of its project."),
        "created_at": nullable("When it was created, RFC 3339."),
        "updated_at": nullable("When it was changed last, RFC 3339."),
        "url": described("string", "Where people read it."),
        "description": nullable("Its description as text; in search results only the beginning."),
    });
    for (name, schema) in more.as_object().into_iter().flatten() {
        properties[name] = schema.clone();
    }
    let optional = ["note"];
    let required: Vec<String> = properties
        .as_object()
        .into_iter()
        .flat_map(|all| all.keys())
        .filter(|name| !optional.contains(&name.as_str()))
        .cloned()
        .collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn detail() -> Value {
    json!({
        "comments": { "type": "array", "items": comment(), "description": "The latest 50, the oldest of them first." },
        "comments_total": described("integer", "How many comments it has."),
    })
}

fn update() -> Value {
    let mut added = comment();
    added["type"] = json!(["object", "null"]);
    added["description"] = json!("The comment that was added.");
    json!({
        "changed": described("boolean", "Whether the status is another one now."),
        "previous_status": nullable("The status before."),
        "comment": added,
        "note": described("string", "What else there is to know."),
    })
}

fn comment() -> Value {
    json!({
        "type": "object",
        "properties": {
            "id": { "type": "string" },
            "author": nullable("Who wrote it."),
            "text": { "type": "string" },
            "created_at": nullable("When, RFC 3339."),
        },
        "required": ["id", "author", "text", "created_at"],
    })
}

/// A ticketing system is full of what strangers wrote, so its world is an open one. `replaces` where something is lost: the status
/// that was.
fn annotations(title: &str, effect: Effect, replaces: bool) -> Value {
    json!({
        "title": title,
        "readOnlyHint": !effect.writes(),
        "destructiveHint": effect.writes() && replaces,
        "idempotentHint": effect != Effect::Write,
        "openWorldHint": true,
    })
}

fn strict(properties: Value, required: &[&str]) -> Value {
    let mut schema = object(properties, required);
    schema["additionalProperties"] = json!(false);
    schema
}

#[allow(clippy::needless_pass_by_value, reason = "the schema is written in its place")]
fn object(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn id() -> Value {
    text("The id of the ticket, such as `SUP-123`.", NAME_MAX)
}

fn text(description: &str, most: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": most, "description": description })
}

fn described(kind: &str, description: &str) -> Value {
    json!({ "type": kind, "description": description })
}

fn nullable(description: &str) -> Value {
    json!({ "type": ["string", "null"], "description": description })
}

#[cfg(test)]
mod tests;

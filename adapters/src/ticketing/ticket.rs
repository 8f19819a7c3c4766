//! The one shape of results, whatever the provider.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

/// A ticket. What the provider does not say is null.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Ticket {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) status: Option<String>,
    pub(super) status_category: Option<Category>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) priority: Option<String>,
    pub(super) assignee: Option<String>,
    pub(super) reporter: Option<String>,
    pub(super) labels: Vec<String>,
    pub(super) project: Option<String>,
    pub(super) created_at: Option<String>,
    pub(super) updated_at: Option<String>,
    pub(super) url: String,
    pub(super) description: Option<String>,
}

/// What a status means, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Category {
    Open,
    InProgress,
    Done,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Comment {
    pub(super) id: String,
    pub(super) author: Option<String>,
    pub(super) text: String,
    pub(super) created_at: Option<String>,
}

/// What `search_tickets` found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub(super) tickets: Vec<Ticket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// What `get_ticket` shows.
#[derive(Debug, Serialize)]
pub(super) struct Detailed {
    #[serde(flatten)]
    pub(super) ticket: Ticket,
    /// The latest ones, the oldest of them first.
    pub(super) comments: Vec<Comment>,
    pub(super) comments_total: u64,
}

/// What `update_ticket_status` did.
#[derive(Debug, Serialize)]
pub(super) struct Updated {
    #[serde(flatten)]
    pub(super) ticket: Ticket,
    pub(super) changed: bool,
    pub(super) previous_status: Option<String>,
    pub(super) comment: Option<Comment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// What `add_comment` did.
#[derive(Debug, Serialize)]
pub(super) struct Commented {
    pub(super) id: String,
    pub(super) url: String,
    pub(super) comment: Comment,
}

/// MCP 2026-07-28, server/tools, "Structured Content": the same JSON stands in a text block too, for clients that read only that.
pub(super) fn result(structured: &impl Serialize) -> Bytes {
    #[derive(Serialize)]
    struct Result<'a> {
        content: [Block<'a>; 1],
        #[serde(rename = "structuredContent")]
        structured: &'a serde_json::value::RawValue,
    }
    #[derive(Serialize)]
    struct Block<'a> {
        r#type: &'static str,
        text: &'a str,
    }
    let structured = serde_json::value::to_raw_value(structured).expect("texts and numbers have a JSON text");
    let content = [Block { r#type: "text", text: structured.get() }];
    serde_json::to_vec(&Result { content, structured: &structured }).expect("texts have a JSON text").into()
}

/// A result that says what went wrong.
pub(super) fn failure(text: &str) -> Bytes {
    json!({ "content": [{ "type": "text", "text": text }], "isError": true }).to_string().into()
}

//! Issues, comments and transitions as Jira writes them, and the tickets that they are.

use jiff::{Timestamp, fmt::strtime};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::ticket::{Category, Comment, Ticket},
    adf,
};

/// The fields that a ticket is made of. Others are not asked for.
pub(super) const FIELDS: [&str; 11] = [
    "summary",
    "status",
    "issuetype",
    "priority",
    "assignee",
    "reporter",
    "labels",
    "project",
    "created",
    "updated",
    "description",
];
/// How much of a description search results show, in characters.
const EXCERPT_MAX: usize = 500;

#[derive(Debug, Deserialize)]
pub(super) struct Issue {
    pub(super) key: String,
    pub(super) fields: Fields,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    summary: Option<String>,
    pub(super) status: Option<Status>,
    issuetype: Option<Named>,
    priority: Option<Named>,
    assignee: Option<User>,
    reporter: Option<User>,
    labels: Option<Vec<String>>,
    pub(super) project: Option<Project>,
    created: Option<String>,
    updated: Option<String>,
    /// A document, nested as deeply as its writer wanted.
    description: Option<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) name: String,
    #[serde(rename = "statusCategory")]
    category: Option<StatusCategory>,
}

#[derive(Debug, Deserialize)]
struct StatusCategory {
    #[serde(default)]
    key: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Project {
    pub(super) key: String,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
struct User {
    #[serde(rename = "displayName")]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireComment {
    id: String,
    author: Option<User>,
    body: Option<Box<RawValue>>,
    created: Option<String>,
}

/// A page of search results.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    pub(super) issues: Vec<Issue>,
    #[serde(rename = "nextPageToken")]
    pub(super) next_page_token: Option<String>,
    #[serde(rename = "isLast")]
    pub(super) is_last: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Comments {
    #[serde(default)]
    pub(super) comments: Vec<WireComment>,
    #[serde(default)]
    pub(super) total: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Transitions {
    #[serde(default)]
    pub(super) transitions: Vec<Transition>,
}

/// One step that the workflow allows now.
#[derive(Debug, Deserialize)]
pub(super) struct Transition {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) to: Status,
}

#[derive(Debug, Deserialize)]
pub(super) struct Created {
    pub(super) key: String,
}

impl Issue {
    /// The ticket that it is. `site` is where people read it.
    pub(super) fn ticket(self, site: &str) -> Ticket {
        let fields = self.fields;
        Ticket {
            url: url(site, &self.key),
            id: self.key,
            title: fields.summary.unwrap_or_default(),
            status_category: fields.status.as_ref().and_then(Status::category),
            status: fields.status.map(|status| status.name),
            kind: fields.issuetype.map(|kind| kind.name),
            priority: fields.priority.map(|priority| priority.name),
            assignee: fields.assignee.and_then(|user| user.name),
            reporter: fields.reporter.and_then(|user| user.name),
            labels: fields.labels.unwrap_or_default(),
            project: fields.project.map(|project| project.key),
            created_at: fields.created.as_deref().and_then(moment).map(|moment| moment.to_string()),
            updated_at: fields.updated.as_deref().and_then(moment).map(|moment| moment.to_string()),
            description: fields.description.map(|document| adf::text(document.get())),
        }
    }

    /// The same with the beginning of its description alone.
    pub(super) fn in_short(self, site: &str) -> Ticket {
        let mut ticket = self.ticket(site);
        if let Some(description) = &mut ticket.description
            && let Some((end, _)) = description.char_indices().nth(EXCERPT_MAX)
        {
            description.truncate(end);
            description.push('…');
        }
        ticket
    }
}

impl Status {
    /// By the key, which is the same in every language.
    pub(super) fn category(&self) -> Option<Category> {
        match self.category.as_ref()?.key.as_str() {
            "new" => Some(Category::Open),
            "indeterminate" => Some(Category::InProgress),
            "done" => Some(Category::Done),
            _ => None,
        }
    }
}

impl WireComment {
    pub(super) fn moment(&self) -> Option<Timestamp> {
        moment(self.created.as_deref()?)
    }

    /// Its id, where it is one that may stand in a path.
    pub(super) fn id_in_path(&self) -> Option<&str> {
        (!self.id.is_empty() && self.id.bytes().all(|byte| byte.is_ascii_digit())).then_some(self.id.as_str())
    }

    pub(super) fn comment(self) -> Comment {
        Comment {
            created_at: self.moment().map(|moment| moment.to_string()),
            id: self.id,
            author: self.author.and_then(|user| user.name),
            text: self.body.map(|document| adf::text(document.get())).unwrap_or_default(),
        }
    }
}

/// Where people read the issue.
pub(super) fn url(site: &str, key: &str) -> String {
    format!("{site}/browse/{key}")
}

/// Jira writes `2026-11-22T08:00:00.000+0000`, which RFC 3339 does not.
fn moment(text: &str) -> Option<Timestamp> {
    let of_jira = || strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", text).ok()?.to_timestamp().ok();
    text.parse().ok().or_else(of_jira)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Issue, moment};

    #[test]
    fn moments_become_rfc_3339() {
        let shown = |text: &str| moment(text).map(|moment| moment.to_string());
        assert_eq!(shown("2026-11-22T10:00:00.000+0200").as_deref(), Some("2026-11-22T08:00:00Z"));
        assert_eq!(shown("2026-11-22T08:00:00.123Z").as_deref(), Some("2026-11-22T08:00:00.123Z"));
        assert_eq!(shown("soon"), None);
    }

    #[test]
    fn an_issue_without_its_fields_is_still_a_ticket() {
        let issue: Issue = serde_json::from_value(json!({
            "key": "SUP-1", "fields": { "summary": null, "assignee": null, "description": null, "customfield_1": { "x": [1.5e300] } }
        }))
        .expect("an issue");
        let ticket = issue.ticket("https://a.example");
        assert_eq!((ticket.url.as_str(), ticket.description), ("https://a.example/browse/SUP-1", None));
    }
}

//! Tickets and what belongs to them, as JSON in the shape of the service.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::store::{Comment, Issue, KINDS, PRIORITIES, Status, Store, Transition};

/// Builds every link from the address at which the service was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub(super) store: &'a Store,
    pub(super) base: &'a str,
}

/// Which fields of a ticket are wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted(Vec<String>);

impl Wanted {
    pub(super) fn all() -> Self {
        Self(vec!["*all".to_owned()])
    }

    pub(super) fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, field: &str) -> bool {
        let named = |name: &str| self.0.iter().any(|wanted| wanted == name);
        let by_group = named("*all") || named("*navigable") && field != "comment";
        !named(&format!("-{field}")) && (by_group || named(field))
    }
}

/// With milliseconds, and with an offset that has no colon.
pub(super) fn moment(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.3f%z").to_string()
}

impl Shape<'_> {
    fn link(&self, path: &str) -> String {
        format!("{}/rest/api/3/{path}", self.base)
    }

    pub(super) fn issue(&self, issue: &Issue, wanted: &Wanted) -> Value {
        json!({
            "expand": "renderedFields,names,schema,operations,editmeta,changelog,versionedRepresentations",
            "id": issue.id.to_string(),
            "self": self.link(&format!("issue/{}", issue.id)),
            "key": issue.key,
            "fields": self.fields(issue, wanted),
        })
    }

    fn fields(&self, issue: &Issue, wanted: &Wanted) -> Map<String, Value> {
        let project = &self.store.projects[issue.project];
        let resolution = (issue.status == Status::Done).then(|| json!({ "id": "10000", "name": "Done" }));
        let comments: Vec<Value> = issue.comments.iter().map(|comment| self.comment(issue, comment)).collect();
        let fields = [
            ("summary", json!(issue.summary)),
            ("description", json!(issue.description)),
            ("status", self.status(issue.status)),
            ("issuetype", self.kind(issue.kind)),
            ("priority", self.priority(issue.priority)),
            ("labels", json!(issue.labels)),
            ("assignee", issue.assignee.map_or(Value::Null, |user| self.user(user))),
            ("reporter", self.user(issue.reporter)),
            (
                "project",
                json!({
                    "self": self.link(&format!("project/{}", project.id)),
                    "id": project.id.to_string(), "key": project.key, "name": project.name,
                    "projectTypeKey": "software", "simplified": false,
                }),
            ),
            ("resolution", json!(resolution)),
            ("created", json!(moment(issue.created))),
            ("updated", json!(moment(issue.updated))),
            // What a site adds by itself: a number that arrives as a fraction, and one that nobody set.
            ("customfield_10016", json!(issue.comments.len() as f64)),
            ("customfield_10020", Value::Null),
            (
                "comment",
                json!({
                    "comments": comments, "self": self.link(&format!("issue/{}/comment", issue.id)),
                    "maxResults": comments.len(), "total": comments.len(), "startAt": 0,
                }),
            ),
        ];
        fields.into_iter().filter(|(name, _)| wanted.has(name)).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    pub(super) fn status(&self, status: Status) -> Value {
        let (id, name, color) = match status {
            Status::ToDo => (2, "To Do", "blue-gray"),
            Status::InProgress => (4, "In Progress", "yellow"),
            Status::Done => (3, "Done", "green"),
        };
        json!({
            "self": self.link(&format!("status/{}", status.id())),
            "description": "", "name": status.name(), "id": status.id(),
            "statusCategory": {
                "self": self.link(&format!("statuscategory/{id}")),
                "id": id, "key": status.category(), "colorName": color, "name": name,
            },
        })
    }

    pub(super) fn kind(&self, kind: usize) -> Value {
        let id = (10_001 + kind).to_string();
        json!({ "self": self.link(&format!("issuetype/{id}")), "id": id, "name": KINDS[kind], "subtask": false })
    }

    fn priority(&self, priority: usize) -> Value {
        let id = (priority + 1).to_string();
        json!({ "self": self.link(&format!("priority/{id}")), "name": PRIORITIES[priority], "id": id })
    }

    pub(super) fn user(&self, user: usize) -> Value {
        let user = &self.store.users[user];
        json!({
            "self": self.link(&format!("user?accountId={}", user.account_id)),
            "accountId": user.account_id, "emailAddress": user.email, "displayName": user.name,
            "active": true, "timeZone": "Etc/UTC", "accountType": "atlassian",
        })
    }

    pub(super) fn comment(&self, issue: &Issue, comment: &Comment) -> Value {
        json!({
            "self": self.link(&format!("issue/{}/comment/{}", issue.id, comment.id)),
            "id": comment.id.to_string(),
            "author": self.user(comment.author), "updateAuthor": self.user(comment.author),
            "body": comment.body,
            "created": moment(comment.created), "updated": moment(comment.created),
            "jsdPublic": true,
        })
    }

    pub(super) fn transition(&self, transition: Transition) -> Value {
        json!({
            "id": transition.id, "name": transition.name, "to": self.status(transition.to),
            "hasScreen": false, "isGlobal": false, "isInitial": false, "isAvailable": true, "isConditional": false,
        })
    }
}

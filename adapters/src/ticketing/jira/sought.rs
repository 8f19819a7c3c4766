//! Looking for what a write of which no answer came may have left: a ticket by its label, a comment by its property.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        arguments::Call,
        ticket::{Commented, result},
    },
    Jira,
    issue::{self, Comments, FIELDS, Page, WireComment},
    jql,
    key::IssueKey,
    rest::{Failure, Turn},
};
use crate::{Looked, Sought};

/// The property of a comment that says which write made it. Nobody sees it on the site.
pub(super) const PROPERTY: &str = "weir.operation";
/// How many of the newest comments of a ticket are looked at.
const COMMENTS_MAX: usize = 10;

#[derive(Deserialize)]
struct Property {
    #[serde(default)]
    value: Value,
}

/// The properties of a comment that a write makes.
pub(super) fn property(operation: Uuid) -> Value {
    json!([{ "key": PROPERTY, "value": { "id": operation.to_string() } }])
}

impl Jira {
    pub(in super::super) async fn look_for(&self, turn: Turn<'_>, sought: Sought<'_>) -> Result<Looked, Failure> {
        if !self.duplicate_label {
            return Ok(Looked::CannotLook);
        }
        match (sought.local_name, sought.arguments) {
            ("create_ticket", _) => self.created(turn, sought.operation_id).await,
            ("add_comment", Some(arguments)) => match Call::read("add_comment", arguments) {
                Some(Ok(Call::AddComment(add))) => self.commented(turn, &add.id, sought.operation_id).await,
                _ => Ok(Looked::CannotLook),
            },
            _ => Ok(Looked::CannotLook),
        }
    }

    /// What the search index does not have yet is not seen.
    async fn created(&self, turn: Turn<'_>, operation: Uuid) -> Result<Looked, Failure> {
        let query = format!("labels = \"{}{operation}\"", jql::MARK);
        let body = json!({ "jql": query, "fields": FIELDS, "maxResults": 2 });
        let page: Page = self.rest.ask(turn, "/rest/api/3/search/jql", &body).await?;
        Ok(match page.issues.into_iter().find(|issue| self.shows(issue)) {
            Some(issue) => Looked::Found(result(&issue.ticket(&self.site))),
            None => Looked::NotSeen,
        })
    }

    async fn commented(&self, turn: Turn<'_>, id: &str, operation: Uuid) -> Result<Looked, Failure> {
        let key = IssueKey::new(id)?;
        let key = IssueKey::new(&self.issue(turn, &key).await?.key)?;
        let path = format!("/rest/api/3/issue/{key}/comment?orderBy=-created&maxResults={COMMENTS_MAX}");
        let comments: Comments = self.rest.get(turn, &path).await?;
        for comment in comments.comments {
            if self.is_of(turn, &comment, operation).await? {
                let (url, id) = (issue::url(&self.site, &key.to_string()), key.to_string());
                return Ok(Looked::Found(result(&Commented { url, id, comment: comment.comment() })));
            }
        }
        Ok(Looked::NotSeen)
    }

    async fn is_of(&self, turn: Turn<'_>, comment: &WireComment, operation: Uuid) -> Result<bool, Failure> {
        let Some(id) = comment.id_in_path() else { return Ok(false) };
        match self.rest.get::<Property>(turn, &format!("/rest/api/3/comment/{id}/properties/{PROPERTY}")).await {
            Ok(property) => Ok(property.value["id"] == operation.to_string().as_str()),
            Err(Failure::NotFound) => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}

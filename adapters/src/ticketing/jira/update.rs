//! Moving an issue to another status, with a comment: two writes, in this order, each told for itself.

use bytes::Bytes;
use serde_json::json;

use super::{
    super::{
        arguments::UpdateStatus,
        ticket::{Comment, Updated, failure, result},
    },
    Jira,
    issue::{Issue, Transition, Transitions},
    key::IssueKey,
    rest::{Failure, Turn},
};
use crate::{AdapterError, Rejection, Sent};

impl Jira {
    pub(super) async fn update_status(&self, turn: Turn<'_>, update: &UpdateStatus) -> Result<Bytes, Failure> {
        let key = IssueKey::new(&update.id)?;
        let before = self.issue(turn, &key).await?;
        // An issue that was moved has another key now.
        let key = IssueKey::new(&before.key)?;
        let current = before.fields.status.as_ref().map(|status| status.name.clone()).unwrap_or_default();
        if same(&current, &update.status) {
            return Ok(self.unchanged(before, &current, update.comment.is_some()));
        }
        let path = format!("/rest/api/3/issue/{key}/transitions");
        let possible: Transitions = self.rest.get(turn, &path).await?;
        let Some(step) = chosen(&possible.transitions, &update.status) else {
            return Err(impossible(&key, &current, &possible.transitions).into());
        };
        let body = json!({ "transition": { "id": step.id } });
        self.rest.write(turn, &path, &body).await.map_err(|failure| {
            failure
                .advise(|| "Look at its status with get_ticket before you try again; no comment was added".to_owned())
        })?;
        let comment = match &update.comment {
            None => None,
            Some(text) => match self.comment(turn, &key, text).await {
                Ok(comment) => Some(comment),
                Err(failure) => return half_done(&key, step, failure),
            },
        };
        Ok(self.updated(turn, &key, before, current, step, comment).await)
    }

    fn unchanged(&self, issue: Issue, current: &str, with_comment: bool) -> Bytes {
        let not_added = if with_comment { ", and the comment was not added: use add_comment for it" } else { "" };
        let note = Some(format!("It was in {current} already. Nothing was written{not_added}."));
        let (ticket, previous_status) = (issue.ticket(&self.site), Some(current.to_owned()));
        result(&Updated { ticket, changed: false, previous_status, comment: None, note })
    }

    /// The ticket as it is after the writes, or as it must be where it cannot be read now.
    async fn updated(
        &self,
        turn: Turn<'_>,
        key: &IssueKey,
        before: Issue,
        previous: String,
        step: &Transition,
        comment: Option<Comment>,
    ) -> Bytes {
        let ticket = match self.issue(turn, key).await {
            Ok(issue) => issue.ticket(&self.site),
            Err(_) => {
                let mut ticket = before.ticket(&self.site);
                (ticket.status, ticket.status_category) = (Some(step.to.name.clone()), step.to.category());
                ticket.updated_at = None;
                ticket
            }
        };
        result(&Updated { ticket, changed: true, previous_status: Some(previous), comment, note: None })
    }
}

/// The step that leads to `status`, or else the one of that name.
fn chosen<'a>(possible: &'a [Transition], status: &str) -> Option<&'a Transition> {
    let leads_there = possible.iter().find(|step| same(&step.to.name, status));
    leads_there.or_else(|| possible.iter().find(|step| same(&step.name, status)))
}

/// `in_progress` is what callers may write for `In Progress`.
fn same(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.trim().to_lowercase().replace(['_', '-'], " ");
    plain(a) == plain(b)
}

fn impossible(key: &IssueKey, current: &str, possible: &[Transition]) -> AdapterError {
    let list: Vec<String> = possible.iter().map(|step| format!("`{}`", step.to.name)).collect();
    let possible = if list.is_empty() { "nowhere".to_owned() } else { list.join(", ") };
    let text = format!("{key} is in `{current}` and can go to {possible} from there. Nothing was written.");
    AdapterError::rejected(text.clone(), Rejection::Text(text))
}

/// The status has changed and the comment has not been added, or perhaps has.
fn half_done(key: &IssueKey, step: &Transition, comment: Failure) -> Result<Bytes, Failure> {
    let done = format!("The status of {key} is `{}` now", step.to.name);
    let why = match comment {
        Failure::NotFound => "the ticket is no longer there".to_owned(),
        Failure::Failed(mut error) if error.sent == Sent::Unknown => {
            let told = error.message.trim_end_matches('.');
            error.message = format!(
                "{done}, which is certain; only of the comment it is not known whether it was added: {told}. \
                 Read the ticket with get_ticket, and use add_comment for the comment alone"
            );
            return Err(error.into());
        }
        Failure::Failed(error) => error.message.trim_end_matches('.').to_owned(),
    };
    Ok(failure(&format!(
        "Half done. {done}, but the comment was not added: {why}. Use add_comment for the comment alone; do not repeat this call."
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Transitions, chosen, same};

    #[test]
    fn the_status_counts_more_than_the_name_of_a_step() {
        let possible: Transitions = serde_json::from_value(json!({ "transitions": [
            { "id": "11", "name": "Done", "to": { "name": "Rejected" } },
            { "id": "21", "name": "Close it", "to": { "name": "Done" } },
            { "id": "31", "name": "Start", "to": { "name": "In Progress" } },
        ] }))
        .expect("transitions");
        let id = |status: &str| chosen(&possible.transitions, status).map(|step| step.id.as_str());
        assert_eq!(
            (id("DONE"), id("start"), id("in_progress"), id("Reopened")),
            (Some("21"), Some("31"), Some("31"), None)
        );
        assert!(same(" in-progress", "In Progress"));
    }
}

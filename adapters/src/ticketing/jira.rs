//! Jira Cloud, REST API version 3.

mod adf;
mod issue;
mod jql;
mod key;
mod refusal;
mod rest;
mod sought;
mod update;

use std::sync::Arc;

use bytes::Bytes;
use config::{DownstreamName, Sources, downstream::Ticketing};
use serde_json::json;

use self::{
    issue::{Comments, Created, FIELDS, Issue, Page, WireComment},
    key::IssueKey,
    rest::Rest,
};
use super::{
    Trouble,
    arguments::{AddComment, Call, Create, Get, Search, misfit},
    cursor,
    ticket::{Comment, Commented, Detailed, Found, Ticket, result},
};
use crate::{AdapterError, BuildError, ErrorClass, Rejection, health::Health, registry::Shown};

pub(super) use rest::{Failure, Turn};

/// How many comments a ticket shows.
const COMMENTS_MAX: u32 = 50;
/// How many it shows where that many are larger than an answer may be.
const LONG_COMMENTS_MAX: u32 = 5;

/// One Jira Cloud site.
pub(super) struct Jira {
    rest: Rest,
    /// Where people read it, without a slash at its end.
    site: Box<str>,
    /// The only projects that are seen; none means all.
    projects: Vec<String>,
    default_project: Option<String>,
    ticket_type: Box<str>,
    duplicate_label: bool,
}

impl Jira {
    pub(super) fn new(
        name: &DownstreamName,
        settings: &Ticketing,
        health: Arc<Health>,
        shown: Shown<'_>,
        sources: &Sources,
    ) -> Result<Self, BuildError> {
        let site = settings.site_url.as_ref().unwrap_or(&settings.base_url);
        Ok(Self {
            rest: Rest::new(name.as_str().into(), settings, health, shown, sources)?,
            site: site.trim_end_matches('/').into(),
            projects: settings.projects.clone(),
            default_project: settings.default_project.clone(),
            ticket_type: settings.ticket_type.as_str().into(),
            duplicate_label: settings.duplicate_label,
        })
    }

    pub(super) async fn probe(&self) -> Result<(), Trouble> {
        self.rest.probe().await
    }

    /// Makes the call; the bytes are those of a `result` object.
    pub(super) async fn call(&self, turn: Turn<'_>, call: Call) -> Result<Bytes, Failure> {
        match call {
            Call::Search(search) => self.search(turn, &search).await,
            Call::Get(get) => self.get(turn, &get).await,
            Call::Create(create) => self.create(turn, &create).await,
            Call::UpdateStatus(update) => self.update_status(turn, &update).await,
            Call::AddComment(comment) => self.add_comment(turn, &comment).await,
        }
    }

    async fn search(&self, turn: Turn<'_>, search: &Search) -> Result<Bytes, Failure> {
        let jql = jql::of(search, &self.projects)?;
        let mut body = json!({ "jql": jql, "fields": FIELDS, "maxResults": search.page_size() });
        if let Some(given) = &search.cursor {
            let stranger = "`cursor` is of another search: repeat the conditions of the search that gave it, or leave `cursor` out.";
            body["nextPageToken"] = json!(cursor::open(&jql, given).ok_or_else(|| misfit(stranger))?);
        }
        let page: Page = self.rest.ask(turn, "/rest/api/3/search/jql", &body).await?;
        let more = page.next_page_token.filter(|_| page.is_last != Some(true));
        Ok(result(&Found {
            next_cursor: more.map(|token| cursor::seal(&jql, &token)),
            // The query says so too; a mistake in it must not show what is not to be seen.
            tickets: page
                .issues
                .into_iter()
                .filter(|issue| self.shows(issue))
                .map(|i| i.in_short(&self.site))
                .collect(),
        }))
    }

    async fn get(&self, turn: Turn<'_>, get: &Get) -> Result<Bytes, Failure> {
        let key = IssueKey::new(&get.id)?;
        // What became of the comments is told of an issue that may be seen, and of no other.
        let comments = async { Ok(self.latest_comments(turn, &key).await) };
        let (issue, comments) = tokio::try_join!(self.issue(turn, &key), comments)?;
        let mut comments = comments?;
        comments.comments.sort_by_cached_key(WireComment::moment);
        let latest: Vec<Comment> = comments.comments.into_iter().map(WireComment::comment).collect();
        let ticket = issue.ticket(&self.site);
        Ok(result(&Detailed { ticket, comments_total: comments.total.max(latest.len() as u64), comments: latest }))
    }

    async fn create(&self, turn: Turn<'_>, create: &Create) -> Result<Bytes, Failure> {
        let project = self.project_of(create)?;
        if let Some(label) = create.labels.iter().find(|label| jql::is_mark(label)) {
            return Err(misfit(format!("leave `{label}` out of `labels`: it marks another ticket.")).into());
        }
        let mark = self.duplicate_label.then(|| format!("{}{}", jql::MARK, turn.ctx.request_id));
        let kind = create.kind.as_deref().unwrap_or(&self.ticket_type);
        let mut labels = create.labels.clone();
        labels.extend(mark.clone());
        let mut fields = json!({
            "project": { "key": project }, "summary": create.title, "issuetype": { "name": kind },
        });
        if !labels.is_empty() {
            fields["labels"] = json!(labels);
        }
        if let Some(text) = &create.description {
            fields["description"] = adf::document(text);
        }
        if let Some(priority) = &create.priority {
            fields["priority"] = json!({ "name": priority });
        }
        let written = self.rest.write(turn, "/rest/api/3/issue", &json!({ "fields": fields })).await;
        let advice = || match &mark {
            Some(mark) => format!(
                "Before creating it again, look for it: search_tickets with the `text` {mark}, not before some seconds have passed"
            ),
            None => {
                "Before creating it again, look for its title with search_tickets, not before some seconds have passed"
                    .to_owned()
            }
        };
        let own_label = mark.is_some() && create.labels.is_empty();
        let written = written.map_err(|failure| about_label(failure, own_label).advise(advice))?;
        let created: Created = self.rest.read(&written).map_err(|failure| nameless(failure).advise(advice))?;
        let key = IssueKey::new(&created.key).map_err(|error| nameless(error.into()).advise(advice))?;
        // It stands there, whether or not it can be read now.
        let ticket = match self.issue(turn, &key).await {
            Ok(issue) => issue.ticket(&self.site),
            Err(_) => Ticket {
                url: issue::url(&self.site, &created.key),
                id: created.key,
                title: create.title.clone(),
                kind: Some(kind.to_owned()),
                priority: create.priority.clone(),
                labels,
                project: Some(project),
                description: create.description.clone(),
                ..Ticket::default()
            },
        };
        Ok(result(&ticket))
    }

    async fn add_comment(&self, turn: Turn<'_>, add: &AddComment) -> Result<Bytes, Failure> {
        let key = IssueKey::new(&add.id)?;
        // A key may be that of an issue that was moved out of the permitted projects.
        let key = if self.projects.is_empty() { key } else { IssueKey::new(&self.issue(turn, &key).await?.key)? };
        let comment = self.comment(turn, &key, &add.text).await.map_err(|failure| {
            failure.advise(|| "Read the ticket with get_ticket before you add the comment again".to_owned())
        })?;
        Ok(result(&Commented { url: issue::url(&self.site, &key.to_string()), id: key.to_string(), comment }))
    }

    /// The latest comments, the newest first; only a few where many are too much.
    async fn latest_comments(&self, turn: Turn<'_>, key: &IssueKey) -> Result<Comments, Failure> {
        let path = |most: u32| format!("/rest/api/3/issue/{key}/comment?orderBy=-created&maxResults={most}");
        match self.rest.get(turn, &path(COMMENTS_MAX)).await {
            Err(Failure::Failed(error)) if error.class == ErrorClass::TooLarge => {
                self.rest.get(turn, &path(LONG_COMMENTS_MAX)).await
            }
            comments => comments,
        }
    }

    /// Adds a comment: one write.
    async fn comment(&self, turn: Turn<'_>, key: &IssueKey, text: &str) -> Result<Comment, Failure> {
        let mut body = json!({ "body": adf::document(text) });
        if self.duplicate_label {
            body["properties"] = sought::property(turn.ctx.request_id);
        }
        let written = self.rest.write(turn, &format!("/rest/api/3/issue/{key}/comment"), &body).await?;
        Ok(self.rest.read::<WireComment>(&written).map_err(nameless)?.comment())
    }

    /// An issue that may be seen.
    async fn issue(&self, turn: Turn<'_>, key: &IssueKey) -> Result<Issue, Failure> {
        let path = format!("/rest/api/3/issue/{key}?fields={}", FIELDS.join(","));
        let issue: Issue = self.rest.get(turn, &path).await?;
        if self.shows(&issue) { Ok(issue) } else { Err(Failure::NotFound) }
    }

    fn shows(&self, issue: &Issue) -> bool {
        let project = issue.fields.project.as_ref().map(|project| &project.key);
        self.projects.is_empty() || project.is_some_and(|key| self.projects.contains(key))
    }

    /// The project of a new ticket: the one named, the usual one, or the only one.
    fn project_of(&self, create: &Create) -> Result<String, AdapterError> {
        if let Some(named) = &create.project {
            return jql::permitted(named, &self.projects);
        }
        match (&self.default_project, &self.projects[..]) {
            (Some(usual), _) => Ok(usual.clone()),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(misfit("Say in `project` where the ticket belongs.")),
            (None, several) => {
                Err(misfit(format!("Say in `project` where the ticket belongs: {}.", several.join(", "))))
            }
        }
    }
}

/// Says where a label comes from that the caller did not write.
fn about_label(mut failure: Failure, is_weirs: bool) -> Failure {
    if let Failure::Failed(AdapterError { rejection: Some(Rejection::Text(words)), .. }) = &mut failure
        && is_weirs
        && words.contains("labels: ")
    {
        words.push_str(" (The label is Weir's own; the operator can switch it off with `duplicate_label: false`.)");
    }
    failure
}

/// It was carried out, but the answer does not say what came of it.
fn nameless(failure: Failure) -> Failure {
    match failure {
        Failure::NotFound => Failure::NotFound,
        Failure::Failed(error) => {
            AdapterError::maybe_sent(ErrorClass::Protocol, error.message.clone()).caused_by(error).into()
        }
    }
}

//! The tickets themselves, and what may be done with them.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// What a test that never ends can make of it.
pub(super) const ISSUES_MAX: usize = 100_000;
pub(super) const COMMENTS_MAX: usize = 5_000;

pub(super) const KINDS: &[&str] = &["Task", "Bug", "Story", "Incident"];
/// The most urgent first.
pub(super) const PRIORITIES: &[&str] = &["Highest", "High", "Medium", "Low", "Lowest"];

#[derive(Debug)]
pub(super) struct Store {
    pub(super) projects: Vec<Project>,
    /// The first one is the account that calls.
    pub(super) users: Vec<User>,
    pub(super) issues: Vec<Issue>,
}

#[derive(Debug)]
pub(super) struct Project {
    pub(super) id: u64,
    pub(super) key: String,
    pub(super) name: String,
    /// The number of its newest ticket.
    pub(super) newest: u64,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) account_id: String,
    pub(super) email: String,
    pub(super) name: String,
}

#[derive(Debug)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) key: String,
    /// Places in [`Store::projects`], [`KINDS`], [`PRIORITIES`] and [`Store::users`].
    pub(super) project: usize,
    pub(super) kind: usize,
    pub(super) priority: usize,
    pub(super) reporter: usize,
    pub(super) assignee: Option<usize>,
    pub(super) summary: String,
    pub(super) description: Option<Value>,
    pub(super) status: Status,
    pub(super) labels: Vec<String>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) comments: Vec<Comment>,
    pub(super) properties: Map<String, Value>,
}

#[derive(Debug)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) author: usize,
    pub(super) body: Value,
    pub(super) created: Timestamp,
    pub(super) properties: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    ToDo,
    InProgress,
    Done,
}

/// A way from one status to another. Its name is another than that of the status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transition {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) to: Status,
}

const STOP: Transition = Transition { id: "11", name: "Back to the queue", to: Status::ToDo };
const START: Transition = Transition { id: "21", name: "Start progress", to: Status::InProgress };
const RESOLVE: Transition = Transition { id: "31", name: "Resolve", to: Status::Done };
const REOPEN: Transition = Transition { id: "41", name: "Reopen", to: Status::ToDo };

impl Status {
    pub(super) const ALL: &[Self] = &[Self::ToDo, Self::InProgress, Self::Done];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ToDo => "To Do",
            Self::InProgress => "In Progress",
            Self::Done => "Done",
        }
    }

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::ToDo => "10000",
            Self::InProgress => "3",
            Self::Done => "10001",
        }
    }

    /// The key of its category, which is the same on every site whatever its statuses are called.
    pub(super) fn category(self) -> &'static str {
        match self {
            Self::ToDo => "new",
            Self::InProgress => "indeterminate",
            Self::Done => "done",
        }
    }

    pub(super) fn transitions(self) -> &'static [Transition] {
        match self {
            Self::ToDo => &[START],
            Self::InProgress => &[STOP, RESOLVE],
            Self::Done => &[REOPEN],
        }
    }
}

impl Store {
    /// By key, in either case, or by id.
    pub(super) fn position(&self, key_or_id: &str) -> Option<usize> {
        let id = key_or_id.parse().ok();
        self.issues.iter().position(|issue| issue.key.eq_ignore_ascii_case(key_or_id) || Some(issue.id) == id)
    }

    /// By account id, e-mail address or name.
    pub(super) fn user(&self, who: &str) -> Option<usize> {
        self.users.iter().position(|user| {
            user.account_id == who || user.email.eq_ignore_ascii_case(who) || user.name.eq_ignore_ascii_case(who)
        })
    }

    pub(super) fn project(&self, key_or_id: &str) -> Option<usize> {
        self.projects.iter().position(|project| {
            project.key.eq_ignore_ascii_case(key_or_id)
                || project.name.eq_ignore_ascii_case(key_or_id)
                || project.id.to_string() == key_or_id
        })
    }

    /// The key of the next ticket of a project, which is used up.
    pub(super) fn next_key(&mut self, project: usize) -> String {
        let Project { key, newest, .. } = &mut self.projects[project];
        *newest += 1;
        format!("{key}-{newest}")
    }

    pub(super) fn next_id(&self) -> u64 {
        10_001 + self.issues.len() as u64
    }

    pub(super) fn comment(
        &mut self,
        index: usize,
        body: Value,
        properties: Map<String, Value>,
        now: Timestamp,
    ) -> Option<&Comment> {
        let total: usize = self.issues.iter().map(|issue| issue.comments.len()).sum();
        let issue = &mut self.issues[index];
        if issue.comments.len() >= COMMENTS_MAX {
            return None;
        }
        issue.updated = now;
        issue.comments.push(Comment { id: 20_001 + total as u64, author: 0, body, created: now, properties });
        issue.comments.last()
    }
}

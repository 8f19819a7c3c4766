//! What changes tickets. Everything that was done stands in the ledger.

use std::sync::PoisonError;

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::adf::{self, Fault};
use super::routes::{errors, json_of, no_issue};
use super::store::{ISSUES_MAX, Issue, KINDS, PRIORITIES, Status, Store};
use super::{Inner, LedgerEntry, What};
use crate::web::{Answer, Recorded};

/// What a test that never reads the ledger can make it grow to.
const LEDGER_MAX: usize = 100_000;
const SUMMARY_MAX: usize = 255;
const LABEL_MAX: usize = 255;
const NO_DOCUMENT: &str = "Operation value must be an Atlassian Document (see the Atlassian Document Format)";
const TOO_LONG: &str = "The entered text is too long. It exceeds the allowed limit of 32,767 characters.";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Creation {
    fields: Map<String, Value>,
    #[serde(default)]
    properties: Vec<Property>,
    #[serde(default)]
    #[expect(dead_code, reason = "taken, and without a meaning here")]
    update: Map<String, Value>,
}

#[derive(Deserialize)]
struct Property {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
struct Change {
    transition: Id,
    #[serde(default)]
    update: Update,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Default, Deserialize)]
struct Update {
    #[serde(default)]
    comment: Vec<Addition>,
}

#[derive(Deserialize)]
struct Addition {
    add: Body,
}

#[derive(Deserialize)]
struct Body {
    body: Value,
    #[serde(default)]
    properties: Vec<Property>,
}

impl Inner {
    pub(super) fn create(&self, request: &Recorded) -> Result<Answer, Answer> {
        let Creation { fields, properties, update: _ } = json_of(request)?;
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let mut issue = new_issue(&store, &fields).map_err(|faults| field_errors(&faults))?;
        if store.issues.len() >= ISSUES_MAX {
            return Err(errors(StatusCode::BAD_REQUEST, "This site has no room for more issues."));
        }
        issue.key = store.next_key(issue.project);
        issue.properties = properties.into_iter().map(|property| (property.key, property.value)).collect();
        let (id, key) = (issue.id.to_string(), issue.key.clone());
        store.issues.push(issue);
        drop(store);
        self.note(request, &key, What::Created);
        let link = format!("http://{}/rest/api/3/issue/{id}", request.header("host").unwrap_or("localhost"));
        Ok(Answer::json(StatusCode::CREATED, &json!({ "id": id, "key": key, "self": link })))
    }

    pub(super) fn transition(&self, request: &Recorded, key: &str) -> Result<Answer, Answer> {
        let Change { transition, update } = json_of(request)?;
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let index = store.position(key).ok_or_else(no_issue)?;
        let from = store.issues[index].status;
        let possible = from.transitions().iter().find(|possible| possible.id == transition.id);
        let to = possible.map(|possible| possible.to).ok_or_else(|| {
            let told = format!(
                "It seems that you have tried to perform a workflow operation (id: {}) that is not valid for the \
                 current state of this issue.",
                transition.id
            );
            errors(StatusCode::BAD_REQUEST, &told)
        })?;
        for Addition { add } in &update.comment {
            adf::judge(&add.body).map_err(|fault| field_errors(&[("comment", told(fault).to_owned())]))?;
        }
        let now = Timestamp::now();
        (store.issues[index].status, store.issues[index].updated) = (to, now);
        let mut done = vec![What::Transitioned { from: from.name().to_owned(), to: to.name().to_owned() }];
        for Addition { add } in update.comment {
            if store.comment(index, add.body, Map::new(), now).is_some() {
                done.push(What::Commented);
            }
        }
        let key = store.issues[index].key.clone();
        drop(store);
        for what in done {
            self.note(request, &key, what);
        }
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }

    pub(super) fn comment(&self, request: &Recorded, key: &str) -> Result<Answer, Answer> {
        let Body { body, properties } = json_of(request)?;
        let properties = properties.into_iter().map(|property| (property.key, property.value)).collect();
        let (id, key) = {
            let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            let index = store.position(key).ok_or_else(no_issue)?;
            adf::judge(&body).map_err(|fault| field_errors(&[("comment", told(fault).to_owned())]))?;
            if adf::text(&body).trim().is_empty() {
                return Err(field_errors(&[("comment", "Comment body can not be empty!".to_owned())]));
            }
            let comment = store.comment(index, body, properties, Timestamp::now());
            let full = || errors(StatusCode::BAD_REQUEST, "This issue has no room for more comments.");
            (comment.ok_or_else(full)?.id, store.issues[index].key.clone())
        };
        self.note(request, &key, What::Commented);
        Ok(self.with_shape(request, |shape| {
            let issues = shape.store.issues.iter().filter(|issue| issue.key == key);
            let mut comments = issues.flat_map(|issue| issue.comments.iter().map(move |comment| (issue, comment)));
            let (issue, comment) = comments.find(|(_, comment)| comment.id == id).expect("nothing removes comments");
            Answer::json(StatusCode::CREATED, &shape.comment(issue, comment))
        }))
    }

    fn note(&self, request: &Recorded, key: &str, what: What) {
        let body = serde_json::from_slice(&request.body).unwrap_or_default();
        let entry = LedgerEntry {
            at: Timestamp::now(),
            method: request.method.clone(),
            path: request.path().to_owned(),
            key: key.to_owned(),
            what,
            body,
        };
        self.observed.update(|seen| {
            if seen.ledger.len() < LEDGER_MAX {
                seen.ledger.push(entry);
            }
        });
    }
}

fn told(fault: Fault) -> &'static str {
    match fault {
        Fault::NoDocument => NO_DOCUMENT,
        Fault::TooLong => TOO_LONG,
    }
}

fn field_errors(faults: &[(&str, String)]) -> Answer {
    let faults: Map<String, Value> = faults.iter().map(|(field, told)| ((*field).to_owned(), json!(told))).collect();
    Answer::json(StatusCode::BAD_REQUEST, &json!({ "errorMessages": [], "errors": faults }))
}

/// A ticket without a key, or everything that is wrong with the fields.
fn new_issue<'a>(store: &Store, fields: &'a Map<String, Value>) -> Result<Issue, Vec<(&'a str, String)>> {
    let mut faults = Vec::new();
    let text = |field: &str, member: &str| fields.get(field).and_then(|value| value[member].as_str());
    let project = text("project", "key").or_else(|| text("project", "id")).and_then(|key| store.project(key));
    if project.is_none() {
        faults.push(("project", "valid project is required".to_owned()));
    }
    let kind = text("issuetype", "name").and_then(|name| KINDS.iter().position(|kind| *kind == name)).or_else(|| {
        let id: usize = text("issuetype", "id")?.parse().ok()?;
        id.checked_sub(10_001).filter(|&kind| kind < KINDS.len())
    });
    if kind.is_none() {
        faults.push(("issuetype", "Specify a valid issue type".to_owned()));
    }
    let summary = fields.get("summary").and_then(Value::as_str).map(str::trim).unwrap_or_default();
    if summary.is_empty() {
        faults.push(("summary", "You must specify a summary of the issue.".to_owned()));
    } else if summary.chars().count() > SUMMARY_MAX {
        faults.push(("summary", format!("Summary must be less than or equal to {SUMMARY_MAX} characters.")));
    } else if summary.contains(['\n', '\r']) {
        faults.push(("summary", "The summary is invalid because it contains newline characters.".to_owned()));
    }
    let description = fields.get("description").filter(|value| !value.is_null());
    if let Some(Err(fault)) = description.map(adf::judge) {
        faults.push(("description", told(fault).to_owned()));
    }
    let priority = match fields.get("priority") {
        Some(given) => {
            let by_name = given["name"].as_str().and_then(|name| PRIORITIES.iter().position(|known| *known == name));
            let by_id = || given["id"].as_str()?.parse::<usize>().ok()?.checked_sub(1);
            by_name.or_else(by_id).filter(|&priority| priority < PRIORITIES.len())
        }
        None => Some(2),
    };
    if priority.is_none() {
        faults.push(("priority", "Specify the Priority (name) in the string format".to_owned()));
    }
    let labels = labels(fields, &mut faults);
    let assignee = text("assignee", "accountId").or_else(|| text("assignee", "id"));
    let assigned = assignee.and_then(|id| store.users.iter().position(|user| user.account_id == id));
    if assignee.is_some() && assigned.is_none() {
        faults.push(("assignee", "Specify a valid value for assignee".to_owned()));
    }
    let known = ["project", "issuetype", "summary", "description", "priority", "labels", "assignee"];
    let unknown = fields.keys().filter(|field| !known.contains(&field.as_str()));
    faults.extend(unknown.map(|field| {
        let told = format!("Field '{field}' cannot be set. It is not on the appropriate screen, or unknown.");
        (field.as_str(), told)
    }));
    let (Some(project), Some(kind), Some(priority), true) = (project, kind, priority, faults.is_empty()) else {
        return Err(faults);
    };
    let now = Timestamp::now();
    Ok(Issue {
        id: store.next_id(),
        key: String::new(),
        project,
        kind,
        priority,
        reporter: 0,
        assignee: assigned,
        summary: summary.to_owned(),
        description: description.cloned(),
        status: Status::ToDo,
        labels,
        created: now,
        updated: now,
        comments: Vec::new(),
        properties: Map::new(),
    })
}

fn labels(fields: &Map<String, Value>, faults: &mut Vec<(&str, String)>) -> Vec<String> {
    let given = fields.get("labels").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut labels = Vec::new();
    for label in given {
        match label.as_str() {
            Some(label) if label.is_empty() || label.contains(char::is_whitespace) => {
                faults.push(("labels", format!("The label '{label}' contains spaces which is invalid.")));
            }
            Some(label) if label.chars().count() > LABEL_MAX => {
                faults.push(("labels", format!("The label '{label}' exceeds the maximum length for a single label.")));
            }
            Some(label) => labels.push(label.to_owned()),
            None => faults.push(("labels", "string expected at index 0".to_owned())),
        }
    }
    labels
}

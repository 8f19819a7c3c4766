//! Searches as Jira's query language has them, built from typed parts: what a caller writes is a value and never becomes syntax.

use jiff::Timestamp;

use super::super::arguments::{Search, misfit};
use crate::AdapterError;

/// What marks a ticket that Weir created, before the id of the operation.
pub(super) const MARK: &str = "weir-";

/// Words with which the text search of Jira joins terms, where they are written like this.
const OPERATORS: [&str; 3] = ["AND", "OR", "NOT"];

/// The search in Jira's query language. Only `projects` are searched; none means all.
///
/// # Errors
/// A condition that can match nothing, or no condition at all.
pub(super) fn of(search: &Search, projects: &[String]) -> Result<String, AdapterError> {
    let mut terms = Vec::new();
    match &search.project {
        Some(project) => terms.push(format!("project = {}", quoted(&permitted(project, projects)?))),
        None if projects.is_empty() => {}
        None => {
            let keys: Vec<_> = projects.iter().map(|key| quoted(key)).collect();
            terms.push(format!("project in ({})", keys.join(", ")));
        }
    }
    terms.extend(search.status.as_deref().map(status));
    terms.extend(search.assignee.as_deref().map(|name| format!("assignee = {}", quoted(name))));
    if let Some(text) = &search.text {
        terms.push(words(text)?);
    }
    terms.extend(search.updated_since.map(since));
    if terms.is_empty() {
        return Err(misfit(
            "Say what to search for: give at least one of `text`, `status`, `assignee`, `project`, `updated_since`.",
        ));
    }
    Ok(format!("{} ORDER BY updated DESC", terms.join(" AND ")))
}

/// The key of a project that may be used, as Jira writes it.
pub(super) fn permitted(project: &str, projects: &[String]) -> Result<String, AdapterError> {
    let key = project.trim().to_ascii_uppercase();
    if projects.is_empty() || projects.contains(&key) {
        return Ok(key);
    }
    Err(misfit(format!("`project` must be one of {}.", projects.join(", "))))
}

fn status(status: &str) -> String {
    let category = match status {
        "open" => "To Do",
        "in_progress" => "In Progress",
        "done" => "Done",
        name => return format!("status = {}", quoted(name)),
    };
    format!("statusCategory = {}", quoted(category))
}

/// In milliseconds, since a date in quotes would be read in the time zone of the account.
fn since(moment: Timestamp) -> String {
    format!("updated >= {}", moment.as_millisecond())
}

/// The words of `text`, or the ticket that carries the mark that it is.
fn words(text: &str) -> Result<String, AdapterError> {
    if is_mark(text.trim()) {
        return Ok(format!("labels = {}", quoted(text.trim())));
    }
    let plain: String = text.chars().map(|c| if is_syntax_of_text_search(c) { ' ' } else { c }).collect();
    let lowered = |word: &str| if OPERATORS.contains(&word) { word.to_ascii_lowercase() } else { word.to_owned() };
    let words: Vec<_> = plain.split_whitespace().map(lowered).collect();
    if words.is_empty() {
        return Err(misfit("`text` has no word in it."));
    }
    Ok(format!("text ~ {}", quoted(&words.join(" "))))
}

/// The text search inside the quotes has a syntax of its own. Jira's index does not have these characters anyway.
fn is_syntax_of_text_search(c: char) -> bool {
    matches!(
        c,
        '+' | '-'
            | '&'
            | '|'
            | '!'
            | '('
            | ')'
            | '{'
            | '}'
            | '['
            | ']'
            | '^'
            | '~'
            | '*'
            | '?'
            | '\\'
            | ':'
            | '/'
            | '"'
    ) || c.is_control()
}

/// Whether it is the label of a ticket that Weir created.
pub(super) fn is_mark(text: &str) -> bool {
    text.strip_prefix(MARK).is_some_and(|id| uuid::Uuid::try_parse(id).is_ok())
}

/// A value in quotes. Reserved words are values there like any other.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // There is nothing with such a character in its name.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;

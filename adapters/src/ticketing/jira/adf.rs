//! The Atlassian Document Format: what Jira keeps texts in.

mod read;
mod write;

pub(super) use read::text;
pub(super) use write::document;

#[cfg(test)]
mod tests;

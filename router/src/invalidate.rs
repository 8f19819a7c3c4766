//! What ends cached answers from outside of a fetch: writes by their templates, databases, webhooks, operators.
//!
//! Weir has tags of its own beside those of the config: one for everything, one for each downstream, tool and family. Whoever cannot say
//! more exactly what changed raises one of them.

pub(crate) mod template;
mod webhook;

use std::{collections::HashSet, sync::Arc};

use adapters::AdapterEvent;
use cache::{Raised, Tag};
use config::tag::{self, TagError};
use futures_util::StreamExt as _;
use http::Response;
use serde_json::json;

use crate::{Downstream, front, server::Body, telemetry};

pub(crate) use webhook::{Webhook, receive};

/// How many tags may be named at once from outside.
pub(crate) const TAGS_AT_ONCE_MAX: usize = 1000;
/// How many events of a downstream are taken together.
const EVENTS_AT_ONCE_MAX: usize = 64;
/// How many tags are raised in one step.
const STEP_TAGS: usize = 256;

/// The families whose tags are compared in Redis at each hit.
#[derive(Debug)]
pub(crate) struct StrictFamilies(HashSet<Box<str>>);

impl StrictFamilies {
    pub(crate) fn new(settings: &config::Cache) -> Self {
        Self(settings.strict.iter().map(|family| family.as_str().into()).collect())
    }

    /// The tag of this name, which has a family.
    pub(crate) fn tag(&self, name: &str) -> Tag {
        Tag::new(name, self.0.contains(tag::family(name)))
    }

    /// Stands for the tags of a family that only a result will name. It is raised before any tag of its family, so that a reader who does not
    /// know its tags yet learns that one of them was.
    pub(crate) fn any_of(&self, family: &str) -> Tag {
        self.tag(&format!("{family}:*"))
    }

    /// Every entry that has a tag of the family has this one too: raising it ends them all.
    pub(crate) fn all_of(&self, family: &str) -> Tag {
        Tag::new(&format!("weir:family:{family}"), self.0.contains(family))
    }

    /// The tags to be raised for what somebody outside names, in their order; `family:*` names the whole family.
    ///
    /// # Errors
    /// The first of `names` that is no tag.
    pub(crate) fn named<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Tag>, TagError> {
        let mut tags = Vec::new();
        for name in names {
            tag::check(name)?;
            let family = tag::family(name);
            let is_whole = name.strip_prefix(family) == Some(":*");
            tags.extend([self.any_of(family), if is_whole { self.all_of(family) } else { self.tag(name) }]);
        }
        Ok(distinct(tags))
    }
}

/// Every entry has it.
pub(crate) fn everything() -> Tag {
    Tag::new("weir:all", false)
}

/// Every entry of a downstream has it.
pub(crate) fn of_downstream(downstream: &str) -> Tag {
    Tag::new(&format!("weir:downstream:{downstream}"), false)
}

/// Every entry of a tool has it.
pub(crate) fn of_tool(downstream: &str, local_name: &str) -> Tag {
    Tag::new(&format!("weir:tool:{downstream}/{local_name}"), false)
}

/// Raises tags because something outside says so; `by` is its word in the metrics.
pub(crate) async fn raise(all: &cache::Tags, by: &'static str, tags: &[Tag]) -> Raised {
    telemetry::tags_raised(by, tags.len());
    let mut reached = Raised::Everywhere;
    for step in tags.chunks(STEP_TAGS) {
        if all.raise(step).await == Raised::Queued {
            reached = Raised::Queued;
        }
    }
    reached
}

/// Raises what one downstream says, as long as the router lives. Apart from the refreshing of its list, which waits for answers.
pub(crate) async fn follow(all: cache::Tags, strict: Arc<StrictFamilies>, downstream: Arc<Downstream>) {
    let mut events = downstream.adapter.events().ready_chunks(EVENTS_AT_ONCE_MAX);
    let whole = of_downstream(downstream.name.as_str());
    while let Some(events) = events.next().await {
        let mut by = "database";
        let mut tags = Vec::new();
        for event in events {
            match event {
                // A tool that is another one now has other keys in any case.
                AdapterEvent::State(_) | AdapterEvent::ListUnknown => {}
                AdapterEvent::ListChanged => {
                    by = "list";
                    tags.push(whole);
                }
                AdapterEvent::ChangedUnknown => tags.push(whole),
                AdapterEvent::Changed(names) => match strict.named(names.iter().map(String::as_str)) {
                    Ok(named) => tags.extend(named),
                    // The adapter lets none pass that is no tag; if one did, more than it names may have changed.
                    Err(_) => tags.push(whole),
                },
            }
        }
        if !tags.is_empty() {
            raise(&all, by, &distinct(tags)).await;
        }
    }
}

/// What whoever raised tags is told.
pub(crate) fn raised_json(count: usize, reached: Raised) -> Response<Body> {
    let reached = match reached {
        Raised::Everywhere => "everywhere",
        Raised::Queued => "queued",
    };
    front::json_answer(&json!({ "raised": count, "reached": reached }))
}

/// The tags without repetition, in the order in which they came.
fn distinct(tags: Vec<Tag>) -> Vec<Tag> {
    let mut seen = HashSet::with_capacity(tags.len());
    tags.into_iter().filter(|tag| seen.insert(*tag)).collect()
}

/// The few tags of one call, without repetition, in the order in which they came.
#[derive(Debug, Default)]
struct Tags(Vec<Tag>);

impl Tags {
    fn add(&mut self, tag: Tag) {
        if !self.0.contains(&tag) {
            self.0.push(tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use cache::Tag;

    use super::StrictFamilies;

    #[test]
    fn what_is_named_from_outside_is_raised_after_what_stands_for_it() {
        let strict = StrictFamilies::new(&config::Cache { strict: vec!["account".to_owned()], ..Default::default() });
        let named = strict.named(["account:1", "account:2", "account:1", "ticket:*"]).expect("tags");
        let (account, ticket) = (|name: &str| Tag::new(name, true), |name: &str| Tag::new(name, false));
        let accounts = ["account:*", "account:1", "account:2"].map(account);
        assert_eq!(named, [&accounts[..], &["ticket:*", "weir:family:ticket"].map(ticket)].concat());
        assert!(strict.named(["account:1", "weir:all"]).is_err());
    }
}

//! What a set of roles may see and use, worked out once for each version of the catalog.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use adapters::Caller;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use config::{Effect, Names};
use tokio::time::Instant;

use super::Tool;
use crate::{
    Downstream, SEPARATOR,
    operations::OPERATION_STATUS,
    pages::NEXT_PAGE,
    policy::{Grant, Policy},
};

/// How many tools one page of a list holds. Some clients read only the first page, so it is a large one.
const PAGE_TOOLS_MAX: usize = 500;
/// For how many sets of roles the rights are kept; beyond it they are worked out for each call.
const SETS_MAX: usize = 1024;

/// How long the list of a caller holds to whom no downstream can come to show a tool.
const EMPTY_HOLDS_FOR: Duration = Duration::from_secs(60);
/// Why Weir's own tools are allowed: who gets a part of an answer may have the rest,
const PARTS_OF_ANSWERS: &str = "weir: the rest of long answers";
/// and who may write may ask what became of it.
const OWN_WRITES: &str = "weir: what became of own writes";

/// What callers with the same roles may see and use.
#[derive(Debug)]
pub struct Rights {
    /// By place in the catalog: what allows the tool.
    grants: Vec<Option<Arc<Grant>>>,
    /// Shown names of the allowed tools, in order.
    names: Vec<Arc<str>>,
    /// Their definitions, one after the other with a comma between, so that any page is a slice.
    definitions: Bytes,
    /// Where each definition ends in `definitions`.
    ends: Vec<usize>,
    /// The same tools as one JSON array in the form that the Messages API takes.
    for_messages: OnceLock<Bytes>,
    /// The downstreams of which they may come to see tools.
    sources: Vec<Arc<Downstream>>,
}

/// All that lists are made from.
#[derive(Debug)]
pub(super) struct Sources {
    downstreams: Arc<[Arc<Downstream>]>,
    has_prefix: bool,
}

impl Sources {
    pub(super) fn new(names: &Names, downstreams: Arc<[Arc<Downstream>]>) -> Self {
        Self { downstreams, has_prefix: names.prefix }
    }

    /// Those of which callers with `roles` may come to see tools.
    fn reached_by(&self, policy: &Policy, roles: &[Box<str>]) -> Vec<Arc<Downstream>> {
        let prefix = |downstream: &Downstream| {
            if self.has_prefix { format!("{}{SEPARATOR}", downstream.name) } else { String::new() }
        };
        let reached = |downstream: &&Arc<Downstream>| policy.reaches(roles, &prefix(downstream));
        self.downstreams.iter().filter(reached).cloned().collect()
    }
}

/// One page of `tools/list`.
#[derive(Debug)]
pub struct Page {
    /// Definitions with commas between them, without the brackets.
    pub definitions: Bytes,
    /// Where the next page starts; `None` on the last one.
    pub next_cursor: Option<String>,
}

impl Rights {
    fn new(tools: &[Arc<Tool>], policy: &Policy, roles: &[Box<str>], sources: Vec<Arc<Downstream>>) -> Self {
        let is_own = |tool: &Tool| tool.downstream.is_own();
        let by_role = |tool: &Arc<Tool>| (!is_own(tool)).then(|| policy.grant(roles, &tool.name.shown)).flatten();
        let mut grants: Vec<_> = tools.iter().map(by_role).collect();
        let may_be_cut =
            |(tool, grant): (&Arc<Tool>, &Option<Arc<Grant>>)| grant.is_some() && tool.answer_characters_max().is_some();
        let may_write = |(tool, grant): (&Arc<Tool>, &Option<Arc<Grant>>)| grant.is_some() && tool.effect.writes();
        let (parts, writes) = (tools.iter().zip(&grants).any(may_be_cut), tools.iter().zip(&grants).any(may_write));
        for (tool, grant) in tools.iter().zip(&mut grants).filter(|(tool, _)| is_own(tool)) {
            *grant = match &*tool.name.shown {
                NEXT_PAGE if parts => Some(Grant::of_weir(PARTS_OF_ANSWERS)),
                OPERATION_STATUS if writes => Some(Grant::of_weir(OWN_WRITES)),
                _ => None,
            };
        }
        let (mut names, mut definitions, mut ends) = (Vec::new(), BytesMut::new(), Vec::new());
        // Where no effect is stated everything counts as a write: then the tool is there, and does not take room in each model's context.
        let writes_for_sure = tools.iter().zip(&grants).any(|(tool, grant)| {
            let stated = tool.downstream.config.stated_effect_of(&tool.name.local);
            grant.is_some() && stated.is_some_and(Effect::writes)
        });
        let is_listed = |tool: &Tool| writes_for_sure || *tool.name.shown != *OPERATION_STATUS;
        for (tool, _) in tools.iter().zip(&grants).filter(|(tool, grant)| grant.is_some() && is_listed(tool)) {
            if !definitions.is_empty() {
                definitions.put_u8(b',');
            }
            definitions.put_slice(&tool.definition);
            ends.push(definitions.len());
            names.push(tool.name.shown.clone());
        }
        Self { grants, names, definitions: definitions.freeze(), ends, for_messages: OnceLock::new(), sources }
    }

    /// What allows the tool at this place in the catalog; `None` when it is denied.
    #[must_use]
    pub fn grant(&self, index: usize) -> Option<&Arc<Grant>> {
        self.grants.get(index).and_then(Option::as_ref)
    }

    /// How long after `now` the list holds, by the word of the downstreams.
    pub(super) fn holds_for(&self, now: Instant) -> Duration {
        self.sources.iter().map(|source| source.offer_holds_for(now)).min().unwrap_or(EMPTY_HOLDS_FOR)
    }

    /// All definitions with commas between them, without the brackets.
    #[must_use]
    pub fn definitions(&self) -> Bytes {
        self.definitions.clone()
    }

    /// The tools in the form that the Messages API takes; `form` gives that of one, by its shown name and its definition.
    pub(crate) fn for_messages(&self, form: impl Fn(&str, &str) -> String) -> Bytes {
        let all = || {
            let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end + 1));
            let definitions = starts.zip(&self.ends).map(|(start, &end)| text_of(&self.definitions[start..end]));
            let forms: Vec<String> = self.names.iter().zip(definitions).map(|(name, text)| form(name, text)).collect();
            format!("[{}]", forms.join(",")).into()
        };
        self.for_messages.get_or_init(all).clone()
    }

    /// The page that `cursor` asks for, or the first one. `None` when the cursor is none that a list gave.
    #[must_use]
    pub fn page(&self, cursor: Option<&str>) -> Option<Page> {
        // A cursor names the last tool of the page before, so a list that changes in between loses and repeats nothing else.
        let start = match cursor {
            None => 0,
            Some(cursor) => {
                let last = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
                self.names.partition_point(|name| **name <= *last)
            }
        };
        let end = self.names.len().min(start + PAGE_TOOLS_MAX);
        let from = if start == 0 { 0 } else { self.ends[start - 1] + 1 };
        let to = if end == start { from } else { self.ends[end - 1] };
        Some(Page {
            definitions: if end == start { Bytes::new() } else { self.definitions.slice(from..to) },
            next_cursor: (end < self.names.len()).then(|| URL_SAFE_NO_PAD.encode(&*self.names[end - 1])),
        })
    }
}

fn text_of(definition: &[u8]) -> &str {
    std::str::from_utf8(definition).expect("a definition is made from text")
}

/// Rights by set of roles, for one version of the catalog.
#[derive(Debug)]
pub(super) struct RightsCache {
    sources: Sources,
    kept: RwLock<HashMap<Vec<Box<str>>, Arc<Rights>>>,
}

impl RightsCache {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, kept: RwLock::default() }
    }

    pub(super) fn of(&self, tools: &[Arc<Tool>], policy: &Policy, caller: &Caller) -> Arc<Rights> {
        let roles = policy.known_roles(caller);
        if let Some(rights) = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(&roles) {
            return rights.clone();
        }
        let rights = Arc::new(Rights::new(tools, policy, &roles, self.sources.reached_by(policy, &roles)));
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < SETS_MAX {
            kept.insert(roles, rights.clone());
        }
        rights
    }
}

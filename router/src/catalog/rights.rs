//! What a set of roles may see and use, worked out once for each version of the catalog.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use adapters::{
    Caller,
    json::{Change, Object},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use config::{Effect, Names};
use tokio::time::Instant;

use super::Tool;
use crate::{
    Downstream, SEPARATOR,
    operations::OPERATION_STATUS,
    pages::NEXT_PAGE,
    policy::{Asker, Grant, Judged, NamedView, Policy, RoleSet},
};

/// How many tools one page of a list holds. Some clients read only the first page, so it is a large one.
const PAGE_TOOLS_MAX: usize = 500;
/// For how many sets of roles and views the rights are kept; beyond it they are worked out for each call.
const SETS_MAX: usize = 1024;
/// For how many outcomes of the conditions the lists of one set are kept.
const LISTS_MAX: usize = 64;

/// How long the list of a caller holds to whom no downstream can come to show a tool.
const EMPTY_HOLDS_FOR: Duration = Duration::from_secs(60);
/// Why Weir's own tools are allowed: who gets a part of an answer may have the rest,
const PARTS_OF_ANSWERS: &str = "weir: the rest of long answers";
/// and who may write may ask what became of it.
const OWN_WRITES: &str = "weir: what became of own writes";

/// What callers with the same roles may see and use, within one view or without.
#[derive(Debug)]
pub struct Rights {
    /// By place in the catalog: what allows the tool, as far as no condition is against it.
    grants: Vec<Option<Arc<Grant>>>,
    /// The places of the tools on which a condition decides before there is a call.
    conditional: Vec<usize>,
    /// Whether one of those may come out otherwise for the same caller a moment later.
    may_change: bool,
    /// What they see, by which of the conditional tools they may use.
    lists: RwLock<HashMap<Box<[bool]>, Arc<List>>>,
    /// The downstreams of which they may come to see tools.
    sources: Vec<Arc<Downstream>>,
}

/// What callers see who may use the same tools.
#[derive(Debug)]
pub struct List {
    /// Shown names of the allowed tools, in order.
    names: Vec<Arc<str>>,
    /// Their definitions, one after the other with a comma between, so that any page is a slice.
    definitions: Bytes,
    /// Where each definition ends in `definitions`.
    ends: Vec<usize>,
    /// The same tools as one JSON array in the form that the Messages API takes.
    for_messages: OnceLock<Bytes>,
    /// Whether they may ask for the rest of long answers,
    parts: bool,
    /// and what became of writes.
    writes: bool,
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
    fn reached_by(&self, policy: &Policy, roles: RoleSet) -> Vec<Arc<Downstream>> {
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
    fn new(
        tools: &[Arc<Tool>],
        policy: &Policy,
        roles: RoleSet,
        view: Option<&NamedView>,
        sources: Vec<Arc<Downstream>>,
    ) -> Self {
        let is_shown = |tool: &Tool| !tool.downstream.is_own() && view.is_none_or(|view| view.shows(&tool.name.shown));
        let grant = |tool: &Arc<Tool>| is_shown(tool).then(|| policy.grant(roles, &tool.name.shown)).flatten();
        let grants: Vec<_> = tools.iter().map(grant).collect();
        let places = grants.iter().enumerate().filter_map(|(at, grant)| Some((at, grant.as_ref()?)));
        let conditional: Vec<_> = places.filter(|(_, grant)| grant.is_conditional()).map(|(at, _)| at).collect();
        let may_change = grants.iter().flatten().any(|grant| grant.may_change());
        Self { grants, conditional, may_change, lists: RwLock::default(), sources }
    }

    /// What allows the tool at this place in the catalog, if its conditions hold; `None` when it is denied. Weir's own tools are not
    /// among them.
    pub(crate) fn grant(&self, index: usize) -> Option<&Arc<Grant>> {
        self.grants.get(index).and_then(Option::as_ref)
    }

    /// Whether `asker` may use the tool at this place in the catalog now.
    pub(super) fn judge(&self, tools: &[Arc<Tool>], index: usize, policy: &Policy, asker: Asker<'_>) -> Judged {
        let Some(tool) = tools.get(index) else { return Judged::default() };
        if !tool.downstream.is_own() {
            let Some(grant) = self.grant(index) else { return Judged::default() };
            return policy.judge(grant, asker, tool.asked(), None);
        }
        let list = self.list(tools, policy, asker);
        let grant = match &*tool.name.shown {
            NEXT_PAGE if list.parts => Some(Grant::of_weir(PARTS_OF_ANSWERS)),
            OPERATION_STATUS if list.writes => Some(Grant::of_weir(OWN_WRITES)),
            _ => None,
        };
        Judged { grant, verdicts: Vec::new() }
    }

    /// What `asker` sees now.
    pub(super) fn list(&self, tools: &[Arc<Tool>], policy: &Policy, asker: Asker<'_>) -> Arc<List> {
        let may_use = |&at: &usize| {
            let judged = self.grant(at).map(|grant| policy.judge(grant, asker, tools[at].asked(), None));
            judged.is_some_and(|judged| judged.grant.is_some())
        };
        let verdicts: Box<[bool]> = self.conditional.iter().map(may_use).collect();
        if let Some(list) = self.lists.read().unwrap_or_else(PoisonError::into_inner).get(&verdicts) {
            return list.clone();
        }
        let mut allowed: Vec<bool> = self.grants.iter().map(Option::is_some).collect();
        self.conditional.iter().zip(&verdicts).for_each(|(&at, &may_use)| allowed[at] = may_use);
        let is_masked = |at: usize| self.grant(at).is_some_and(|grant| grant.may_be_masked());
        let list = Arc::new(List::new(tools, allowed, is_masked));
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        if lists.len() < LISTS_MAX {
            lists.insert(verdicts, list.clone());
        }
        list
    }

    /// How long after `now` the list holds, by the word of the downstreams; not at all where the time or the caller's place decides.
    pub(super) fn holds_for(&self, now: Instant) -> Duration {
        if self.may_change {
            return Duration::ZERO;
        }
        self.sources.iter().map(|source| source.offer_holds_for(now)).min().unwrap_or(EMPTY_HOLDS_FOR)
    }
}

impl List {
    fn new(tools: &[Arc<Tool>], mut allowed: Vec<bool>, is_masked: impl Fn(usize) -> bool) -> Self {
        let all = || tools.iter().zip(&allowed).filter(|(_, is_allowed)| **is_allowed).map(|(tool, _)| tool);
        let parts = all().any(|tool| tool.answer_characters_max().is_some());
        let writes = all().any(|tool| tool.effect.writes());
        // Where no effect is stated everything counts as a write: then the tool is there, and does not take room in each model's context.
        let stated = |tool: &Arc<Tool>| tool.downstream.config.stated_effect_of(&tool.name.local);
        let writes_for_sure = all().any(|tool| stated(tool).is_some_and(Effect::writes));
        for (tool, is_allowed) in tools.iter().zip(&mut allowed).filter(|(tool, _)| tool.downstream.is_own()) {
            *is_allowed = match &*tool.name.shown {
                NEXT_PAGE => parts,
                OPERATION_STATUS => writes_for_sure,
                _ => false,
            };
        }
        let (mut names, mut definitions, mut ends) = (Vec::new(), BytesMut::new(), Vec::new());
        for (at, tool) in tools.iter().enumerate().filter(|(at, _)| allowed[*at]) {
            if !definitions.is_empty() {
                definitions.put_u8(b',');
            }
            definitions.put_slice(&if is_masked(at) {
                without_promise(&tool.definition)
            } else {
                tool.definition.clone()
            });
            ends.push(definitions.len());
            names.push(tool.name.shown.clone());
        }
        Self { names, definitions: definitions.freeze(), ends, for_messages: OnceLock::new(), parts, writes }
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

/// A definition without its `outputSchema`: what is masked may be a text where the schema promises a number, and clients refuse a result that
/// does not keep the promise (MCP 2026-07-28, server/tools, "Output Schema").
fn without_promise(definition: &Bytes) -> Bytes {
    let Some(object) = Object::parse(text_of(definition)) else { return definition.clone() };
    if object.get("outputSchema").is_none() {
        return definition.clone();
    }
    object.rewrite(&[], |key, _| if key == "outputSchema" { Change::Remove } else { Change::Keep }).into()
}

fn text_of(definition: &[u8]) -> &str {
    std::str::from_utf8(definition).expect("a definition is made from text")
}

/// Rights by view and set of roles, for one version of the catalog and one policy.
#[derive(Debug)]
pub(super) struct RightsCache {
    sources: Sources,
    kept: RwLock<Kept>,
}

/// By place of the view, and roles.
type Kept = HashMap<(Option<usize>, RoleSet), Arc<Rights>>;

impl RightsCache {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, kept: RwLock::default() }
    }

    pub(super) fn of(
        &self,
        tools: &[Arc<Tool>],
        policy: &Policy,
        caller: &Caller,
        view: Option<&NamedView>,
    ) -> Arc<Rights> {
        let roles = policy.roles_of(caller);
        let key = (view.map(|view| view.at), roles);
        if let Some(rights) = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return rights.clone();
        }
        let rights = Arc::new(Rights::new(tools, policy, roles, view, self.sources.reached_by(policy, roles)));
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < SETS_MAX {
            kept.insert(key, rights.clone());
        }
        rights
    }
}

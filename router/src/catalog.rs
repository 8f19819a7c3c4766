//! The merged list of tools, built in the background from the last good offer of every downstream.
//!
//! One dead or misbehaving downstream never hides the tools of the others: lists come from memory, in deterministic order.

mod caching;
mod refresh;
mod rights;
mod tool;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use adapters::{Caller, OfferedTool};
use arc_swap::ArcSwap;
use config::{Config, Deadlines, Names, downstream::Expose};
use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

use crate::{
    Downstream,
    definitions::Definitions,
    name::ToolName,
    policy::{Asker, Judged, NamedView, Policy},
};

pub(crate) use caching::Caching;
pub(crate) use refresh::keep_fresh;
use rights::Sources;
pub use rights::{List, Page, Rights};
pub use tool::Tool;

/// How long after its start the router waits for first lists before it answers without them.
const FIRST_LISTS: Duration = Duration::from_secs(2);

/// The merged list of tools.
#[derive(Debug)]
pub struct Catalog {
    started: Instant,
    names: Names,
    deadlines: Deadlines,
    downstreams: Arc<[Arc<Downstream>]>,
    /// Which of their tools callers may see.
    definitions: Arc<Definitions>,
    /// What stands behind Weir's own tools.
    own: Option<Arc<Downstream>>,
    view: ArcSwap<View>,
    /// One builder at a time, so that an older list never replaces a newer one.
    building: Mutex<()>,
    /// One for all catalogs of a router's life, so that who waits for a change hears of one of the config too.
    version: watch::Sender<u64>,
    missing: watch::Sender<Missing>,
}

/// How many downstreams have yet to come into the catalog after the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Missing {
    /// Those that have not been asked for their lists, or have not answered yet, be it with a failure.
    unasked: usize,
    /// Those whose tools are not in the catalog.
    unlisted: usize,
}

impl Missing {
    fn of(downstreams: &[Arc<Downstream>]) -> Self {
        let count = |is: fn(&Downstream) -> bool| downstreams.iter().filter(|downstream| is(downstream)).count();
        Self {
            unasked: count(|downstream| !downstream.was_asked()),
            unlisted: count(|downstream| !downstream.was_listed()),
        }
    }
}

/// The catalog as it stands at one moment.
#[derive(Debug)]
pub struct View {
    tools: Vec<Arc<Tool>>,
    by_name: HashMap<Arc<str>, usize>,
    rights: rights::RightsCache,
}

impl Catalog {
    /// A catalog of `downstreams`, and of Weir's `own` tools where it has some, in the place of the one `before`. It hears of what they
    /// offer from now on.
    pub(crate) fn new(
        config: &Config,
        downstreams: Arc<[Arc<Downstream>]>,
        own: Option<Arc<Downstream>>,
        definitions: Arc<Definitions>,
        before: Option<&Self>,
    ) -> Arc<Self> {
        let sources = Sources::new(&config.names, downstreams.clone());
        // What did not change keeps what was worked out for it; what callers may see of it is worked out anew.
        let tools = before.map(|before| before.view().tools.clone()).unwrap_or_default();
        let catalog = Arc::new(Self {
            started: Instant::now(),
            view: ArcSwap::from_pointee(View::new(tools, sources)),
            names: config.names.clone(),
            deadlines: config.deadlines.clone(),
            building: Mutex::default(),
            version: before.map_or_else(|| watch::Sender::new(0), |before| before.version.clone()),
            missing: watch::Sender::new(Missing::of(&downstreams)),
            downstreams,
            definitions,
            own,
        });
        catalog.definitions.board().tells(&catalog);
        catalog.downstreams.iter().for_each(|downstream| downstream.tells(&catalog));
        if before.is_some() {
            catalog.rebuild();
            catalog.count_missing();
        }
        catalog
    }

    /// Which tools callers may see.
    pub(crate) fn definitions(&self) -> &Arc<Definitions> {
        &self.definitions
    }

    /// The catalog as it stands now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// The catalog, after the start only when every downstream has been asked once: a client that comes back right after a restart is not to
    /// hear that its tools are unknown. Waits for [`FIRST_LISTS`] at most, and never again once all have been asked.
    pub async fn settled_view(&self) -> Arc<View> {
        self.asked(self.started + FIRST_LISTS).await;
        self.view()
    }

    /// Waits until every downstream has been asked for its list once, whatever it answered; false when that takes longer than `until`.
    pub async fn asked(&self, until: Instant) -> bool {
        self.none_missing(until, |missing| missing.unasked).await
    }

    /// Waits until every downstream has been listed once; false when that takes longer than `until`.
    pub async fn listed(&self, until: Instant) -> bool {
        self.none_missing(until, |missing| missing.unlisted).await
    }

    async fn none_missing(&self, until: Instant, of: fn(&Missing) -> usize) -> bool {
        if of(&self.missing.borrow()) == 0 {
            return true;
        }
        let mut missing = self.missing.subscribe();
        tokio::time::timeout_at(until, missing.wait_for(|missing| of(missing) == 0))
            .await
            .is_ok_and(|waited| waited.is_ok())
    }

    /// How long a list out of `view` with these `rights` holds for `caller`: as long as every downstream that it may come to hold tools of
    /// said of its own list, less the time since then; not at all where one is yet to be listed, or is to be listed again.
    #[must_use]
    pub fn list_holds_for(&self, view: &Arc<View>, rights: &Rights, caller: &Caller) -> Duration {
        let holds = rights.holds_for(Instant::now());
        // What was said may be said of a newer list.
        if !Arc::ptr_eq(view, &self.view.load()) {
            return Duration::ZERO;
        }
        let left =
            |expires: Timestamp| Duration::try_from(expires.duration_since(Timestamp::now())).unwrap_or_default();
        caller.expires.map_or(holds, |expires| holds.min(left(expires)))
    }

    /// The catalog in which `shown` is looked up: as it stands when it has the name, else the settled one.
    pub async fn view_for(&self, shown: &str) -> Arc<View> {
        let view = self.view();
        if view.by_name.contains_key(shown) { view } else { self.settled_view().await }
    }

    /// Changes whenever the list of tools does.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Tells all who wait for a change that there may be one.
    pub(crate) fn announce_change(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Tells those who wait for first lists how many are still to come.
    pub(crate) fn count_missing(&self) {
        self.missing.send_if_modified(|before| {
            let missing = Missing::of(&self.downstreams);
            let is_new = *before != missing;
            *before = missing;
            is_new
        });
    }

    /// Builds the list anew from the offers as they stand.
    pub(crate) fn rebuild(&self) {
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tools = Vec::new();
        for downstream in self.downstreams.iter().chain(&self.own) {
            let Some(offer) = downstream.offer() else { continue };
            let exposed = |tool: &OfferedTool| is_exposed(downstream, tool);
            let held = self.definitions.held_of(downstream, &offer, exposed);
            let offered = offer.tools.iter().filter(|tool| exposed(tool) && !held.contains(&tool.local_name));
            tools.extend(offered.filter_map(|tool| self.tool(downstream, tool)));
        }
        settle_collisions(&mut tools, &self.names);
        tools.sort_by(|a, b| a.name.shown.cmp(&b.name.shown));
        let before = self.view.load();
        if before.tools.len() == tools.len() && before.tools.iter().zip(&tools).all(|(old, new)| old.is_same(new)) {
            return;
        }
        // What did not change keeps what was worked out for it, its compiled schema first of all.
        let kept = |new: Tool| match before.resolve(&new.name.shown) {
            Some((_, old)) if old.is_same(&new) => old.clone(),
            _ => Arc::new(new),
        };
        let sources = Sources::new(&self.names, self.downstreams.clone());
        self.view.store(Arc::new(View::new(tools.into_iter().map(kept).collect(), sources)));
        self.announce_change();
    }

    fn tool(&self, downstream: &Arc<Downstream>, offered: &OfferedTool) -> Option<Tool> {
        let name = if downstream.is_own() {
            ToolName::own(&offered.local_name)
        } else {
            ToolName::form(&downstream.name, &offered.local_name, &self.names)
        };
        let settings = downstream.config.tools.get(&*offered.local_name);
        let stated =
            settings.and_then(|tool| tool.deadline).or(downstream.config.deadline).unwrap_or(self.deadlines.default);
        let deadline: Duration = stated.min(self.deadlines.max).0;
        let description = settings.and_then(|tool| tool.description.as_deref());
        Tool::new(name, downstream.clone(), offered, description, deadline)
    }
}

impl View {
    fn new(tools: Vec<Arc<Tool>>, sources: Sources) -> Self {
        let by_name = tools.iter().enumerate().map(|(index, tool)| (tool.name.shown.clone(), index)).collect();
        Self { tools, by_name, rights: rights::RightsCache::new(sources) }
    }

    /// All tools in the order of their shown names.
    #[must_use]
    pub fn tools(&self) -> &[Arc<Tool>] {
        &self.tools
    }

    /// The tool that callers know by `shown`, and its place in the list.
    #[must_use]
    pub fn resolve(&self, shown: &str) -> Option<(usize, &Arc<Tool>)> {
        let index = *self.by_name.get(shown)?;
        Some((index, &self.tools[index]))
    }

    /// What a caller may see and use, through a view or without one, as far as its roles say.
    #[must_use]
    pub fn rights(&self, policy: &Policy, caller: &Caller, view: Option<&NamedView>) -> Arc<Rights> {
        self.rights.of(&self.tools, policy, caller, view)
    }

    /// Whether `asker` may use the tool at this place now, and by what.
    pub(crate) fn judge(&self, index: usize, policy: &Policy, asker: Asker<'_>, view: Option<&NamedView>) -> Judged {
        self.rights(policy, asker.caller, view).judge(&self.tools, index, policy, asker)
    }

    /// What `asker` sees now, out of these rights.
    pub(crate) fn list(&self, rights: &Rights, policy: &Policy, asker: Asker<'_>) -> Arc<List> {
        rights.list(&self.tools, policy, asker)
    }
}

fn is_exposed(downstream: &Downstream, tool: &OfferedTool) -> bool {
    match downstream.config.expose {
        Expose::All => true,
        Expose::Listed => downstream.config.tools.contains_key(&*tool.local_name),
    }
}

/// A tool's own legal name goes before an alias that happens to be the same; the alias gets a longer hash, and another one for as long
/// as that is taken too. So nothing is dropped and no name stands twice, whatever a downstream calls its tools: clients refuse a whole
/// list for one name that does.
fn settle_collisions(tools: &mut [Tool], names: &Names) {
    let own = tools.iter().filter(|tool| !tool.name.is_alias);
    let mut taken: HashSet<Arc<str>> = own.map(|tool| tool.name.shown.clone()).collect();
    for tool in tools.iter_mut().filter(|tool| tool.name.is_alias) {
        let mut attempt = 0;
        while !taken.insert(tool.name.shown.clone()) {
            tool.rename(tool.name.with_longer_alias(names, attempt));
            attempt += 1;
        }
    }
}

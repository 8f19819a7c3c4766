//! One fetch of one key, with all that is done before and after it: looking again, getting the right to fetch, storing the answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{
    Ask, Fetched, Inner, Passing,
    served::{Held, Tier, Usable},
};
use crate::{
    entry::{Entry, Found, TagGeneration, Version},
    flight::Seat,
    store::{Commit, Lease, Note, Store, Token, Turn},
    tags::Before,
};

/// What a fetch may take beyond its period until it is given up here. It ends by itself at its period, and says why better than we could.
pub(super) const GRACE: Duration = Duration::from_millis(500);
/// Notices can be lost: whoever waits for another replica looks this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many times in a row Redis may be late for one who waits for another replica, before he goes on alone.
const LATE_MAX: u32 = 3;

/// A fetch to be made, unless someone else makes it.
pub(super) struct Errand<T, F> {
    pub(super) inner: Arc<Inner<T>>,
    pub(super) ask: Arc<Ask>,
    pub(super) fetch: Arc<F>,
    /// What is known already and will not do.
    pub(super) known: Option<Version>,
    /// Nobody waits: only what is fresh will do.
    pub(super) in_background: bool,
}

/// What an errand came to, for all who wait for it.
#[derive(Clone)]
pub(super) enum Landed<T> {
    /// It was there.
    Held(Held),
    Fetched {
        value: Bytes,
        found: Found,
        guards: Guards,
        stored: bool,
    },
    Shared {
        outcome: T,
        guards: Guards,
    },
    Failed {
        outcome: T,
        elsewhere: bool,
    },
    Own(T),
    /// Another replica's fetch was for its own caller alone.
    EachAlone,
    /// The fetch did not end within its period.
    Late,
    /// It was dropped, since the process is ending.
    Withdrawn,
}

/// What tells whether an answer is good for whoever came while it was on its way.
#[derive(Clone)]
pub(super) struct Guards {
    /// When the downstream was asked, if this process asked it.
    pub(super) began: Option<Instant>,
    /// What the answer is about, as it was before that. `None`: it cannot be told.
    pub(super) tags: Option<Arc<[TagGeneration]>>,
}

/// Where an answer may be stored.
enum Right {
    /// In both tiers.
    Lease(Lease),
    /// In this process: there is no Redis, or it is gone.
    Here,
    Nowhere,
}

impl<T, F, Fut> Errand<T, F>
where
    T: Passing,
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Fetched<T>> + Send + 'static,
{
    pub(super) async fn run(self) -> Landed<T> {
        let inner = self.inner.clone();
        let until = if self.in_background { &inner.closing } else { &inner.closed };
        let (key, in_background) = (self.ask.key, self.in_background);
        let landed = until.run_until_cancelled(self.go()).await.unwrap_or(Landed::Withdrawn);
        // What was not stored, the next caller would fetch again at once.
        if in_background && !matches!(landed, Landed::Held(_) | Landed::Fetched { stored: true, .. }) {
            inner.resting.rest(key);
        }
        landed
    }

    async fn go(self) -> Landed<T> {
        // The flight before this one may have landed since the caller looked.
        let held = self.inner.held_here(&self.ask).await;
        let created_ms = held.as_ref().map_or(0, |held| held.entry.created_ms);
        if let Some(held) = held.filter(|held| self.wants(held)) {
            return Landed::Held(held);
        }
        match &self.inner.store {
            Some(store) if store.redis().is_up() => self.by_lease(store, created_ms).await,
            _ => self.fetch(Right::Here).await,
        }
    }

    fn wants(&self, held: &Held) -> bool {
        match held.usable {
            Usable::AtOnce => self.known != Some(held.entry.version),
            Usable::WhileRefreshing => !self.in_background,
            Usable::InNeed => false,
        }
    }

    /// What another replica has stored or is about to, else a fetch that the others wait for. What is held here was created at `created_ms`.
    async fn by_lease(&self, store: &Store, created_ms: u64) -> Landed<T> {
        let key = &self.ask.key;
        let patience = Instant::now() + self.ask.fetch_period + GRACE + self.inner.settings.lease;
        // Before the first look, so that no notice falls between a look and the wait after it.
        let notices = store.listen(key);
        let mut seen = self.known.map_or_else(Vec::new, |version| version.0.to_vec());
        let mut waits_for: Option<Token> = None;
        let mut late = 0;
        loop {
            let turn = store.turn(key, &seen, waits_for).await;
            late = if turn.is_err() { late + 1 } else { 0 };
            match turn {
                Ok(Turn::Value { version, entry }) => {
                    if let Some(held) = self.consider(entry, created_ms).await {
                        return Landed::Held(held);
                    }
                    (seen, waits_for) = (version, None);
                }
                Ok(Turn::Leased(lease)) => {
                    if waits_for.is_some() {
                        self.inner.counts.take_overs.one_more();
                    }
                    return self.fetch(Right::Lease(lease)).await;
                }
                Ok(Turn::Busy { holder, left }) => {
                    if Instant::now() >= patience {
                        return Landed::Late;
                    }
                    if waits_for.replace(holder).is_none() {
                        self.inner.counts.lease_waits.one_more();
                    }
                    notices.wait(left.min(LOOK_EVERY)).await;
                }
                Ok(Turn::Note(note)) => return self.take(note).await,
                Err(_gone) if waits_for.is_some() && late < LATE_MAX && store.redis().is_up() => {
                    sleep(LOOK_EVERY / 10).await;
                }
                Err(_gone) => return self.fetch(Right::Here).await,
            }
        }
    }

    /// What was found in Redis, if it is good enough. If it is only better than nothing, it is held for whoever comes to need it; but it takes
    /// the place of nothing newer, which Redis may not have heard of.
    async fn consider(&self, entry: Option<Entry>, created_ms: u64) -> Option<Held> {
        let entry = entry.filter(|entry| entry.created_ms >= created_ms)?;
        let held = self.inner.judge(&self.ask, Arc::new(entry), Tier::Shared).await?;
        self.inner.hold(&self.ask, &held.entry);
        self.wants(&held).then_some(held)
    }

    /// What another replica made known instead of storing it.
    async fn take(&self, note: Note) -> Landed<T> {
        let guards = |entry: &Entry| Guards { began: None, tags: Some(entry.tags.clone()) };
        match note {
            Note::Answer(entry) => {
                Landed::Fetched { guards: guards(&entry), value: entry.value, found: entry.found, stored: false }
            }
            Note::Shared(entry) => match T::from_bytes(&entry.value) {
                Some(outcome) => Landed::Shared { outcome, guards: guards(&entry) },
                None => self.fetch(Right::Nowhere).await,
            },
            Note::Failed(entry) => match T::from_bytes(&entry.value) {
                Some(outcome) => Landed::Failed { outcome, elsewhere: true },
                None => self.fetch(Right::Nowhere).await,
            },
            Note::Each => Landed::EachAlone,
            Note::Late => Landed::Late,
            Note::Unshared => self.fetch(Right::Nowhere).await,
        }
    }

    /// Asks the downstream, and makes known what it said.
    async fn fetch(&self, mut right: Right) -> Landed<T> {
        let before = self.inner.tags.before(&self.ask.tags, &self.ask.templates).await;
        if !before.storable() {
            // Others need not wait for what they could not be given.
            right.give_up(Note::Unshared).await;
            right = Right::Nowhere;
        }
        let began = Instant::now();
        let Some(fetched) = self.ask_downstream(&right).await else {
            right.give_up(Note::Late).await;
            return Landed::Late;
        };
        let fetch_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let guards = |tags| Guards { began: Some(began), tags };
        match fetched {
            Fetched::Answer { value, found, tags } => {
                let Some(tags) = self.inner.tags.after(before, &tags).await else {
                    right.give_up(Note::Unshared).await;
                    return Landed::Fetched { value, found, guards: guards(None), stored: false };
                };
                let entry = self.entry(value.clone(), found, tags.clone(), fetch_ms);
                let stored = self.keep(right, entry).await;
                Landed::Fetched { value, found, guards: guards(Some(tags)), stored }
            }
            Fetched::Shared(outcome) => {
                let tags = self.unmoved(before).await;
                right
                    .give_up(tags.clone().map_or(Note::Unshared, |tags| self.note(Note::Shared, &outcome, tags)))
                    .await;
                Landed::Shared { outcome, guards: guards(tags) }
            }
            Fetched::Failed(outcome) => {
                right.give_up(self.note(Note::Failed, &outcome, Arc::new([]))).await;
                Landed::Failed { outcome, elsewhere: false }
            }
            Fetched::Own(outcome) => {
                right.give_up(Note::Each).await;
                Landed::Own(outcome)
            }
        }
    }

    /// `None` when it does not end within its period. A lease is renewed meanwhile.
    async fn ask_downstream(&self, right: &Right) -> Option<Fetched<T>> {
        let fetch = timeout(self.ask.fetch_period + GRACE, (self.fetch)());
        let fetched = match right {
            Right::Lease(lease) => tokio::select! {
                biased;
                fetched = fetch => fetched,
                never = lease.renew() => match never {},
            },
            Right::Here | Right::Nowhere => fetch.await,
        };
        fetched.ok()
    }

    /// Stores an answer where there is the right to. Says whether the next caller of this process finds it.
    async fn keep(&self, right: Right, entry: Entry) -> bool {
        let lifetime_ms = entry.stale_until_ms.saturating_sub(entry.created_ms);
        let keepable = lifetime_ms > 0 && entry.value.len() <= self.inner.settings.value_bytes_max;
        match right {
            Right::Lease(lease) if keepable => match lease.commit(&entry, lifetime_ms).await {
                Commit::Done => {
                    self.inner.hold(&self.ask, &entry);
                    true
                }
                Commit::Gone => self.inner.hold(&self.ask, &entry),
                Commit::Refused | Commit::Unsealable => false,
            },
            Right::Lease(lease) => {
                lease.end(Note::Answer(entry)).await;
                false
            }
            Right::Here => keepable && self.inner.hold(&self.ask, &entry),
            Right::Nowhere => false,
        }
    }

    /// What is known of what an outcome is about, for those who came while it was on its way.
    async fn unmoved(&self, before: Before) -> Option<Arc<[TagGeneration]>> {
        self.inner.tags.after(before, &[]).await
    }

    fn note(&self, kind: fn(Entry) -> Note, outcome: &T, tags: Arc<[TagGeneration]>) -> Note {
        match outcome.to_bytes() {
            Some(bytes) => kind(self.entry(bytes.into(), Found::Found, tags, 0)),
            None => Note::Unshared,
        }
    }

    fn entry(&self, value: Bytes, found: Found, tags: Arc<[TagGeneration]>, fetch_ms: u64) -> Entry {
        Entry::new(value, found, tags, fetch_ms, &self.ask.contract, self.inner.clock.now_ms())
    }
}

impl Guards {
    /// Whoever started a flight here that came to what another replica fetched was a passenger there.
    pub(super) fn seat(&self, here: Seat) -> Seat {
        if self.began.is_some() { here } else { Seat::Passenger }
    }
}

impl Right {
    /// Nothing is stored; others are told why.
    async fn give_up(&mut self, note: Note) {
        if let Self::Lease(lease) = std::mem::replace(self, Self::Nowhere) {
            lease.end(note).await;
        }
    }
}

impl<T> Inner<T> {
    /// Holds an entry in this process, if there is room for one of its size.
    fn hold(&self, ask: &Ask, entry: &Entry) -> bool {
        self.local.insert(ask.key, entry.clone(), self.clock.now_ms())
    }
}

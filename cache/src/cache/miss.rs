//! A call that found nothing good enough: it joins the fetch of its key, and is given what may be given to it.

use std::{pin::pin, sync::Arc};

use tokio::time::{Instant, timeout_at};

use super::{
    Ask, Cache, Fetched, Passing, Served, State, Tier,
    errand::{self, Errand, Guards, Landed},
    served::{Held, Usable},
};
use crate::{
    flight::{Deadlines, Failure, Landing, Seat},
    tags::Check,
};

/// How many fetches a call joins. What the first came to may be older than the call, and something may have changed meanwhile; the second
/// began after the call did, unless the process is ending or what it got came from elsewhere.
const BOARDINGS_MAX: usize = 3;

/// What a call was doing when it stopped waiting.
enum Waited<T> {
    Landed(Landing<Landed<T>>),
    /// It has waited as long as callers of this tool wait where there is something older.
    LongEnough(Held),
}

impl<T: Passing> Cache<T> {
    pub(super) async fn miss<F, Fut>(&self, ask: Ask, fetch: F, held: Option<Held>) -> Served<T>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Fetched<T>> + Send + 'static,
    {
        let arrived = Instant::now();
        let (ask, fetch) = (Arc::new(ask), Arc::new(fetch));
        for _ in 0..BOARDINGS_MAX {
            let errand = Errand {
                inner: self.inner.clone(),
                ask: ask.clone(),
                fetch: fetch.clone(),
                known: held.as_ref().map(|held| held.entry.version),
                in_background: false,
            };
            let Landing { seat, result } = match self.board(errand, arrived, held.as_ref()).await {
                Waited::Landed(landing) => landing,
                Waited::LongEnough(held) => return Served::Cached(held.serve(State::StaleAfterWaiting, None)),
            };
            let landed = match result {
                Ok(landed) => landed,
                Err(failure) => return self.nothing(&ask, held, failure).await,
            };
            match landed {
                Landed::Held(found) => {
                    // A passenger may have come after this was judged.
                    let found = if seat == Seat::Starter {
                        Some(found)
                    } else {
                        self.inner.judge(&ask, found.entry, found.tier).await
                    };
                    if let Some(found) = found.filter(|found| found.usable != Usable::InNeed) {
                        if found.usable == Usable::WhileRefreshing {
                            self.refresh((*ask).clone(), fetch, found.entry.version);
                        }
                        return Served::Cached(found.serve(State::StaleWhileRefreshing, None));
                    }
                }
                Landed::Fetched { value, found, guards, stored } => {
                    if self.still_holds(&guards, seat, arrived).await {
                        let seat = guards.seat(seat);
                        return Served::Fetched { value, found, seat, stored };
                    }
                }
                Landed::Shared { outcome, guards } => {
                    if self.still_holds(&guards, seat, arrived).await {
                        return Served::Passed { outcome, seat: guards.seat(seat) };
                    }
                }
                Landed::Failed { outcome, elsewhere } => {
                    let seat = if elsewhere { Seat::Passenger } else { seat };
                    return self.failed(&ask, held, outcome, seat).await;
                }
                Landed::Own(outcome) if seat == Seat::Starter => return Served::Passed { outcome, seat },
                Landed::Own(_) | Landed::EachAlone => break,
                Landed::Late => return self.nothing(&ask, held, Failure::FetchDeadline).await,
                Landed::Withdrawn if self.inner.closed.is_cancelled() => {
                    return self.nothing(&ask, held, Failure::Lost).await;
                }
                Landed::Withdrawn => {}
            }
        }
        self.alone(&ask, &*fetch, held).await
    }

    /// Waits for the fetch of this key, starting it if none runs, but not longer than callers of this tool do where something older is there.
    async fn board<F, Fut>(&self, errand: Errand<T, F>, arrived: Instant, held: Option<&Held>) -> Waited<T>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Fetched<T>> + Send + 'static,
    {
        let ask = errand.ask.clone();
        let deadlines = Deadlines { fetch: Instant::now() + self.inner.flight_period(&ask), wait: ask.wait_by };
        let mut landing = pin!(self.inner.flights.join(ask.key, deadlines, move || errand.run()));
        if let Some(patience) = ask.stale_after_waiting
            && arrived + patience < ask.wait_by
        {
            match timeout_at(arrived + patience, &mut landing).await {
                Ok(landing) => return Waited::Landed(landing),
                Err(_elapsed) => {
                    if let Some(older) = self.older(&ask, held.cloned()).await {
                        return Waited::LongEnough(older);
                    }
                }
            }
        }
        Waited::Landed(landing.await)
    }

    /// A fetch of this call's own: what others fetched is not for it.
    async fn alone<F, Fut>(&self, ask: &Ask, fetch: &F, held: Option<Held>) -> Served<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Fetched<T>>,
    {
        self.inner.counts.lone_fetches.one_more();
        let period_end = Instant::now() + ask.fetch_period + errand::GRACE;
        let seat = Seat::Starter;
        match timeout_at(period_end.min(ask.wait_by), fetch()).await {
            Ok(Fetched::Answer { value, found, .. }) => Served::Fetched { value, found, seat, stored: false },
            Ok(Fetched::Shared(outcome) | Fetched::Own(outcome)) => Served::Passed { outcome, seat },
            Ok(Fetched::Failed(outcome)) => self.failed(ask, held, outcome, seat).await,
            Err(_elapsed) if period_end <= ask.wait_by => self.nothing(ask, held, Failure::FetchDeadline).await,
            Err(_elapsed) => self.nothing(ask, held, Failure::WaitDeadline).await,
        }
    }

    /// Something older instead of a failure, else the failure.
    async fn failed(&self, ask: &Ask, held: Option<Held>, outcome: T, seat: Seat) -> Served<T> {
        match self.older(ask, held).await {
            Some(older) => Served::Cached(older.serve(State::StaleOnError, Some(outcome))),
            None => Served::Passed { outcome, seat },
        }
    }

    /// Something older instead of nothing.
    async fn nothing(&self, ask: &Ask, held: Option<Held>, failure: Failure) -> Served<T> {
        match self.older(ask, held).await {
            Some(older) => Served::Cached(older.serve(State::StaleOnError, None)),
            None => Served::Nothing(failure),
        }
    }

    /// What may be given in need: what this process holds now, which whoever fetched may have found in Redis, else what it held before.
    async fn older(&self, ask: &Ask, held: Option<Held>) -> Option<Held> {
        let here = self.inner.held_here(ask).await;
        match (here, held) {
            (Some(here), _) => Some(here),
            (None, Some(held)) => self.inner.judge(ask, held.entry, Tier::Local).await,
            (None, None) => None,
        }
    }

    /// Whether what was fetched may be given to a caller who came at `arrived`: if it was asked for after he came, or if nothing that it is
    /// about has changed until now.
    async fn still_holds(&self, guards: &Guards, seat: Seat, arrived: Instant) -> bool {
        if guards.began.is_some_and(|began| seat == Seat::Starter || arrived < began) {
            return true;
        }
        let Some(tags) = &guards.tags else { return false };
        matches!(self.inner.tags.check(tags).await, Check::Valid | Check::Unverified)
    }
}

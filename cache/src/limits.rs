//! How often something may happen, and how much of it at once: counted by one process alone, or through Redis by all of them together.
//!
//! One step charges several limits, all of them or none. With Redis that is one script by the time of Redis, in one slot of a cluster. While
//! Redis cannot be asked, each limit says what becomes of those who ask; [`WhenGone::LocalShare`] goes on with the part of this process.

mod counts;
mod gcra;
mod permits;
mod replicas;
mod shared;
mod subject;

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use self::{
    counts::{Counts, Item, Refusal, judge},
    gcra::Quota,
    permits::Permits,
    shared::{Answer, Shared, Verdict},
};
use crate::redis::{Gone, Redis};

pub use self::{
    permits::{Permit, Pool},
    replicas::Replicas,
    subject::{Subject, Subjects},
};

/// How many counts one process remembers: about 10 MiB of them.
const COUNTS_MAX: usize = 100_000;
/// Whoever is refused because Redis is gone may try again then: it is tried again at least so often.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How often something may happen. In any time `t` no more than `burst` and `rate` times `t`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub name: Arc<str>,
    pub rate: Rate,
    pub burst: u64,
    pub when_gone: WhenGone,
}

/// So much in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub amount: u64,
    pub per: Duration,
}

/// What becomes of those who ask while Redis cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenGone {
    /// This process lets through its share: the limit divided by the replicas that were last seen.
    LocalShare,
    /// They are refused.
    Closed,
    /// They are let through uncounted.
    Open,
}

/// What one step takes from one count of a limit.
#[derive(Debug, Clone)]
pub struct Charge {
    pub limit: Arc<Limit>,
    /// Made with the limit's name.
    pub subject: Subject,
    pub cost: u64,
}

/// Whose counts a step takes from. Each of them has one slot of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side<'a> {
    /// Counts of callers of one tenant.
    Caller { tenant: Subject },
    /// Counts and permits of one downstream.
    Downstream { name: &'a str },
    /// Counts of an address, which is the first subject that is charged.
    Addresses,
}

/// How a count stands after a step.
#[derive(Debug, Clone)]
pub struct Standing {
    pub limit: Arc<Limit>,
    pub remaining: u64,
    /// Until it is whole again.
    pub reset: Duration,
    /// Counted by this process alone, against its share, because Redis is gone.
    pub alone: bool,
}

/// Why a step took nothing.
#[derive(Debug, Clone)]
pub enum Denied {
    Over {
        limit: Arc<Limit>,
        /// Whoever waits so long and is alone then gets through.
        wait: Duration,
        /// It was known here, and Redis was not asked.
        remembered: bool,
    },
    /// It costs more than the limit ever holds.
    Never { limit: Arc<Limit> },
    /// It cannot be counted now.
    Closed { limit: Arc<Limit>, wait: Duration },
}

/// Why a step with a permit took nothing.
#[derive(Debug, Clone)]
pub enum NoEntry {
    Denied(Denied),
    /// All permits are lent.
    NoPermit,
}

/// Counts, and lends permits. Cheap to clone; the clones are one.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    counts: Counts,
    permits: Arc<Permits>,
    shared: Option<Arc<Shared>>,
    started: Instant,
}

impl Limiter {
    /// For one process alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with(None)
    }

    /// For all processes that share this Redis, which must not evict what is counted there. In a tokio runtime.
    #[must_use]
    pub fn shared(redis: Redis) -> Self {
        Self::with(Some(Arc::new(Shared::new(redis))))
    }

    fn with(shared: Option<Arc<Shared>>) -> Self {
        let permits = Arc::new(Permits::new(shared.clone()));
        permits::keep(&permits);
        Self(Arc::new(Inner { counts: Counts::new(COUNTS_MAX), permits, shared, started: Instant::now() }))
    }

    /// Takes all of `charges`, or none.
    pub async fn admit(&self, side: Side<'_>, charges: &[Charge]) -> Result<Vec<Standing>, Denied> {
        match self.step(side, charges, None).await {
            Ok((standings, _no_permit)) => Ok(standings),
            Err(NoEntry::Denied(denied)) => Err(denied),
            Err(NoEntry::NoPermit) => unreachable!("no permit was asked for"),
        }
    }

    /// Takes all of `charges` and a permit, or nothing. Who is over a limit hears that first.
    pub async fn admit_with_permit(
        &self,
        side: Side<'_>,
        charges: &[Charge],
        pool: &Pool,
    ) -> Result<(Vec<Standing>, Permit), NoEntry> {
        let (standings, permit) = self.step(side, charges, Some(pool)).await?;
        Ok((standings, permit.expect("a step that was asked for a permit has none without it")))
    }

    /// Ends when a permit of the pool was given back since the last end of this, or when it is time to look again. Made for one who waits.
    pub async fn permit_may_be_free(&self, pool: &Pool) {
        self.0.permits.may_be_free(pool).await;
    }

    /// How the counts stand. Takes nothing.
    pub async fn standings(&self, side: Side<'_>, charges: &[Charge]) -> Vec<Standing> {
        let mut items = items(charges);
        let Some(shared) = &self.0.shared else {
            return standings(charges, &items, &self.0.counts.look(&items), self.0.now_us(), false);
        };
        if let Ok(answer) = shared.look(side, &items).await {
            return standings(charges, &items, &answer.whole_at_us, answer.now_us, false);
        }
        let Replicas { seen, rank } = self.replicas();
        for (item, charge) in items.iter_mut().zip(charges) {
            if charge.limit.when_gone == WhenGone::LocalShare {
                item.quota = item.quota.share(seen, rank);
            }
        }
        let mut standings = standings(charges, &items, &self.0.counts.look(&items), self.0.now_us(), true);
        for standing in standings.iter_mut().filter(|standing| standing.limit.when_gone == WhenGone::Closed) {
            standing.remaining = 0;
        }
        standings
    }

    /// The replicas that were last seen, this one included.
    #[must_use]
    pub fn replicas(&self) -> Replicas {
        self.0.permits.replicas()
    }

    async fn step(
        &self,
        side: Side<'_>,
        charges: &[Charge],
        pool: Option<&Pool>,
    ) -> Result<(Vec<Standing>, Option<Permit>), NoEntry> {
        let items = items(charges);
        let Some(shared) = &self.0.shared else { return self.alone(charges, &items, pool) };
        if items.is_empty() && pool.is_none() {
            return Ok((Vec::new(), None));
        }
        let Inner { counts, permits, .. } = &*self.0;
        let asked = counts
            .ask(&items, self.0.now_us(), permits.replicas().seen)
            .map_err(|refusal| denied(charges, refusal, true))?;
        let asked_us = self.0.now_us();
        let assumed = pool.map(|pool| permits.assume(pool));
        match shared.admit(side, &items, &asked.owed_us, assumed.as_ref()).await {
            Ok(answer) => self.heard(charges, &items, answer, asked_us, assumed),
            Err(gone) => {
                // Where there was no answer it may have been told, and is not told again.
                if gone == Gone::Down {
                    counts.still_owed(&items, &asked.owed_us);
                }
                if pool.is_some() && gone == Gone::Timeout && shared.redis().is_up() {
                    // The others may well go on lending all of them: whoever wants one looks again, or finds that Redis is gone.
                    return Err(NoEntry::NoPermit);
                }
                permits.gone();
                // Whatever was lent over there is given back.
                drop(assumed);
                self.by_share(charges, pool)
            }
        }
    }

    fn heard(
        &self,
        charges: &[Charge],
        items: &[Item],
        answer: Answer,
        asked_us: u64,
        mut permit: Option<Permit>,
    ) -> Result<(Vec<Standing>, Option<Permit>), NoEntry> {
        let Answer { verdict, now_us, whole_at_us, held } = answer;
        // By this process's clock, as if the answer had been here at once: what is remembered never refuses what Redis would admit.
        let here_us = self.0.now_us();
        let whole_here_us: Vec<u64> =
            whole_at_us.iter().map(|whole_at_us| asked_us + whole_at_us.saturating_sub(now_us)).collect();
        self.0.counts.heard(items, &whole_here_us, here_us, here_us - asked_us);
        if let Some(permit) = &mut permit {
            permit.answered(verdict == Verdict::Admitted, held);
        }
        match verdict {
            Verdict::Admitted => Ok((standings(charges, items, &whole_at_us, now_us, false), permit)),
            Verdict::NoPermit => Err(NoEntry::NoPermit),
            Verdict::Over => {
                let judged = judge(items, now_us, whole_at_us.iter().copied());
                Err(denied(charges, judged.err().unwrap_or(Refusal::Over { index: 0, wait_us: 1 }), false))
            }
        }
    }
}

impl Inner {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX / 4)
    }
}

impl Limiter {
    /// By this process's counts, without Redis.
    fn alone(
        &self,
        charges: &[Charge],
        items: &[Item],
        pool: Option<&Pool>,
    ) -> Result<(Vec<Standing>, Option<Permit>), NoEntry> {
        let now_us = self.0.now_us();
        let mut permit = None;
        let lend = || match pool {
            Some(pool) => {
                permit = self.0.permits.lend_here(pool);
                permit.is_some()
            }
            None => true,
        };
        match self.0.counts.charge(items, now_us, lend) {
            Ok(whole_at_us) => {
                let alone = self.0.shared.is_some();
                Ok((standings(charges, items, &whole_at_us, now_us, alone), permit))
            }
            Err(refusal) => Err(denied(charges, refusal, false)),
        }
    }

    /// While Redis cannot be asked.
    fn by_share(&self, charges: &[Charge], pool: Option<&Pool>) -> Result<(Vec<Standing>, Option<Permit>), NoEntry> {
        let closed = |limit: &Arc<Limit>| NoEntry::Denied(Denied::Closed { limit: limit.clone(), wait: TRY_AGAIN });
        if let Some(charge) = charges.iter().find(|charge| charge.limit.when_gone == WhenGone::Closed) {
            return Err(closed(&charge.limit));
        }
        let Replicas { seen, rank } = self.replicas();
        let counted: Vec<Charge> =
            charges.iter().filter(|charge| charge.limit.when_gone == WhenGone::LocalShare).cloned().collect();
        let mut items = items(&counted);
        for (item, charge) in items.iter_mut().zip(&counted) {
            item.owes_us = item.quota.takes_us(item.cost).unwrap_or_default();
            item.quota = item.quota.share(seen, rank);
            if item.quota.takes_us(item.cost).is_none() && item.owes_us > 0 {
                // All of the limit would be enough, and the share never is.
                return Err(closed(&charge.limit));
            }
        }
        self.alone(&counted, &items, pool)
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("shared", &self.0.shared.is_some()).finish_non_exhaustive()
    }
}

fn items(charges: &[Charge]) -> Vec<Item> {
    let item = |charge: &Charge| Item {
        subject: charge.subject,
        quota: Quota::new(charge.limit.rate, charge.limit.burst),
        cost: charge.cost,
        owes_us: 0,
    };
    charges.iter().map(item).collect()
}

fn standings(charges: &[Charge], items: &[Item], whole_at_us: &[u64], now_us: u64, alone: bool) -> Vec<Standing> {
    let standing = |((charge, item), whole_at_us): ((&Charge, &Item), &u64)| Standing {
        limit: charge.limit.clone(),
        remaining: item.quota.remaining(*whole_at_us, now_us),
        reset: item.quota.reset(*whole_at_us, now_us),
        alone,
    };
    charges.iter().zip(items).zip(whole_at_us).map(standing).collect()
}

fn denied(charges: &[Charge], refusal: Refusal, remembered: bool) -> NoEntry {
    let limit = |index: usize| charges[index].limit.clone();
    NoEntry::Denied(match refusal {
        Refusal::Over { index, wait_us } => {
            Denied::Over { limit: limit(index), wait: Duration::from_micros(wait_us), remembered }
        }
        Refusal::Never { index } => Denied::Never { limit: limit(index) },
        Refusal::Else => return NoEntry::NoPermit,
    })
}

#[cfg(test)]
mod tests;

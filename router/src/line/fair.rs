//! Who is next: the places at a downstream and the calls that wait for one, party by party. Pure: it is told the time, and what it gives out
//! is handed over by whoever holds it.

use std::{collections::VecDeque, time::Duration};

/// How much of the usual time one turn changes: one part in so many.
const USUAL_WEIGHT: u32 = 8;

/// Places, and those who wait for one. `P` is a party, `W` what a waiting call is told by.
#[derive(Debug, Clone)]
pub(super) struct Fair<P, W> {
    places: usize,
    waiting_max: usize,
    taken: usize,
    /// The times at which the taken places were taken, summed up.
    taken_at: Duration,
    /// How many that have a place find no way on. While there is one, nobody else gets a place: they would only wait further ahead, and by no order.
    held_up: usize,
    /// The parties that wait. The first one is next, and goes to the end with its turn.
    parties: VecDeque<Party<P, W>>,
    waiting: usize,
    tickets: u64,
    /// How long a place is usually kept; `None` before the first was given back.
    usual: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Party<P, W> {
    who: P,
    /// In the order in which they came; never empty.
    calls: VecDeque<(Ticket, W)>,
}

/// Names a waiting call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What becomes of a call that found no free place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined<W> {
    /// It waits. Where the line was full, the newest call of the party with the most of them has to go for it.
    Waits { ticket: Ticket, sent_away: Option<SentAway<W>> },
    /// It cannot wait.
    Refused(Refusal),
}

/// A call that waited and has to go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SentAway<W> {
    pub(super) waiter: W,
    pub(super) refusal: Refusal,
}

/// Why a call cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: Why,
    /// How many calls of the same party wait.
    pub(super) waiting: usize,
    /// How long it would have had to wait, as far as is known.
    pub(super) wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// As many wait as may.
    Full,
    /// Its turn would come too late.
    Hopeless,
}

/// Where a waiting call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// How many calls come before it, if none is added.
    pub(super) ahead: usize,
    /// How many of them are of its own party.
    pub(super) ahead_own: usize,
    /// How long it will wait, as far as is known.
    pub(super) wait: Duration,
}

impl<P: Eq, W> Fair<P, W> {
    pub(super) fn new(places: usize, waiting_max: usize) -> Self {
        Self {
            places: places.max(1),
            waiting_max,
            taken: 0,
            taken_at: Duration::ZERO,
            held_up: 0,
            parties: VecDeque::new(),
            waiting: 0,
            tickets: 0,
            usual: None,
        }
    }

    /// Takes a place if one is free and nobody waits for it.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let free = self.waiting == 0 && self.has_room();
        if free {
            self.occupy(now);
        }
        free
    }

    /// Lets a call of `who` wait that has `patience` until its turn must have come.
    pub(super) fn join(&mut self, who: P, patience: Duration, now: Duration, waiter: W) -> Joined<W> {
        let at = self.parties.iter().position(|party| party.who == who);
        let own = at.map_or(0, |at| self.parties[at].calls.len());
        // A party that does not wait yet would come last.
        let ahead = self.ahead(at.unwrap_or(self.parties.len()), own);
        let refusal = |why, wait| Joined::Refused(Refusal { why, waiting: own, wait });
        let wait = self.wait(ahead, now);
        if wait > patience {
            return refusal(Why::Hopeless, wait);
        }
        let mut sent_away = None;
        if self.waiting >= self.waiting_max {
            sent_away = self.send_away(own, now);
            if sent_away.is_none() {
                return refusal(Why::Full, wait);
            }
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        match at {
            Some(at) => self.parties[at].calls.push_back((ticket, waiter)),
            None => self.parties.push_back(Party { who, calls: VecDeque::from([(ticket, waiter)]) }),
        }
        self.waiting += 1;
        Joined::Waits { ticket, sent_away }
    }

    /// Gives a free place to the call that is next; to be asked until there is none.
    pub(super) fn next(&mut self, now: Duration) -> Option<W> {
        if !self.has_room() {
            return None;
        }
        let mut party = self.parties.pop_front()?;
        let (_, waiter) = party.calls.pop_front().expect("a party that waits has a call");
        if !party.calls.is_empty() {
            self.parties.push_back(party);
        }
        self.waiting -= 1;
        self.occupy(now);
        Some(waiter)
    }

    /// A waiting call gives up. Nothing where it waits no longer.
    pub(super) fn leave(&mut self, who: &P, ticket: Ticket) {
        let Some((at, index)) = self.find(who, ticket) else { return };
        self.parties[at].calls.remove(index);
        if self.parties[at].calls.is_empty() {
            self.parties.remove(at);
        }
        self.waiting -= 1;
    }

    /// A place that was taken at `since` is free again.
    pub(super) fn give_back(&mut self, since: Duration, now: Duration) {
        self.taken -= 1;
        self.taken_at = self.taken_at.saturating_sub(since);
        let took = now.saturating_sub(since);
        self.usual = Some(match self.usual {
            None => took,
            Some(usual) => (usual * (USUAL_WEIGHT - 1) + took) / USUAL_WEIGHT,
        });
    }

    /// One that has a place finds no way on.
    pub(super) fn hold_up(&mut self) {
        self.held_up += 1;
    }

    /// It has found it, or gives up.
    pub(super) fn go_on(&mut self) {
        self.held_up -= 1;
    }

    /// Where a call stands; `None` when it waits no longer.
    pub(super) fn position(&self, who: &P, ticket: Ticket, now: Duration) -> Option<Position> {
        let (at, index) = self.find(who, ticket)?;
        let ahead = self.ahead(at, index);
        Some(Position { ahead, ahead_own: index, wait: self.wait(ahead, now) })
    }

    /// Where a new call of this party would stand.
    pub(super) fn position_of_new(&self, who: &P, now: Duration) -> Position {
        let at = self.parties.iter().position(|party| party.who == *who);
        let own = at.map_or(0, |at| self.parties[at].calls.len());
        let ahead = self.ahead(at.unwrap_or(self.parties.len()), own);
        Position { ahead, ahead_own: own, wait: self.wait(ahead, now) }
    }

    pub(super) fn places(&self) -> usize {
        self.places
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    fn has_room(&self) -> bool {
        self.taken < self.places && self.held_up == 0
    }

    fn occupy(&mut self, now: Duration) {
        self.taken += 1;
        self.taken_at += now;
    }

    /// How many come before the call at `index` of the party at `at`: each other party has a turn in each round.
    fn ahead(&self, at: usize, index: usize) -> usize {
        let before = |(place, party): (usize, &Party<P, W>)| {
            if place == at { index } else { party.calls.len().min(index + usize::from(place < at)) }
        };
        let others: usize = self.parties.iter().enumerate().map(before).sum();
        if at < self.parties.len() { others } else { others + index }
    }

    /// What runs now may end at once, so only whole rounds of others are counted. A place that is kept for longer than usual says that the
    /// usual time is over: behind a system that hangs nobody waits by what was known of it before.
    fn wait(&self, ahead: usize, now: Duration) -> Duration {
        let taken = u32::try_from(self.taken.max(1)).unwrap_or(u32::MAX);
        let kept = (now * taken).saturating_sub(self.taken_at) / taken;
        let kept = if self.taken == 0 { Duration::ZERO } else { kept };
        let rounds = u32::try_from(ahead).unwrap_or(u32::MAX) / taken;
        self.usual.unwrap_or_default().max(kept).saturating_mul(rounds)
    }

    /// Makes room for a call of a party that has `own` waiting: the newest call of the party with the most goes, if that one has the most
    /// afterwards too.
    fn send_away(&mut self, own: usize, now: Duration) -> Option<SentAway<W>> {
        let lengths = self.parties.iter().map(|party| party.calls.len()).enumerate();
        let (at, most) = lengths.max_by_key(|(_, calls)| *calls)?;
        if most <= own + 1 {
            return None;
        }
        let wait = self.wait(self.ahead(at, most - 1), now);
        let (_, waiter) = self.parties[at].calls.pop_back()?;
        self.waiting -= 1;
        Some(SentAway { waiter, refusal: Refusal { why: Why::Full, waiting: most - 1, wait } })
    }

    fn find(&self, who: &P, ticket: Ticket) -> Option<(usize, usize)> {
        let at = self.parties.iter().position(|party| party.who == *who)?;
        let index = self.parties[at].calls.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        Some((at, index))
    }
}

#[cfg(test)]
mod tests;

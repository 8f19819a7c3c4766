//! What the network does now, for all connections of a proxy, and how often it did so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Chance, Fault};
use crate::observed::Observed;
use crate::random::Random;

/// What passed so far.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub accepted: u64,
    pub open: u64,
    pub bytes_to_target: u64,
    pub bytes_from_target: u64,
    pub listening: bool,
    /// How often each fault bit: exchanges that were cut or spoilt, pieces that came late, in parts or not at all.
    /// Connections that nobody accepted are seen by nobody, so [`Fault::Refuse`] is not among them.
    pub bites: BTreeMap<Fault, u64>,
}

impl Stats {
    /// How often this fault bit.
    pub fn bitten_by(&self, fault: Fault) -> u64 {
        self.bites.get(&fault).copied().unwrap_or_default()
    }

    /// How often any fault bit.
    pub fn bitten(&self) -> u64 {
        self.bites.values().sum()
    }
}

#[derive(Clone, Debug)]
pub(super) enum Plan {
    Always(Fault),
    /// So many times more, then nothing.
    Next(Fault, usize),
    Chance(Chance),
}

impl Default for Plan {
    fn default() -> Self {
        Self::Always(Fault::Pass)
    }
}

impl Plan {
    pub(super) fn refuses(&self) -> bool {
        matches!(self, Self::Always(Fault::Refuse))
    }
}

#[derive(Debug)]
pub(super) struct Network {
    plan: watch::Sender<Plan>,
    dice: Mutex<Random>,
    pub(super) stats: Observed<Stats>,
}

impl Network {
    pub(super) fn new() -> Arc<Self> {
        let dice = Mutex::new(Random::new(0, "faults"));
        Arc::new(Self { plan: watch::Sender::default(), dice, stats: Observed::default() })
    }

    pub(super) fn set(&self, plan: Plan) {
        if let Plan::Chance(chance) = &plan {
            *self.dice.lock().unwrap_or_else(PoisonError::into_inner) = Random::new(chance.seed, "faults");
        }
        self.plan.send_replace(plan);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Plan> {
        self.plan.subscribe()
    }

    /// Counts a bite; no when the fault is over meanwhile.
    pub(super) fn bites(&self, fault: Fault) -> bool {
        let mut still = true;
        self.plan.send_if_modified(|plan| match plan {
            Plan::Always(now) => {
                still = *now == fault;
                false
            }
            Plan::Next(now, left) => {
                still = *now == fault;
                *left -= usize::from(still);
                let is_over = *left == 0;
                if is_over {
                    *plan = Plan::default();
                }
                is_over
            }
            Plan::Chance(_) => false,
        });
        if still {
            self.stats.update(|stats| *stats.bites.entry(fault).or_default() += 1);
        }
        still
    }

    fn draw(&self, chance: &Chance) -> Fault {
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        match dice.chance(u64::from(chance.percent)) {
            true => *dice.pick(&chance.faults),
            false => Fault::Pass,
        }
    }
}

/// Where one connection is in its exchanges, and what befalls the one that runs.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) network: Arc<Network>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_asked: bool,
    drawn: Fault,
}

impl Course {
    pub(super) fn new(network: Arc<Network>) -> Self {
        Self { network, state: Mutex::default() }
    }

    /// A piece came from the caller. Whether it is the first of an exchange.
    pub(super) fn asked(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_asked {
            return false;
        }
        state.is_asked = true;
        if let Plan::Chance(chance) = &*self.network.plan.borrow() {
            state.drawn = self.network.draw(chance);
        }
        true
    }

    /// A piece came from the target. Whether it is the first of an answer.
    pub(super) fn answered(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.is_asked)
    }

    /// What the network does to this connection now.
    pub(super) fn fault(&self) -> Fault {
        match *self.network.plan.borrow() {
            Plan::Always(fault) | Plan::Next(fault, _) => fault,
            Plan::Chance(_) => self.state.lock().unwrap_or_else(PoisonError::into_inner).drawn,
        }
    }
}

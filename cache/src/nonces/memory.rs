//! The nonces of one process.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, PoisonError},
};

use super::{Claim, Unspent, millis};

/// How often what has expired is looked for while there is no room.
const SWEEP_EACH_MS: u64 = 1_000;

pub(super) struct Memory {
    /// What was used before is not known.
    since_ms: u64,
    held_max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// By nonce: when its signature expires.
    nonces: HashMap<[u8; 16], u64>,
    swept_ms: u64,
}

impl Memory {
    pub(super) fn new(now_ms: u64, held_max: usize) -> Self {
        Self { since_ms: now_ms, held_max, held: Mutex::default() }
    }

    pub(super) fn spend(&self, name: [u8; 16], claim: &Claim<'_>, now_ms: u64) -> Result<(), Unspent> {
        let leeway_ms = millis(claim.leeway);
        if claim.created_ms > now_ms.saturating_add(leeway_ms) {
            return Err(Unspent::Early);
        }
        if claim.expires_ms <= now_ms {
            return Err(Unspent::Late);
        }
        // It may have been used before it was made, as far as the leeway goes.
        if claim.created_ms <= self.since_ms.saturating_add(leeway_ms) {
            return Err(Unspent::Lost);
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.nonces.len() >= self.held_max && held.swept_ms.saturating_add(SWEEP_EACH_MS) <= now_ms {
            held.nonces.retain(|_, expires_ms| *expires_ms > now_ms);
            held.swept_ms = now_ms;
        }
        let is_full = held.nonces.len() >= self.held_max;
        match held.nonces.entry(name) {
            Entry::Occupied(known) if *known.get() > now_ms => Err(Unspent::Used),
            Entry::Occupied(mut expired) => {
                expired.insert(claim.expires_ms);
                Ok(())
            }
            Entry::Vacant(_) if is_full => Err(Unspent::Full),
            Entry::Vacant(free) => {
                free.insert(claim.expires_ms);
                Ok(())
            }
        }
    }
}

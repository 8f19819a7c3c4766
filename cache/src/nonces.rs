//! Which nonces of signed requests were used, known to all replicas, so that each signature counts once.
//!
//! A nonce is kept until its signature expires, and one clock decides over both: that of Redis, or without it that of this process. What
//! is not known to be unused counts as used: when the nonces were lost, by a flush, a restart or a take-over of the server, signatures
//! that were made before that was noticed are refused.

mod memory;

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;

use crate::{
    clock::Clock,
    octets::hex,
    redis::{Gone, Redis, Script},
};
use memory::Memory;

/// How often it is looked whether the nonces were lost, and how often until that was asked once.
const LOOK_EACH: Duration = Duration::from_secs(1);
const LOOK_FIRST: Duration = Duration::from_millis(100);
/// How many nonces the memory of one process holds.
const HELD_MAX: usize = 100_000;

static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("nonces/look.lua")));
static SPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("nonces/spend.lua")));

/// Which nonces were used. Clones know the same.
#[derive(Clone)]
pub struct Nonces(Arc<Inner>);

struct Inner {
    names: hmac::Key,
    place: Place,
    is_watched: AtomicBool,
}

enum Place {
    Here { memory: Memory, clock: Clock },
    Shared(Redis),
}

/// A nonce that is to be used up, and the signature it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub key_id: &'a str,
    pub nonce: &'a str,
    /// When it was signed and until when that counts, in milliseconds since 1970.
    pub created_ms: u64,
    pub expires_ms: u64,
    /// How far the clock of whoever signed may go before.
    pub leeway: Duration,
}

/// Why a nonce was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unspent {
    #[error("it was used before")]
    Used,
    #[error("the signature was made in the future")]
    Early,
    #[error("the signature has expired")]
    Late,
    /// It may have been used.
    #[error("the signature is older than what is known of nonces")]
    Lost,
    #[error("Redis, which knows the nonces, cannot be asked")]
    Gone,
    #[error("Redis may forget nonces: it evicts what must be kept")]
    Evicts,
    #[error("more nonces than the memory of one process holds")]
    Full,
}

impl Nonces {
    /// For one process alone. Its memory begins now.
    #[must_use]
    pub fn in_memory(secret: &[u8; 32]) -> Self {
        let clock = Clock::local();
        let memory = Memory::new(clock.now_ms(), HELD_MAX);
        Self::new(secret, Place::Here { memory, clock })
    }

    /// For all that share `redis`.
    #[must_use]
    pub fn shared(redis: Redis, secret: &[u8; 32]) -> Self {
        Self::new(secret, Place::Shared(redis))
    }

    fn new(secret: &[u8; 32], place: Place) -> Self {
        let names = hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self(Arc::new(Inner { names, place, is_watched: AtomicBool::new(false) }))
    }

    /// From now on a loss is noticed when it happens, and not when the next request comes. Must be called within a tokio runtime.
    pub fn watch(&self) {
        let Place::Shared(redis) = &self.0.place else { return };
        if self.0.is_watched.swap(true, Ordering::Relaxed) {
            return;
        }
        let (weak, redis) = (Arc::downgrade(&self.0), redis.clone());
        tokio::spawn(async move {
            while weak.strong_count() > 0 {
                let known = look(&redis).await.is_ok();
                tokio::time::sleep(if known { LOOK_EACH } else { LOOK_FIRST }).await;
            }
        });
    }

    /// Uses a nonce up. Only the first one of all replicas gets it.
    ///
    /// # Errors
    /// Why the signature does not count.
    pub async fn spend(&self, claim: &Claim<'_>) -> Result<(), Unspent> {
        let name = self.0.name(claim);
        match &self.0.place {
            Place::Here { memory, clock } => memory.spend(name, claim, clock.now_ms()),
            Place::Shared(redis) if redis.evicts() => Err(Unspent::Evicts),
            Place::Shared(redis) => spend(redis, name, claim).await.unwrap_or(Err(Unspent::Gone)),
        }
    }
}

async fn spend(redis: &Redis, name: [u8; 16], claim: &Claim<'_>) -> Result<Result<(), Unspent>, Gone> {
    let keys = [mark(redis), redis.key("nonces", &hex(&name))];
    let times = [claim.created_ms.to_string(), claim.expires_ms.to_string(), millis(claim.leeway).to_string()];
    let args = times.each_ref().map(String::as_bytes);
    let answer: u64 = redis.small(&SPEND, &[&keys[0], &keys[1]], &args).await?;
    Ok(match answer {
        0 => Ok(()),
        1 => Err(Unspent::Used),
        2 => Err(Unspent::Early),
        3 => Err(Unspent::Late),
        _ => Err(Unspent::Lost),
    })
}

async fn look(redis: &Redis) -> Result<(), Gone> {
    redis.small::<u64>(&LOOK, &[&mark(redis)], &[]).await.map(drop)
}

/// Which run of the server has known all nonces, and since when. Gone when they are.
fn mark(redis: &Redis) -> String {
    redis.key("nonces", "m")
}

fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

impl Inner {
    /// Nobody who reads Redis learns who signs, or with what.
    fn name(&self, claim: &Claim<'_>) -> [u8; 16] {
        let mut mac = hmac::Context::with_key(&self.names);
        // Where the id ends is a part of it.
        mac.update(&(claim.key_id.len() as u64).to_be_bytes());
        mac.update(claim.key_id.as_bytes());
        mac.update(claim.nonce.as_bytes());
        mac.sign().as_ref()[..16].try_into().expect("HMAC-SHA-256 has 32 bytes")
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces(…)")
    }
}

#[cfg(test)]
mod tests;

//! Counts, permits and replicas in Redis. Each step is one script in one slot.

use std::time::Duration;

use super::{Side, counts::Item, permits::Permit, replicas::Replicas};
use crate::{
    octets::{hex, random},
    redis::{Channel, Gone, Redis, Script},
};

/// For how long a permit is lent unless it is renewed. So long those of a process that died are missed.
pub(super) const LEASE: Duration = Duration::from_secs(6);
/// How long it is remembered that somebody waits for a permit: longer than he waits until he looks again.
const WAITING: Duration = Duration::from_secs(2);
/// How long a replica is taken to be there after it was last heard of.
const PRESENT: Duration = Duration::from_secs(5);

pub(super) struct Shared {
    redis: Redis,
    /// This replica.
    id: String,
    replicas_key: String,
    channel: String,
    admit: Script,
    renew: Script,
    release: Script,
    beat: Script,
}

/// What a step came to.
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// By Redis, like the times at which the counts are whole again.
    pub(super) now_us: u64,
    /// How many permits are lent now.
    pub(super) held: usize,
    pub(super) whole_at_us: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    Over,
    NoPermit,
}

impl Shared {
    pub(super) fn new(redis: Redis) -> Self {
        Self {
            id: hex(&random::<8>()),
            replicas_key: redis.key("limit-replicas", ""),
            channel: redis.channel(Channel::Permits),
            admit: Script::new(include_str!("admit.lua")),
            renew: Script::new(include_str!("renew.lua")),
            release: Script::new(include_str!("release.lua")),
            beat: Script::new(include_str!("beat.lua")),
            redis,
        }
    }

    pub(super) fn redis(&self) -> &Redis {
        &self.redis
    }

    pub(super) async fn admit(
        &self,
        side: Side<'_>,
        items: &[Item],
        owed_us: &[u64],
        permit: Option<&Permit>,
    ) -> Result<Answer, Gone> {
        if !self.redis.is_up() {
            return Err(Gone::Down);
        }
        let hash_tag = hash_tag(side, items);
        let mut keys = Vec::with_capacity(items.len() + 2);
        if permit.is_some() {
            keys.extend([self.redis.key(&hash_tag, PERMITS), self.redis.key(&hash_tag, WAIT)]);
        }
        keys.extend(items.iter().map(|item| self.redis.key(&hash_tag, &item.subject.hex())));
        let permits_max = permit.map_or(0, |permit| permit.pool().max);
        let mut args = vec![
            permits_max.to_string(),
            permit.map(Permit::id).unwrap_or_default().to_owned(),
            LEASE.as_micros().to_string(),
            WAITING.as_millis().to_string(),
        ];
        for (item, owed_us) in items.iter().zip(owed_us) {
            let takes_us = item.quota.takes_us(item.cost).unwrap_or(item.quota.whole_us());
            args.extend([takes_us, item.quota.whole_us(), *owed_us].map(|us| us.to_string()));
        }
        let (verdict, now_us, held, whole_at_us): (u8, u64, usize, Vec<u64>) =
            self.run(&self.admit, &keys, &args).await?;
        if whole_at_us.len() != items.len() {
            return Err(Gone::Failed);
        }
        let verdict = match verdict {
            1 => Verdict::Admitted,
            0 => Verdict::Over,
            _ => Verdict::NoPermit,
        };
        Ok(Answer { verdict, now_us, held, whole_at_us })
    }

    /// When the counts are whole again. Charges nothing.
    pub(super) async fn look(&self, side: Side<'_>, items: &[Item]) -> Result<Answer, Gone> {
        let free: Vec<Item> = items.iter().map(|item| Item { cost: 0, ..*item }).collect();
        self.admit(side, &free, &vec![0; free.len()], None).await
    }

    /// How many permits are lent, and which of `ids` still are.
    pub(super) async fn renew(&self, pool: &str, max: usize, ids: &[String]) -> Result<(usize, Vec<bool>), Gone> {
        let keys = [self.redis.key(&hash_tag(Side::Downstream { name: pool }, &[]), PERMITS)];
        let mut args = vec![max.to_string(), LEASE.as_micros().to_string()];
        args.extend_from_slice(ids);
        self.run(&self.renew, &keys, &args).await
    }

    pub(super) async fn release(&self, pool: &str, id: &str) -> Result<(), Gone> {
        let hash_tag = hash_tag(Side::Downstream { name: pool }, &[]);
        let keys = [self.redis.key(&hash_tag, PERMITS), self.redis.key(&hash_tag, WAIT)];
        let args = [id.to_owned(), self.channel.clone(), pool.to_owned()];
        self.run::<u64>(&self.release, &keys, &args).await.map(drop)
    }

    /// Says that this replica is there.
    pub(super) async fn beat(&self) -> Result<Replicas, Gone> {
        let args = [self.id.clone(), PRESENT.as_micros().to_string()];
        let (seen, rank) = self.run(&self.beat, std::slice::from_ref(&self.replicas_key), &args).await?;
        Ok(Replicas { seen, rank })
    }

    async fn run<T: redis::FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        args: &[String],
    ) -> Result<T, Gone> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        self.redis.small(script, &keys, &args).await
    }
}

const PERMITS: &str = "permits";
const WAIT: &str = "waiting";

/// What is charged in one step lies in one slot.
fn hash_tag(side: Side<'_>, items: &[Item]) -> String {
    match side {
        Side::Caller { tenant } => format!("limit-caller-{}", tenant.hex()),
        Side::Downstream { name } => format!("limit-downstream-{name}"),
        Side::Addresses => {
            format!("limit-address-{}", items.first().map(|item| item.subject.hex()).unwrap_or_default())
        }
    }
}

//! Renews what is lent, says that this replica is there, and hears of what others gave back.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Permits, Shared};
use crate::redis::{Channel, LinkState, Message, Messages};

/// How often all that is done, while it can be done.
const TICK: Duration = Duration::from_secs(1);
/// How often it is seen to that no permit outlives its lease. Waits for nothing, since a Redis that does not answer holds up the rest.
const LOOK: Duration = Duration::from_millis(250);

/// Goes on until nobody holds the permits any more. Does nothing for a process alone.
pub(in super::super) fn keep(permits: &Arc<Permits>) {
    let Some(shared) = permits.shared.clone() else { return };
    tokio::spawn(hear(shared.redis().messages(), Arc::downgrade(permits)));
    tokio::spawn(expire(Arc::downgrade(permits)));
    tokio::spawn(tick(shared, Arc::downgrade(permits)));
}

async fn tick(shared: Arc<Shared>, permits: Weak<Permits>) {
    let mut changes = shared.redis().link_changes();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
        let Some(permits) = permits.upgrade() else { return };
        if changes.borrow_and_update().state == LinkState::Down {
            permits.gone();
        }
        if let Ok(replicas) = shared.beat().await {
            *permits.replicas.lock().unwrap_or_else(PoisonError::into_inner) = replicas;
        }
        permits.renew(&shared).await;
    }
}

async fn expire(permits: Weak<Permits>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(permits) = permits.upgrade() else { return };
        let (replicas, now) = (permits.replicas(), Instant::now());
        permits.pools().values_mut().for_each(|lending| lending.expire(replicas, now));
    }
}

async fn hear(mut messages: Messages, permits: Weak<Permits>) {
    while let Some(message) = messages.next().await {
        let Some(permits) = permits.upgrade() else { return };
        match message {
            Message::Published { channel: Channel::Permits, payload } => {
                if let Some(lending) = std::str::from_utf8(&payload)
                    .ok()
                    .and_then(|pool| permits.pools().get(pool).map(|lending| lending.freed.clone()))
                {
                    lending.notify_one();
                }
            }
            Message::Published { .. } => {}
            Message::Gap => permits.pools().values().for_each(|lending| lending.freed.notify_one()),
        }
    }
}

impl Permits {
    /// Renews everything that is lent.
    async fn renew(&self, shared: &Shared) {
        let lent: Vec<_> = {
            let pools = self.pools();
            let some_lent = pools.iter().filter(|(_, lending)| lending.lent() > 0);
            some_lent.map(|(pool, lending)| (pool.clone(), lending.max, lending.ids())).collect()
        };
        for (pool, max, ids) in lent {
            let asked_at = Instant::now();
            let renewed = shared.renew(&pool, max, &ids).await;
            let mut given_back = Vec::new();
            if let Some(lending) = self.pools().get_mut(&pool) {
                match renewed {
                    Ok((held, kept)) => {
                        // One that was given back meanwhile may have been lent anew by this.
                        given_back = ids.iter().filter(|id| !lending.has(id)).cloned().collect();
                        lending.heard(held, asked_at);
                        lending.renewed(ids.into_iter().zip(kept), asked_at);
                    }
                    Err(_gone) => lending.gone(asked_at),
                }
            }
            for id in given_back {
                let _gone = shared.release(&pool, &id).await;
            }
        }
    }
}

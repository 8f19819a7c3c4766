//! What one process has lent of one pool. Pure: it takes `now`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::super::{replicas::Replicas, shared::LEASE};

/// How long after it was last renewed a permit is taken to be lost: before others can have it, with time for an attempt to be broken off.
pub(super) const UNTIL_LOST: Duration = Duration::from_millis(4_500);
/// What was heard of others so recently is taken to be so still.
const HEARD_FOR: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Lending {
    pub(super) max: usize,
    /// Told when one may be free.
    pub(super) freed: Arc<Notify>,
    lent: HashMap<String, Lease>,
    /// How many all processes had lent, and when Redis said so.
    heard: Option<(usize, Instant)>,
    gone: Option<Gone>,
}

struct Lease {
    /// When it is lost unless it is renewed; `None` for one that counts against the share of this process.
    until: Option<Instant>,
    lost: CancellationToken,
}

/// How things were when Redis was found to be gone.
#[derive(Clone, Copy)]
struct Gone {
    since: Instant,
    /// How many this process had.
    had: usize,
    /// How many nobody had, as far as that is known.
    free: usize,
}

impl Lending {
    pub(super) fn lent(&self) -> usize {
        self.lent.len()
    }

    pub(super) fn lend(&mut self, id: String, until: Option<Instant>, lost: CancellationToken) {
        self.lent.insert(id, Lease { until, lost });
    }

    pub(super) fn give_back(&mut self, id: &str) -> Option<()> {
        self.lent.remove(id).map(drop)
    }

    pub(super) fn heard(&mut self, held: usize, now: Instant) {
        self.heard = Some((held, now));
        self.gone = None;
    }

    pub(super) fn gone(&mut self, now: Instant) {
        if self.gone.is_some() {
            return;
        }
        let recent = self.heard.filter(|(_, heard_at)| now.duration_since(*heard_at) < HEARD_FOR);
        // Nothing is known of what others have: then this process keeps to what it has itself.
        let free = recent.map_or(0, |(held, _)| self.max.saturating_sub(held));
        self.gone = Some(Gone { since: now, had: self.lent.len(), free });
    }

    /// How many this process may have while Redis is gone.
    pub(super) fn here_max(&mut self, replicas: Replicas, since: Instant, now: Instant) -> usize {
        let share = replicas.share(self.max);
        let gone = *self.gone.get_or_insert(Gone { since, had: self.lent.len(), free: 0 });
        if now.duration_since(gone.since) >= LEASE { share } else { share.min(gone.had + replicas.share(gone.free)) }
    }

    /// Those that Redis is told of.
    pub(super) fn ids(&self) -> Vec<String> {
        self.lent.keys().cloned().collect()
    }

    /// Redis said of each whether it is still lent, when asked at `asked_at`. Those that are not are lost.
    pub(super) fn renewed(&mut self, answers: impl Iterator<Item = (String, bool)>, asked_at: Instant) {
        for (id, is_lent) in answers {
            if is_lent {
                if let Some(lease) = self.lent.get_mut(&id) {
                    lease.until = Some(asked_at + UNTIL_LOST);
                }
            } else if let Some(lease) = self.lent.remove(&id) {
                lease.lost.cancel();
            }
        }
    }

    /// Those that could not be renewed count against the share of this process, and beyond it they are lost.
    pub(super) fn expire(&mut self, replicas: Replicas, now: Instant) {
        let share = replicas.share(self.max);
        let mut here = self.lent.values().filter(|lease| lease.until.is_none()).count();
        self.lent.retain(|_, lease| {
            if lease.until.is_none_or(|until| now < until) {
                return true;
            }
            if here < share {
                here += 1;
                lease.until = None;
                return true;
            }
            lease.lost.cancel();
            false
        });
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.lent.contains_key(id)
    }
}

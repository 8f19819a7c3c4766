//! An open loop: so many requests a second, whatever becomes of those before. Callers that come from everywhere do not wait for each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{task::JoinSet, time::Instant};

use super::{
    Target,
    samples::{Kind, Sample, Samples},
};

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paced {
    /// Requests in a second.
    pub(crate) rate: f64,
    /// Over so many connections at most. A request that finds none free waits for one, and that counts as its time.
    pub(crate) connections: usize,
    pub(crate) period: Duration,
}

impl Paced {
    /// Asks the targets in turn.
    pub(crate) async fn run(&self, targets: &[Target]) -> Result<Samples> {
        let mut connections = Vec::with_capacity(self.connections);
        for target in targets.iter().cycle().take(self.connections) {
            connections.push((target.clone(), target.connect().await?));
        }
        let (started, next, pace) = (Instant::now(), Arc::new(AtomicU64::new(0)), *self);
        let mut asking = JoinSet::new();
        for (target, mut connection) in connections {
            let next = next.clone();
            asking.spawn(async move {
                let mut samples = Samples::default();
                loop {
                    let due = Duration::from_secs_f64(next.fetch_add(1, Ordering::Relaxed) as f64 / pace.rate);
                    if due >= pace.period {
                        return anyhow::Ok(samples);
                    }
                    let asked = due.max(until(started, due).await);
                    let (kind, says_when) = match connection.hear().await {
                        Ok(heard) => (heard.kind, heard.retry_after.is_some()),
                        Err(_lost) => {
                            connection = target.connect().await?;
                            (Kind::Wrong, false)
                        }
                    };
                    samples.push(Sample { asked, took: started.elapsed().saturating_sub(asked), kind, says_when });
                }
            });
        }
        let mut all = Samples::default();
        while let Some(ended) = asking.join_next().await {
            all.append(ended??);
        }
        Ok(all)
    }
}

/// Waits until a request is due, and gives the moment from which its answer is waited for: a timer that comes late is no fault of the answer's, a
/// connection that was not free in time is.
async fn until(started: Instant, due: Duration) -> Duration {
    if started.elapsed() >= due {
        return due;
    }
    tokio::time::sleep_until(started + due).await;
    started.elapsed()
}

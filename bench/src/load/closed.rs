//! A closed loop: each connection asks again as soon as it has its answer, and every answer is checked.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{
    Target,
    samples::{Kind, Sample, Samples},
};

/// How hard and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) period: Duration,
    /// Whether who is refused comes again when it was told to, and not at once.
    pub(crate) obedient: bool,
}

impl Load {
    /// Loads the target, after a warm-up that does not count.
    pub(crate) async fn run(&self, name: &str, target: &Target) -> Result<Seen> {
        self.run_each(name, std::slice::from_ref(target)).await
    }

    /// Loads the targets, each of which has its share of the connections.
    pub(crate) async fn run_each(&self, name: &str, targets: &[Target]) -> Result<Seen> {
        Self { period: self.period / 5, ..*self }.during(targets).await?;
        let started = Instant::now();
        let samples = self.during(targets).await?;
        Ok(Seen { name: name.to_owned(), connections: self.connections, took: started.elapsed(), samples })
    }

    /// The same without a warm-up, answer by answer.
    pub(crate) async fn during(&self, targets: &[Target]) -> Result<Samples> {
        let mut connections = Vec::with_capacity(self.connections);
        for target in targets.iter().cycle().take(self.connections) {
            connections.push(target.connect().await?);
        }
        let (started, period, obedient) = (Instant::now(), self.period, self.obedient);
        let mut loops = JoinSet::new();
        for mut connection in connections {
            loops.spawn(async move {
                let mut samples = Samples::default();
                loop {
                    let asked = started.elapsed();
                    if asked >= period {
                        return anyhow::Ok(samples);
                    }
                    let heard = connection.hear().await?;
                    let took = started.elapsed() - asked;
                    samples.push(Sample { asked, took, kind: heard.kind, says_when: heard.retry_after.is_some() });
                    if let Some(wait) = heard.retry_after.filter(|_| obedient) {
                        tokio::time::sleep(wait.min(period.saturating_sub(started.elapsed()))).await;
                    }
                }
            });
        }
        let mut all = Samples::default();
        while let Some(ended) = loops.join_next().await {
            all.append(ended??);
        }
        Ok(all)
    }
}

/// What a load came to.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    name: String,
    connections: usize,
    took: Duration,
    samples: Samples,
}

impl Seen {
    /// Answers in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.samples.len() as f64 / self.took.as_secs_f64()
    }

    /// What so much of the answers stayed under.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.samples.latency_ms_of_all(quantile)
    }

    /// Answers that were not right.
    pub(crate) fn wrong(&self) -> usize {
        self.samples.len() - self.samples.count(Kind::Right)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.rate();
        write!(
            f,
            "{:<32} {:>4} connections  {rate:>8.0} /s  p50 {:>7.2} ms  p99 {:>7.2} ms  max {:>7.2} ms  wrong answers {}",
            self.name,
            self.connections,
            self.latency_ms(0.5),
            self.latency_ms(0.99),
            self.latency_ms(1.0),
            self.wrong()
        )
    }
}

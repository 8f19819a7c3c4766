//! Several ways to ask for the same beside each other, in one run.

use std::fmt;

use anyhow::Result;
use serde_json::json;

use crate::load::{Load, Seen, Target};

pub(crate) const ROUNDS: usize = 3;
/// Each connection asks for one of them. One for all would let calls share a look into Redis, which callers rarely do.
const MERCHANTS: usize = 16;

/// One way to ask.
#[derive(Debug)]
pub(crate) struct Way {
    name: &'static str,
    targets: Vec<Target>,
}

impl Way {
    /// Asks a tool of this name about merchants.
    pub(crate) fn new(name: &'static str, url: &str, tool: &str) -> Result<Self> {
        let target = |merchant: usize| {
            let id = format!("M-{merchant:04}");
            Target::call(url, tool, &json!({ "merchant_id": id }), &id)
        };
        Ok(Self { name, targets: (1..=MERCHANTS).map(target).collect::<Result<_>>()? })
    }

    pub(crate) async fn longest_answer(&self) -> Result<usize> {
        let mut longest = 0;
        for target in &self.targets {
            longest = longest.max(target.connect().await?.ask().await?.len());
        }
        Ok(longest)
    }
}

/// All ways in turn, and again, so that what else the machine does falls on all of them; each beside the first. Gives how many answers were wrong.
pub(crate) async fn compare(load: &Load, ways: &[Way]) -> Result<usize> {
    let mut ratios: Vec<Vec<Ratio>> = ways.iter().map(|_| Vec::new()).collect();
    let mut wrong = 0;
    for round in 1..=ROUNDS {
        println!("round {round}");
        let mut first = None;
        for (way, ratios) in ways.iter().zip(&mut ratios) {
            let seen = load.run_each(way.name, &way.targets).await?;
            println!("{seen}");
            wrong += seen.wrong();
            let first = first.get_or_insert_with(|| seen.clone());
            ratios.push(Ratio::of(&seen, first));
        }
    }
    println!("beside the first, the median of {ROUNDS} rounds");
    for (way, mut ratios) in ways.iter().zip(ratios) {
        ratios.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        println!("{:<32} {}", way.name, ratios[ROUNDS / 2]);
    }
    Ok(wrong)
}

/// One way by another.
struct Ratio {
    rate: f64,
    p50: f64,
    p99: f64,
}

impl Ratio {
    fn of(seen: &Seen, first: &Seen) -> Self {
        let latency = |quantile| seen.latency_ms(quantile) / first.latency_ms(quantile);
        Self { rate: seen.rate() / first.rate(), p50: latency(0.5), p99: latency(0.99) }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.2} x the rate  {:>6.2} x p50  {:>6.2} x p99", self.rate, self.p50, self.p99)
    }
}

//! What a load came to, answer by answer.

use std::time::Duration;

/// What an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Right,
    /// The router said that it would not, and why.
    Refused,
    Wrong,
}

/// One answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// When it was asked for, since the start of the load.
    pub(super) asked: Duration,
    pub(super) took: Duration,
    pub(super) kind: Kind,
    /// Whether it said when to come again.
    pub(super) says_when: bool,
}

/// The answers to one load, in no order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    all: Vec<Sample>,
}

impl Samples {
    pub(super) fn push(&mut self, sample: Sample) {
        self.all.push(sample);
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.all.append(&mut others.all);
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.of(kind).count()
    }

    /// Those that were asked for in this time of the load.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> Self {
        let within = |sample: &&Sample| (from..to).contains(&sample.asked);
        Self { all: self.all.iter().filter(within).copied().collect() }
    }

    /// How many of a kind took as long as that.
    pub(crate) fn count_of_those_that_took(&self, kind: Kind, took: std::ops::Range<Duration>) -> usize {
        self.of(kind).filter(|sample| took.contains(&sample.took)).count()
    }

    /// When the first of a kind was there, since the start.
    pub(crate) fn first(&self, kind: Kind) -> Option<Duration> {
        self.of(kind).map(|sample| sample.asked + sample.took).min()
    }

    /// When the last of a kind was there, since the start.
    pub(crate) fn last(&self, kind: Kind) -> Option<Duration> {
        self.of(kind).map(|sample| sample.asked + sample.took).max()
    }

    /// When the last of all was there, since the start.
    pub(crate) fn took(&self) -> Duration {
        self.all.iter().map(|sample| sample.asked + sample.took).max().unwrap_or_default()
    }

    /// How many refusals did not say when to come again.
    pub(crate) fn refused_without_when(&self) -> usize {
        self.of(Kind::Refused).filter(|sample| !sample.says_when).count()
    }

    /// What so much of the answers of a kind stayed under; 0 where there are none.
    pub(crate) fn latency_ms(&self, kind: Kind, quantile: f64) -> f64 {
        quantile_ms(self.of(kind), quantile)
    }

    /// The same over all answers.
    pub(crate) fn latency_ms_of_all(&self, quantile: f64) -> f64 {
        quantile_ms(self.all.iter(), quantile)
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Sample> {
        self.all.iter().filter(move |sample| sample.kind == kind)
    }
}

fn quantile_ms<'a>(samples: impl Iterator<Item = &'a Sample>, quantile: f64) -> f64 {
    let mut took: Vec<Duration> = samples.map(|sample| sample.took).collect();
    if took.is_empty() {
        return 0.0;
    }
    let rank = ((took.len() as f64 * quantile).ceil() as usize).clamp(1, took.len()) - 1;
    let (_, took, _) = took.select_nth_unstable(rank);
    took.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::{Duration, Kind, Sample, Samples};

    #[test]
    fn quantiles_are_taken_by_rank_within_a_kind() {
        let mut samples = Samples::default();
        for ms in 1..=100 {
            let kind = if ms <= 10 { Kind::Refused } else { Kind::Right };
            let took = Duration::from_millis(ms);
            samples.push(Sample { asked: Duration::ZERO, took, kind, says_when: true });
        }
        let of_all = [0.0, 0.5, 0.99, 1.0].map(|quantile| samples.latency_ms_of_all(quantile));
        assert_eq!(of_all, [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(samples.latency_ms(Kind::Refused, 0.5), 5.0);
        assert_eq!(samples.latency_ms(Kind::Wrong, 0.5), 0.0);
    }
}

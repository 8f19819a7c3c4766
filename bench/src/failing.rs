//! A downstream that answers nothing but 503: how often it is asked all the same.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Extent,
    judge::Judge,
    load::{Kind, Paced, Samples, Target},
    responder::{Responder, answer},
    weir::Weir,
};

const READS: f64 = 100.0;
/// By default a tenth of the calls may be repeated, and three a second besides.
const REPEATS: (f64, f64) = (0.1, 3.0);
/// A wait of the breaker is a second at first and longer later; a part of it is random.
const WINDOW_MIN: Duration = Duration::from_millis(500);

/// Runs it with the breaker, and with one that never opens, so that only the budget of repeats is left.
pub(crate) async fn run(extent: Extent) -> Result<()> {
    let period = extent.period(30, 5);
    let mut judge = Judge::new(extent.is_short);
    println!("503 for {} s at {READS} reads/s, as it is by default", period.as_secs());
    let scene = Scene::start(json!({})).await?;
    let failing = scene.fail(period, &mut judge).await?;
    failing.breaker_opened(&mut judge);
    failing.budget_held(&mut judge);
    scene.recovers(&mut judge).await?;
    println!("the same with a breaker that never opens");
    let never = json!({ "breaker": { "failures_in_a_row": 1_000_000, "attempts_min": 1_000_000 } });
    let failing = Scene::start(never).await?.fail(period, &mut judge).await?;
    judge.bit(
        format!("some were repeated: {} attempts for {} calls", failing.attempts.len(), failing.calls.len()),
        failing.attempts.len() > failing.calls.len(),
    );
    failing.budget_held(&mut judge);
    judge.finish()
}

struct Scene {
    downstream: Responder,
    _weir: Weir,
    started: Instant,
    target: Target,
}

/// What callers and the downstream saw while it failed.
struct Failing {
    began: Instant,
    period: Duration,
    calls: Samples,
    attempts: Vec<Instant>,
    /// How many calls earned repeats, and for how long: those before count too, since what was not used then may be used now.
    calls_of_all: usize,
    time_of_all: Duration,
}

impl Scene {
    async fn start(settings: Value) -> Result<Self> {
        let downstream = Responder::start(good()).await?;
        let mut config = json!({
            "mainframe": { "base_url": downstream.url, "encoding": "utf8", "concurrency": 64 },
            "tools": {
                "order_status": {
                    "description": "The status of one order.",
                    "effect": "read",
                    "request": { "path": "/orders/{order_id}/status" },
                    "arguments": { "order_id": { "type": "string" } },
                },
            },
        });
        if let (Some(config), Some(settings)) = (config.as_object_mut(), settings.as_object()) {
            config.extend(settings.clone());
        }
        let started = Instant::now();
        let weir = Weir::start(&json!({ "downstreams": { "orders": config } })).await?;
        weir.until_tools(1).await?;
        let target = Target::call(&weir.endpoint, "orders__order_status", &json!({ "order_id": "1" }), "delivered")?;
        Ok(Self { downstream, _weir: weir, started, target })
    }

    async fn fail(&self, period: Duration, judge: &mut Judge) -> Result<Failing> {
        let paced = Paced { rate: READS, connections: 32, period };
        let before = Paced { period: period / 5, ..paced }.run(std::slice::from_ref(&self.target)).await?;
        judge.bit("every read was answered before", before.count(Kind::Right) == before.len());
        self.downstream.take_asked();
        self.downstream.answer(answer("503 Service Unavailable", "text/plain", b"NOT NOW\n"));
        let began = Instant::now();
        let calls = paced.run(std::slice::from_ref(&self.target)).await?;
        let attempts = self.downstream.take_asked();
        judge.bit("none was answered while it failed", calls.count(Kind::Right) == 0 && !attempts.is_empty());
        let (calls_of_all, time_of_all) = (before.len() + calls.len(), self.started.elapsed());
        Ok(Failing { began, period, calls, attempts, calls_of_all, time_of_all })
    }

    /// It is called again without a person.
    async fn recovers(&self, judge: &mut Judge) -> Result<()> {
        self.downstream.answer(good());
        let began = Instant::now();
        let mut connection = self.target.connect().await?;
        while connection.hear().await?.kind != Kind::Right {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if began.elapsed() > Duration::from_secs(70) {
                break;
            }
        }
        let took = began.elapsed().as_secs_f64();
        judge.holds(format!("it was called again {took:.1} s after it was well, at most 60 s"), took < 61.0);
        Ok(())
    }
}

impl Failing {
    fn breaker_opened(&self, judge: &mut Judge) {
        let first_refusal = self.calls.first(Kind::Refused);
        judge.bit("calls were refused without an attempt", first_refusal.is_some());
        let opened = first_refusal.unwrap_or(self.period);
        judge.in_time(
            format!("it was left alone {:.0} ms after it began to fail, at most 1000", opened.as_secs_f64() * 1000.0),
            opened <= Duration::from_secs(1),
        );
        // Those that ran when it opened had begun before.
        let settled = self.began + opened + Duration::from_millis(100);
        let probes: Vec<Instant> = self.attempts.iter().filter(|at| **at > settled).copied().collect();
        let gaps: Vec<Duration> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let waits: Vec<String> = gaps.iter().map(|gap| format!("{:.1} s", gap.as_secs_f64())).collect();
        println!(
            "{} attempts before, {} probes after; between the probes: {}",
            self.attempts.len() - probes.len(),
            probes.len(),
            waits.join(", ")
        );
        judge.holds("no more than one probe in each window", gaps.iter().all(|gap| *gap >= WINDOW_MIN));
    }

    fn budget_held(&self, judge: &mut Judge) {
        let repeats = self.attempts.len().saturating_sub(self.calls.len());
        // Those of the first second are there at once.
        let most = REPEATS.0 * self.calls_of_all as f64 + REPEATS.1 * (1.0 + self.time_of_all.as_secs_f64());
        let (attempts, calls) = (self.attempts.len(), self.calls.len());
        judge.holds(
            format!("{attempts} attempts for {calls} calls: {repeats} repeats, at most {most:.0} since the start"),
            repeats as f64 <= most,
        );
        let unsaid = self.calls.refused_without_when();
        judge.holds(format!("every refusal said when to come again: {unsaid} did not"), unsaid == 0);
    }
}

fn good() -> bytes::Bytes {
    answer("200 OK", "application/json", br#"{"order": 1, "status": "delivered"}"#)
}

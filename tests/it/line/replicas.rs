//! Permits: several real processes in front of one mainframe never ask it more at once than it bears.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    mainframe::{Mainframe, MainframeOptions, Seen},
    redis::{PrivateRedis, RedisOptions},
};
use tests::{Fleet, until};
use tokio::{task::JoinSet, time::Instant};

const MASTER: &str = "5f0c2a9d7be14863a1d09e47c3b85f6290e4d1ab77c86f35";
const REPLICAS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn replicas_together_ask_a_mainframe_no_more_than_it_bears_and_all_get_their_answers() -> Result<()> {
    const PERMITS: usize = 4;
    const CALLS: usize = 60;
    let scene = Scene::start(PERMITS, Duration::from_millis(100)).await?;
    let mut calls = JoinSet::new();
    (0..CALLS).for_each(|number| scene.call(&mut calls, number % REPLICAS));
    while let Some(answer) = calls.join_next().await {
        let answer = answer??;
        ensure!(answer["isError"] != true, "{answer}");
    }
    let seen = scene.mainframe.seen();
    // Void, unless it was as busy as it may be.
    ensure!((seen.over_limit, seen.running_max, seen.finished) == (0, PERMITS, CALLS as u64), "{}", told(&seen));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn permits_of_a_replica_that_is_killed_come_back_and_are_never_had_twice() -> Result<()> {
    const PERMITS: usize = 8;
    const HELD: usize = 5;
    const BACK_WITHIN: Duration = Duration::from_secs(15);
    let scene = Scene::start(PERMITS, Duration::from_secs(3600)).await?;
    let mut calls = JoinSet::new();
    (0..HELD).for_each(|_| scene.call(&mut calls, 0));
    scene.mainframe.wait_until(|seen| seen.running == HELD).await?;
    (0..2 * PERMITS).for_each(|number| scene.call(&mut calls, 1 + number % 2));
    scene.mainframe.wait_until(|seen| seen.running == PERMITS).await?;
    until("the others wait", async || {
        let mut waiting = 0.0;
        for replica in 1..REPLICAS {
            let (taken, line) = (
                scene.fleet.metric(replica, "weir_places_taken", ""),
                scene.fleet.metric(replica, "weir_line_waiting", ""),
            );
            waiting += taken.await? + line.await?;
        }
        Ok((waiting == (2 * PERMITS) as f64).then_some(()))
    })
    .await?;
    ensure!(scene.mainframe.seen().requests.len() == PERMITS, "{}", told(&scene.mainframe.seen()));
    let killed = Instant::now();
    scene.fleet.signal(0, "KILL").await?;
    // The mainframe notices at once; whoever lent the permits does not know.
    let seen = scene.mainframe.wait_until(|seen| seen.dropped == HELD as u64).await?;
    ensure!(seen.over_limit == 0 && seen.requests.len() == PERMITS, "{}", told(&seen));
    until("the permits are back", async || {
        let seen = scene.mainframe.seen();
        Ok((seen.requests.len() == PERMITS + HELD && seen.running == PERMITS).then_some(()))
    })
    .await
    .with_context(|| told(&scene.mainframe.seen()))?;
    ensure!(killed.elapsed() < BACK_WITHIN, "{:?}", killed.elapsed());
    let seen = scene.mainframe.seen();
    ensure!((seen.over_limit, seen.running_max) == (0, PERMITS), "{}", told(&seen));
    Ok(())
}

fn told(seen: &Seen) -> String {
    let Seen { running, running_max, over_limit, finished, dropped, .. } = seen;
    format!(
        "{} requests: {running} run, {running_max} at most, {over_limit} over, {finished} finished, {dropped} dropped",
        seen.requests.len()
    )
}

/// Three replicas in front of one mainframe.
struct Scene {
    fleet: Arc<Fleet>,
    key: String,
    mainframe: Mainframe,
    _redis: PrivateRedis,
}

impl Scene {
    async fn start(permits: usize, delay: Duration) -> Result<Self> {
        let options = MainframeOptions { delay: delay..=delay, concurrency: permits, ..MainframeOptions::default() };
        let mainframe = Mainframe::start("127.0.0.1:0", options).await?;
        let redis = PrivateRedis::start(RedisOptions::default()).await?;
        let dir = tempfile::tempdir()?;
        tests::private_file(dir.path().join("redis_url"), redis.url())?;
        tests::private_file(dir.path().join("master"), MASTER)?;
        let key = tests::keys(dir.path(), &[("someone", &["all"])])?.remove(0);
        let config = json!({
            "secrets": { "master": { "file": "master" } },
            "redis": { "url": { "file": "redis_url" }, "command_timeout": "1s", "value_timeout": "2s" },
            "identity": { "api_keys": { "file": "keys.yaml" } },
            "policy": { "roles": { "all": { "allow": ["*"] } } },
            "deadlines": { "default": "9m" },
            "downstreams": { "mainframe": {
                "mainframe": { "base_url": mainframe.url, "concurrency": permits, "attempt_timeout": "9m" },
                "tools": { "ask": { "effect": "read", "request": { "path": "/orders/1/status" } } },
            } },
        });
        let fleet = Fleet::start(REPLICAS, dir, config).await?;
        Ok(Self { fleet: Arc::new(fleet), key, mainframe, _redis: redis })
    }

    /// Calls the mainframe through one of the replicas.
    fn call(&self, calls: &mut JoinSet<Result<Value>>, replica: usize) {
        let (fleet, key) = (self.fleet.clone(), self.key.clone());
        calls.spawn(async move { fleet.call(replica, &key, "mainframe__ask", json!({})).await?.result() });
    }
}

//! Redis, or all replicas, gone and back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use rand::RngExt as _;
use serde_json::{Value, json};
use standins::{
    proxy::{Fault, FaultProxy},
    redis::{PrivateRedis, RedisOptions},
};
use tests::{PATIENCE, TestRouter, until};
use tokio::task::JoinHandle;

use super::{Got, Scene, config, folder_with_keys, long, reads, redis_settings, writes_to};

const KEYS: usize = 12;

/// Callers who read all the time, at all replicas. Any error of a read ends its caller, and the test.
struct Load {
    callers: Vec<JoinHandle<Result<()>>>,
    ends: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    fn start(scene: &Arc<Scene>) -> Self {
        let (ends, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let caller = |replica: usize| {
            let (scene, ends, answered) = (scene.clone(), ends.clone(), answered.clone());
            tokio::spawn(async move {
                while !ends.load(Ordering::Relaxed) {
                    let key = format!("k{}", rand::rng().random_range(0..KEYS));
                    scene.get(replica, &key).await?.good()?;
                    answered.fetch_add(1, Ordering::Relaxed);
                    // About two hundred calls a second in all, so that there is room for what is tested.
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                Ok(())
            })
        };
        let callers = (0..6).map(|number| caller(number % 3)).collect();
        Self { callers, ends, answered }
    }

    /// Waits for so many more answers.
    async fn goes_on_for(&self, answers: usize) -> Result<()> {
        let goal = self.answered.load(Ordering::Relaxed) + answers;
        until("the load goes on", async || {
            ensure!(self.callers.iter().all(|caller| !caller.is_finished()), "a caller has met an error");
            Ok((self.answered.load(Ordering::Relaxed) >= goal).then_some(()))
        })
        .await
    }

    async fn end(self) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        for caller in self.callers {
            tokio::time::timeout(PATIENCE, caller).await???;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_redis_forgets_everything_under_load_each_key_is_fetched_once_more() -> Result<()> {
    let redis = PrivateRedis::start(RedisOptions::default()).await?;
    // Strict, so that each replica sees at the next hit what is gone.
    let mut strict = long();
    strict["tags"] = json!(["strict:{key}"]);
    let scene = Arc::new(Scene::start_on(&redis, 3, "flush", json!({ "get": reads(strict) })).await?);
    let load = Load::start(&scene);
    load.goes_on_for(20 * KEYS).await?;
    let before = scene.source.seen();
    ensure!(before.reads.values().all(|reads| *reads == 1) && before.reads.len() == KEYS, "{before:?}");
    redis.command(&["FLUSHALL"]).await?;
    let refetched = scene.source.wait_until(|seen| seen.reads.values().all(|reads| *reads > 1));
    tokio::select! {
        seen = refetched => drop(seen?),
        failed = load.goes_on_for(usize::MAX / 2) => failed?,
    }
    load.goes_on_for(20 * KEYS).await?;
    load.end().await?;
    let seen = scene.source.seen();
    // One each, and one for a fetch that was under way.
    ensure!(seen.reads.values().all(|reads| (2..=3).contains(reads)), "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_all_restart_find_what_redis_kept_and_fetch_once_what_it_did_not() -> Result<()> {
    let mut redis = PrivateRedis::start(RedisOptions::default()).await?;
    let mut scene = Scene::start_on(&redis, 3, "restart", json!({ "get": reads(long()) })).await?;
    for key in 0..KEYS {
        scene.get(key % 3, &format!("k{key}")).await?.good()?;
    }
    scene.fleet.restart_all().await?;
    for call in 0..3 * KEYS {
        let got = scene.get(call / KEYS, &format!("k{}", call % KEYS)).await?.good()?;
        ensure!(got.state() == Some("fresh"), "{}", got.result);
    }
    ensure!(scene.source.seen().all() == KEYS, "warm: {:?}", scene.source.seen());

    redis.restart_empty().await?;
    scene.fleet.restart_all().await?;
    for call in 0..3 * KEYS {
        scene.get(call / KEYS, &format!("k{}", call % KEYS)).await?.good()?;
    }
    let seen = scene.source.seen();
    ensure!(seen.reads.values().all(|reads| *reads == 2), "empty: {seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_serves_as_soon_as_redis_is_there_or_is_known_not_to_be() -> Result<()> {
    let redis = PrivateRedis::start(RedisOptions::default()).await?;
    let scene = Scene::start_on(&redis, 1, "start", json!({ "get": reads(long()) })).await?;
    scene.get(0, "k").await?.good()?;
    let proxy = FaultProxy::start(redis.addr()).await?;
    let read = async |url: String| {
        let (dir, keys) = folder_with_keys(&[("someone", &["all"])])?;
        let tools = json!({ "get": reads(long()) });
        let config = config(&scene.source, &url, dir.path(), redis_settings("start"), tools)?;
        let router = TestRouter::ready_in(dir, &config.to_string()).await?;
        Got::of(&router.call(Some(&keys[0]), "source__get", json!({ "key": "k" })).await?)?.good()
    };
    // It takes several of these to connect.
    proxy.set(Fault::Latency(Duration::from_millis(100))).await?;
    let got = read(redis.url_at(proxy.addr())).await?;
    ensure!(got.state() == Some("fresh") && scene.source.seen().all() == 1, "it did not wait: {}", got.result);
    for fault in [Fault::Blackhole, Fault::Refuse] {
        proxy.set(fault).await?;
        let reads_before = scene.source.seen().all();
        let got = read(redis.url_at(proxy.addr())).await?;
        ensure!(got.mark.is_none() && scene.source.seen().all() == reads_before + 1, "{fault:?}: {}", got.result);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_under_load_costs_no_call_and_is_used_again_when_it_is_back() -> Result<()> {
    let mut redis = PrivateRedis::start(RedisOptions::default()).await?;
    let mut tagged = long();
    tagged["tags"] = json!(["relaxed:{key}"]);
    let mut strict = long();
    strict["tags"] = json!(["strict:{key}"]);
    let tools = json!({
        "get": reads(tagged),
        "set": writes_to(&["relaxed:{key}"]),
        "get_strict": reads(strict),
        "set_strict": writes_to(&["strict:{key}"]),
    });
    let scene = Arc::new(Scene::start_on(&redis, 3, "killed", tools).await?);
    let load = Load::start(&scene);
    load.goes_on_for(10 * KEYS).await?;
    for replica in 0..2 {
        ensure!(scene.call(replica, "get_strict", json!({ "key": "s" })).await?.good()?.value == Some(0));
    }

    redis.kill().await?;
    let of_a_write = |key: &str, value: u64| -> Value { json!({ "key": key, "value": value }) };
    // A strict write is refused before it is sent; once the replica knows, a strict read goes to the downstream.
    let writes_before = scene.source.seen().writes;
    let refused = scene.call(0, "set_strict", of_a_write("s", 5)).await?;
    ensure!(refused.is_error && scene.source.seen().writes == writes_before, "{}", refused.result);
    let reads_before = scene.source.seen().of("/value/s");
    let bypassed = scene.call(1, "get_strict", json!({ "key": "s" })).await?.good()?;
    ensure!(bypassed.mark.is_none() && scene.source.seen().of("/value/s") > reads_before, "{}", bypassed.result);
    // A relaxed one is done, and what it ends is told when Redis is back.
    scene.call(0, "set", of_a_write("w", 1)).await?.good()?;
    for replica in 0..3 {
        ensure!(scene.get(replica, "w").await?.good()?.value == Some(1));
    }
    scene.call(0, "set", of_a_write("w", 2)).await?.good()?;
    ensure!(scene.get(0, "w").await?.good()?.value == Some(2), "where it was written it is known");
    ensure!(scene.fleet.metric(0, "weir_redis_up", "").await? == 0.0, "operators can be told");
    load.goes_on_for(20 * KEYS).await?;

    redis.restart().await?;
    let mut probe = 0;
    until("what one replica fetches is found by another", async || {
        probe += 1;
        let key = format!("probe-{probe}");
        scene.get(0, &key).await?.good()?;
        Ok(scene.get(1, &key).await?.good()?.mark.map(drop))
    })
    .await?;
    until("the writes of meanwhile are known to all", async || {
        let mut current = true;
        for replica in 0..3 {
            current &= scene.get(replica, "w").await?.good()?.value == Some(2);
        }
        Ok(current.then_some(()))
    })
    .await?;
    until("strict writes are done again", async || {
        Ok((!scene.call(0, "set_strict", of_a_write("s", 6)).await?.is_error).then_some(()))
    })
    .await?;
    ensure!(scene.call(2, "get_strict", json!({ "key": "s" })).await?.good()?.value == Some(6));
    ensure!(scene.fleet.metric(0, "weir_redis_up", "").await? == 1.0);
    load.goes_on_for(10 * KEYS).await?;
    load.end().await
}

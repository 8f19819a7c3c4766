//! One fetch for all who ask for the same, in all replicas.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use serde_json::json;
use standins::{
    mainframe::{Mainframe, MainframeOptions},
    redis::{PrivateRedis, RedisOptions},
};
use tests::{Ask, TestRouter, until};

use super::{Got, MASTER, REDIS, Scene, long, reads, redis_settings};

/// At each of three replicas.
const CALLERS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn one_cold_key_is_fetched_once_for_all_who_ask_at_three_replicas() -> Result<()> {
    let scene = Arc::new(Scene::start(3, "cold", json!({ "get": reads(long()) })).await?);
    scene.source.hold(true);
    let calls: Vec<_> = (0..3 * CALLERS)
        .map(|caller| {
            let scene = scene.clone();
            tokio::spawn(async move { scene.get(caller % 3, "cold").await?.good() })
        })
        .collect();
    // Void, unless all of them wait at the same time.
    until_waiting(&scene, 3 * CALLERS).await?;
    ensure!(scene.source.seen().running == 1, "{:?}", scene.source.seen());
    scene.source.hold(false);
    for call in calls {
        let got = call.await??;
        ensure!(got.fetch == Some(1), "{}", got.result);
    }
    let seen = scene.source.seen();
    ensure!(seen.all() == 1 && seen.running_max == 1, "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_replica_that_fetches_is_killed_another_one_takes_over() -> Result<()> {
    let mut scene = Scene::start(3, "taken", json!({ "get": reads(long()) })).await?;
    scene.source.hold(true);
    let (fleet, source, key) = (&scene.fleet, &scene.source, &scene.key);
    let ask = |replica: usize| fleet.call(replica, key, "source__get", json!({ "key": "taken" }));
    let doomed = ask(0);
    let others = (0..2 * CALLERS).map(|caller| async move {
        // Only then is it certain who fetches.
        source.wait_until(|seen| seen.running == 1).await?;
        Got::of(&ask(1 + caller % 2).await?)?.good()
    });
    let kill = async {
        until_waiting(&scene, 2 * CALLERS).await?;
        ensure!(scene.source.seen().all() == 1, "void: the others did not wait: {:?}", scene.source.seen());
        scene.fleet.signal(0, "KILL").await?;
        scene.source.wait_until(|seen| seen.all() == 2).await?;
        scene.source.hold(false);
        anyhow::Ok(())
    };
    let (dead, killed, waiting) = tokio::join!(doomed, kill, join_all(others));
    killed?;
    ensure!(dead.is_err(), "void: the one that was killed answered");
    for got in waiting {
        let got = got?;
        ensure!(got.fetch == Some(2), "{}", got.result);
    }
    ensure!(scene.source.seen().all() == 2, "{:?}", scene.source.seen());
    scene.fleet.start_again(0).await?;
    ensure!(scene.get(0, "taken").await?.fetch == Some(2), "the one that died finds what the other fetched");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_of_a_slow_system_ask_it_once_for_each_key_and_never_more_than_it_bears() -> Result<()> {
    const KEYS: usize = 16;
    const CAP: usize = 8;
    const ORDER_FIRST: i64 = (1 << 53) + 1;
    let delay = Duration::from_millis(700);
    let options = MainframeOptions { delay: delay..=delay, concurrency: CAP, ..MainframeOptions::default() };
    let mainframe = Mainframe::start("127.0.0.1:0", options).await?;
    let redis = REDIS.get_or_try_init(|| PrivateRedis::start(RedisOptions::default())).await?;
    let dir = tempfile::tempdir()?;
    tests::private_file(dir.path().join("redis_url"), redis.url())?;
    tests::private_file(dir.path().join("master"), MASTER)?;
    let config = json!({
        "secrets": { "master": { "file": "master" } },
        "redis": redis_settings("slow"),
        "identity": { "local": { "roles": ["all"] } },
        "policy": { "roles": { "all": { "allow": ["*"] } } },
        "downstreams": { "mainframe": {
            "mainframe": { "base_url": mainframe.url, "concurrency": CAP },
            "tools": { "order_status": {
                "effect": "read",
                "request": { "path": "/orders/{order}/status" },
                "arguments": { "order": { "type": "integer" } },
                "cache": { "fresh_for": "10m", "partition": "shared" },
            } },
        } },
    });
    let router = Arc::new(TestRouter::ready_in(dir, &config.to_string()).await?);
    // What is fetched before that is not for those who come after it.
    until("Redis is connected", async || {
        let cache = router.admin("/admin/cache").await?.json()?;
        Ok((cache["redis"]["state"] == "up").then_some(()))
    })
    .await?;
    let calls = (0..500).map(|caller| {
        let router = router.clone();
        let order = ORDER_FIRST + 2 * (caller % i64::try_from(KEYS).expect("a small number"));
        tokio::spawn(async move {
            // As a stream it would have signs of life in it, where the mainframe is as slow as a real one.
            let ask = Ask::call("mainframe__order_status", json!({ "order": order })).accept("application/json");
            let answer = router.ask(&ask).await?;
            let got = Got::of(&answer)?.good()?;
            ensure!(answer.text.contains(&order.to_string()), "{order}: {}", got.result);
            anyhow::Ok(got)
        })
    });
    let mut marks = HashMap::<_, usize>::new();
    for got in try_join_all(calls).await? {
        *marks.entry(got?.state().map(str::to_owned)).or_default() += 1;
    }
    let seen = mainframe.seen();
    let told =
        format!("{} requests, {} at once, {} over: {marks:?}", seen.requests.len(), seen.running_max, seen.over_limit);
    ensure!(seen.requests.len() == KEYS && seen.over_limit == 0, "{told}");
    // Void, unless the cap was reached.
    ensure!(seen.running_max == CAP, "{told}");
    Ok(())
}

/// Waits until so many calls wait for a fetch, over all replicas.
async fn until_waiting(scene: &Scene, callers: usize) -> Result<()> {
    let waiting = until("all callers wait", async || {
        let waiting = scene.fleet.figure_of_all("waiters").await?;
        Ok((waiting >= callers as u64).then_some(()))
    });
    waiting.await.with_context(|| format!("the source saw {:?}", scene.source.seen()))
}

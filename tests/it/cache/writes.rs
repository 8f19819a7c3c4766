//! What is read after a write.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use rand::RngExt as _;
use serde_json::{Value, json};
use tests::until;

use super::{Scene, reads, writes_to};

/// How far behind a relaxed tag may be.
const RELAXED: Duration = Duration::from_secs(1);

fn tools() -> Value {
    let cache = |tag: &str| json!({ "fresh_for": "10m", "stale_while_refreshing": "20m", "tags": [tag] });
    json!({
        "get_strict": reads(cache("strict:{key}")),
        "set_strict": writes_to(&["strict:{key}"]),
        "get_relaxed": reads(cache("relaxed:{key}")),
        "set_relaxed": writes_to(&["relaxed:{key}"]),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_at_any_replica_misses_an_acknowledged_write_of_a_strict_tag() -> Result<()> {
    const WORKERS: usize = 8;
    const ROUNDS: u64 = 25;
    let scene = Arc::new(Scene::start(3, "strict", tools()).await?);
    let workers = (0..WORKERS).map(|worker| {
        let scene = scene.clone();
        tokio::spawn(async move {
            let (key, mut hits) = (format!("key-{worker}"), 0);
            for round in 1..=ROUNDS {
                let set = json!({ "key": key, "value": round });
                scene.call_any("set_strict", set).await?.good()?;
                for _ in 0..4 {
                    let got = scene.call_any("get_strict", json!({ "key": key })).await?.good()?;
                    ensure!(got.value == Some(round), "{key} was set to {round}: {}", got.result);
                    hits += u64::from(got.mark.is_some());
                }
            }
            Ok(hits)
        })
    });
    let mut hits = 0;
    for worker in try_join_all(workers).await? {
        hits += worker?;
    }
    let read = WORKERS as u64 * ROUNDS * 4;
    ensure!(hits * 2 > read, "void: only {hits} of {read} reads were hits");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_misses_a_write_of_a_relaxed_tag_for_a_second_at_most_and_never_where_it_was_written() -> Result<()> {
    const KEYS: usize = 60;
    let scene = Arc::new(Scene::start(3, "relaxed", tools()).await?);
    let rounds = (0..KEYS).map(|key| {
        let scene = scene.clone();
        tokio::spawn(async move {
            let key = format!("key-{key}");
            let read = |replica| scene.call(replica, "get_relaxed", json!({ "key": key }));
            for replica in 0..3 {
                read(replica).await?.good()?;
            }
            let writer = rand::rng().random_range(0..3);
            scene.call(writer, "set_relaxed", json!({ "key": key, "value": 7 })).await?.good()?;
            let own = read(writer).await?.good()?;
            ensure!(own.value == Some(7), "where it was written: {}", own.result);
            let others = try_join_all([read((writer + 1) % 3), read((writer + 2) % 3)]).await?;
            let stale = others.iter().filter(|got| got.value != Some(7)).count();
            // Not to wait for something: the promise is about this very second.
            tokio::time::sleep(RELAXED).await;
            for replica in 0..3 {
                let got = read(replica).await?.good()?;
                ensure!(got.value == Some(7), "a second later, at {replica}, written at {writer}: {}", got.result);
                ensure!(got.mark.is_some(), "void: no hit: {}", got.result);
            }
            Ok(stale)
        })
    });
    let mut stale = 0;
    for round in try_join_all(rounds).await? {
        stale += round?;
    }
    println!("{stale} of {} reads right after a write at another replica missed it", 2 * KEYS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_read_that_began_before_a_write_is_dead_when_it_lands() -> Result<()> {
    for family in ["strict", "relaxed"] {
        let scene = Scene::start(2, &format!("slow-{family}"), tools()).await?;
        let (get, set) = (format!("get_{family}"), format!("set_{family}"));
        scene.source.hold(true);
        let (slow, written) = tokio::join!(scene.call(0, &get, json!({ "key": "k" })), async {
            scene.source.wait_until(|seen| seen.running == 1).await?;
            let written = scene.call(1, &set, json!({ "key": "k", "value": 5 })).await?.good();
            scene.source.hold(false);
            written
        });
        written?;
        let slow = slow?.good()?;
        ensure!(slow.value == Some(0), "void: the slow read saw the write: {}", slow.result);
        until("both replicas know of the write", async || {
            let mut current = true;
            for replica in 0..2 {
                let got = scene.call(replica, &get, json!({ "key": "k" })).await?.good()?;
                let is_current = got.value == Some(5);
                ensure!(is_current || (family == "relaxed" && got.mark.is_some()), "{family}: {}", got.result);
                current &= is_current;
            }
            Ok(current.then_some(()))
        })
        .await
        .context(family)?;
    }
    Ok(())
}

//! Redis, which counts for all replicas, gone and back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::json;
use standins::redis::{PrivateRedis, RedisOptions};
use tests::until;

use super::shared::Together;

/// What one kind of call came to so far.
#[derive(Default)]
struct Came {
    admitted: AtomicUsize,
    refused: AtomicUsize,
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_limit_does_what_the_config_says_of_it_and_all_count_again_when_it_is_back() -> Result<()> {
    let limits = json!([
        { "name": "goes-on", "match": "raw__get", "per": "caller", "rate": "1000/s" },
        { "name": "is-closed", "match": "raw__export", "per": "caller", "rate": "1000/s", "redis_gone": "closed" },
        { "name": "is-open", "match": "raw__list", "per": "caller", "rate": "3/d", "redis_gone": "open" },
    ]);
    let mut redis = PrivateRedis::start(RedisOptions::default()).await?;
    let scene = Arc::new(Together::start(&redis, 2, limits).await?);
    let (came, ends) = (Arc::<Came>::default(), Arc::<AtomicBool>::default());
    // About a hundred calls a second of the tool whose limit goes on.
    let load = tokio::spawn({
        let (scene, came, ends) = (scene.clone(), came.clone(), ends.clone());
        async move {
            while !ends.load(Ordering::Relaxed) {
                for replica in 0..2 {
                    match scene.tries(replica, "ann", "get").await? {
                        None => came.admitted.fetch_add(1, Ordering::Relaxed),
                        Some(_) => came.refused.fetch_add(1, Ordering::Relaxed),
                    };
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        }
    });
    let goes_on = async |more: usize| {
        let goal = came.admitted.load(Ordering::Relaxed) + more;
        until("the load goes on", async || {
            ensure!(!load.is_finished(), "the load has met an error");
            Ok((came.admitted.load(Ordering::Relaxed) >= goal).then_some(()))
        })
        .await
    };
    goes_on(20).await?;
    for replica in 0..2 {
        ensure!(scene.tries(replica, "ann", "export").await?.is_none());
        ensure!(scene.tries(replica, "ann", "list").await?.is_none());
    }
    ensure!(scene.tries(0, "ann", "list").await?.is_none());
    ensure!(scene.tries(1, "ann", "list").await?.as_deref() == Some("is-open"), "counted while Redis is there");

    redis.kill().await?;
    for replica in 0..2 {
        until("what is closed is refused", async || {
            Ok((scene.tries(replica, "ann", "export").await?.as_deref() == Some("is-closed")).then_some(()))
        })
        .await?;
        let plain = scene.plain(replica, "ann", "export").await?;
        let told = plain.json()?;
        ensure!(plain.status == 503 && told["outcome"] == "uncounted", "{plain:?}");
        ensure!(
            told["detail"].as_str().is_some_and(|text| text.contains("`is-closed`") && text.contains("Redis")),
            "{told}"
        );
        ensure!(
            plain.headers.contains_key("retry-after") && told["_meta"]["weir/limit"]["name"] == "is-closed",
            "{plain:?}"
        );
        ensure!(scene.tries(replica, "bob", "list").await?.is_none());
    }
    for _ in 0..10 {
        ensure!(scene.tries(0, "bob", "list").await?.is_none(), "what is open is not counted");
    }
    goes_on(50).await?;

    redis.restart().await?;
    for replica in 0..2 {
        until("what was closed is counted again", async || {
            Ok(scene.tries(replica, "ann", "export").await?.is_none().then_some(()))
        })
        .await?;
    }
    goes_on(20).await?;
    ends.store(true, Ordering::Relaxed);
    load.await??;
    ensure!(
        came.refused.load(Ordering::Relaxed) == 0,
        "{} of what goes on were refused",
        came.refused.load(Ordering::Relaxed)
    );
    Ok(())
}

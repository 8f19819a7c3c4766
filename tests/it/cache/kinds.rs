//! Each kind of Redis, through whole replicas.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use standins::redis::{MASTER_NAME, RedisCluster, RedisOptions, SentinelSet};
use tests::until;

use super::{Scene, long, reads, redis_settings, writes_to};

fn tools() -> Value {
    let mut cache = long();
    cache["tags"] = json!(["strict:{key}", "relaxed:{key}"]);
    json!({ "get": reads(cache), "set": writes_to(&["strict:{key}", "relaxed:{key}"]) })
}

fn options() -> RedisOptions {
    RedisOptions { password: true, ..RedisOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_what_a_cluster_holds_also_when_a_slot_moves() -> Result<()> {
    let cluster = RedisCluster::start(3, options()).await?;
    let mut redis = redis_settings("cluster");
    redis["kind"] = json!("cluster");
    let scene = Scene::start_with(&cluster.url(), redis, 2, tools()).await?;
    shares(&scene, 0..20).await?;
    // The slot of the generations of all tags, which every strict hit asks for.
    let slot = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "cluster:{tags}"]).await?.integer()?;
    let slot = u16::try_from(slot)?;
    let holder = cluster.holder_of(slot).await?;
    ensure!(
        cluster.nodes[holder].command(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).await?.integer()? > 0,
        "void: the generations lie elsewhere"
    );
    cluster.move_slot(slot, (holder + 1) % 3).await?;
    shares(&scene, 20..30).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_the_sentinels_to_another_master_and_no_strict_read_is_old() -> Result<()> {
    let mut set = SentinelSet::start(options()).await?;
    let mut redis = redis_settings("sentinel");
    (redis["kind"], redis["master_name"]) = (json!("sentinel"), json!(MASTER_NAME));
    redis["server_password"] = json!({ "file": "server_password" });
    let password = set.password().unwrap_or_default().to_owned();
    let scene = Scene::start_beside(&[("server_password", &password)], &set.url(), redis, 2, tools()).await?;
    shares(&scene, 0..10).await?;
    let gone = set.kill_master().await?;
    set.until_another_than(gone).await?;
    until("strict writes are done again", async || {
        let value = 900;
        Ok((!scene.call(0, "set", json!({ "key": "k0", "value": value })).await?.is_error).then_some(()))
    })
    .await?;
    for replica in [1, 0] {
        let got = scene.get(replica, "k0").await?.good()?;
        ensure!(got.value == Some(900), "{}", got.result);
    }
    until("both replicas share again", async || {
        scene.get(0, "k1").await?.good()?;
        Ok(scene.get(1, "k1").await?.good()?.mark.map(drop))
    })
    .await?;
    shares(&scene, 10..20).await
}

/// What one replica fetches, the other finds, and what one writes, the other knows of at once.
async fn shares(scene: &Scene, keys: std::ops::Range<u64>) -> Result<()> {
    for number in keys {
        let key = format!("k{number}");
        let first = scene.get(0, &key).await?.good()?;
        let second = scene.get(1, &key).await?.good()?;
        ensure!(first.fetch == second.fetch && second.state() == Some("fresh"), "{}", second.result);
        scene.call(1, "set", json!({ "key": key, "value": number + 100 })).await?.good()?;
        for replica in [0, 1, 0] {
            let got = scene.get(replica, &key).await?.good()?;
            ensure!(got.value == Some(number + 100), "{key} at {replica}: {}", got.result);
        }
    }
    Ok(())
}

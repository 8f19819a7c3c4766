use std::path::Path;

use anyhow::{Result, ensure};

use super::{MASTER_NAME, PrivateRedis, RedisCluster, RedisOptions, Reply, SentinelSet};

async fn set(redis: &PrivateRedis, key: &str, value: &str) -> Result<()> {
    ensure!(redis.command(&["SET", key, value]).await?.text()? == "OK");
    Ok(())
}

async fn get(redis: &PrivateRedis, key: &str) -> Result<Reply> {
    redis.command(&["GET", key]).await
}

#[tokio::test]
async fn it_keeps_what_it_confirmed_through_a_kill_unless_it_is_told_to_forget() -> Result<()> {
    let mut redis = PrivateRedis::start(RedisOptions { password: true, ..RedisOptions::default() }).await?;
    let dir = redis.dir.path().to_owned();
    let (url, kept) = (redis.url(), Reply::Bytes(b"kept".to_vec()));
    ensure!(!format!("{redis:?}").contains(url.split([':', '@']).nth(2).expect("a password")), "a password in Debug");
    set(&redis, "key", "kept").await?;
    ensure!(redis.command(&["LPUSH", "key", "1"]).await.is_err(), "an error of Redis is an error");

    redis.kill().await?;
    ensure!(get(&redis, "key").await.is_err(), "nobody answers after a kill");
    redis.restart().await?;
    ensure!(get(&redis, "key").await? == kept && redis.url() == url);
    redis.restart().await?;
    ensure!(get(&redis, "key").await? == kept, "a clean stop loses nothing either");
    redis.restart_empty().await?;
    ensure!(get(&redis, "key").await? == Reply::Nil);

    drop(redis);
    ensure!(!dir.exists(), "{} is left behind", dir.display());
    Ok(())
}

#[tokio::test]
async fn a_paused_one_is_silent_goes_on_later_and_leaves_nothing_behind() -> Result<()> {
    let redis = PrivateRedis::start(RedisOptions::default()).await?;
    set(&redis, "key", "value").await?;
    redis.pause().await?;
    let mut asked = Box::pin(get(&redis, "key"));
    let silence = std::time::Duration::from_millis(200);
    ensure!(tokio::time::timeout(silence, &mut asked).await.is_err(), "it answers while it is paused");
    redis.resume().await?;
    ensure!(asked.await? == Reply::Bytes(b"value".to_vec()), "the one who waited is answered");

    redis.pause().await?;
    let (dir, process) = (redis.dir.path().to_owned(), format!("/proc/{}", redis.process_id));
    drop(redis);
    ensure!(!dir.exists() && !Path::new(&process).exists(), "a paused one stays");
    Ok(())
}

#[tokio::test]
async fn sentinels_make_the_replica_master_when_the_master_is_gone() -> Result<()> {
    let mut set_of = SentinelSet::start(RedisOptions { password: true, ..RedisOptions::default() }).await?;
    ensure!(set_of.password().is_some() && set_of.url().matches(',').count() == 2);
    ensure!(set_of.master().await? == 0, "{MASTER_NAME}");
    set(&set_of.servers[0], "key", "value").await?;
    ensure!(set_of.servers[0].command(&["WAIT", "1", "5000"]).await?.integer()? == 1);

    let gone = set_of.kill_master().await?;
    set_of.until_another_than(gone).await?;
    ensure!(get(&set_of.servers[1], "key").await? == Reply::Bytes(b"value".to_vec()));
    set(&set_of.servers[1], "key", "other").await?;

    Ok(())
}

#[tokio::test]
async fn a_cluster_sends_to_the_node_that_has_the_slot_also_after_a_move() -> Result<()> {
    let cluster = RedisCluster::start(3, RedisOptions { password: true, ..RedisOptions::default() }).await?;
    let slot = u16::try_from(cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", "key"]).await?.integer()?)?;
    let holder = cluster.holder_of(slot).await?;
    let other = (holder + 1) % 3;
    set(&cluster.nodes[holder], "key", "value").await?;
    let refused = format!("{:#}", get(&cluster.nodes[other], "key").await.expect_err("it is not there"));
    ensure!(refused.contains("MOVED"), "{refused}");

    cluster.move_slot(slot, other).await?;
    ensure!(cluster.holder_of(slot).await? == other);
    ensure!(get(&cluster.nodes[other], "key").await? == Reply::Bytes(b"value".to_vec()));
    let refused = format!("{:#}", get(&cluster.nodes[holder], "key").await.expect_err("it is gone"));
    ensure!(refused.contains("MOVED"), "{refused}");
    Ok(())
}

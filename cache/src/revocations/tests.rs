//! Against a real server.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use standins::redis::{PrivateRedis, RedisOptions};

use super::{Reached, Revocations};
use crate::{redis::Kind, testing::redis_at};

const PATIENCE: Duration = Duration::from_secs(20);

async fn replica(server: &PrivateRedis) -> Result<Revocations> {
    let redis = redis_at(Kind::Single, server.url()).await?;
    let replica = Revocations::shared(redis);
    replica.heard(PATIENCE).await;
    Ok(replica)
}

async fn until_revoked(replica: &Revocations, id: &str) -> Result<()> {
    let mut changes = replica.changes();
    let seen = async {
        while !replica.is_revoked(id) {
            changes.changed().await?;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, seen).await.with_context(|| format!("{id} is not revoked everywhere"))?
}

#[tokio::test]
async fn what_one_replica_revokes_no_replica_accepts() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let (one, other) = (replica(&server).await?, replica(&server).await?);
    assert!(!one.is_revoked("a") && !other.is_revoked("a"));
    assert_eq!(one.revoke("a", PATIENCE).await, Reached::Everywhere);
    assert!(one.is_revoked("a"));
    until_revoked(&other, "a").await?;
    assert!(replica(&server).await?.is_revoked("a"), "one that starts later knows it before it serves");
    Ok(())
}

#[tokio::test]
async fn a_redis_that_forgot_is_told_again_by_who_knows() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let (one, other) = (replica(&server).await?, replica(&server).await?);
    one.revoke("a", PATIENCE).await;
    until_revoked(&other, "a").await?;
    server.command(&["FLUSHALL"]).await?;
    // As many are in the list again as were lost, and they are others.
    assert_eq!(other.revoke("b", PATIENCE).await, Reached::Everywhere);
    until_revoked(&one, "b").await?;
    let late = replica(&server).await?;
    until_revoked(&late, "a").await?;
    until_revoked(&late, "b").await
}

#[tokio::test]
async fn a_new_revocation_counts_however_many_old_ones_there_are() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let one = replica(&server).await?;
    one.revoke("first", PATIENCE).await;
    let fill = "local list = redis.call('KEYS', '*revoked*')[1]
        for at = 1, 10050 do redis.call('ZADD', list, at, 'old' .. at) end
        redis.call('DEL', redis.call('KEYS', '*version*')[1])
        return redis.call('ZCARD', list)";
    let filled = server.command(&["EVAL", fill, "0"]).await?.integer()?;
    assert_eq!(filled, 10_051);
    // Both are full of old ones before the new one comes.
    let other = replica(&server).await?;
    until_revoked(&one, "old10050").await?;
    until_revoked(&other, "old10050").await?;
    assert_eq!(one.revoke("new", PATIENCE).await, Reached::Everywhere);
    until_revoked(&other, "new").await?;
    assert!(one.is_revoked("new") && one.is_revoked("first") && other.is_revoked("first"));
    assert!(one.all().len() <= 10_002 && other.all().len() <= 10_002, "{} {}", one.all().len(), other.all().len());
    Ok(())
}

#[tokio::test]
async fn the_last_use_is_the_one_of_any_replica() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let (one, other) = (replica(&server).await?, replica(&server).await?);
    let before = SystemTime::now() - Duration::from_millis(1);
    one.used("a");
    let seen = async {
        loop {
            if let Some(at) = other.last_uses().await?.get("a") {
                return Ok::<_, crate::redis::Gone>(*at);
            }
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, seen).await?? >= before);
    Ok(())
}

#[tokio::test]
async fn without_redis_it_counts_in_this_process() {
    let alone = Revocations::in_memory();
    assert_eq!(alone.revoke("a", PATIENCE).await, Reached::Everywhere);
    assert!(alone.is_revoked("a") && !alone.is_revoked("b"));
    alone.used("b");
    assert_eq!(alone.last_uses().await.expect("there is nobody to ask").len(), 1);
}

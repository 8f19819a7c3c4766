//! More than one server.

use standins::redis::{MASTER_NAME, RedisCluster, SentinelSet};

use super::*;

async fn on_sentinels(set: &SentinelSet) -> Result<Replica> {
    let password = set.password().map(SecretString::from);
    let kind = redis::Kind::Sentinel { master_name: MASTER_NAME.to_owned(), user: None, password };
    Replica::start(kind, set.url()).await
}

#[tokio::test]
async fn a_strict_write_waits_for_a_replica_of_the_server_and_is_refused_without() -> Result<()> {
    let set = SentinelSet::start(RedisOptions::default()).await?;
    let replica = on_sentinels(&set).await?;
    let tag = strict("account:1");
    let pending = replica.tags.begin(&[tag], &[], PENDING).await?;
    assert_eq!(pending.end(&[], Settled::Yes).await, Raised::Everywhere);

    let following = 1 - set.master().await?;
    set.servers[following].pause().await?;
    let refused = replica.tags.begin(&[tag], &[], PENDING).await;
    assert_eq!(refused.err(), Some(Unannounced));
    assert!(replica.tags.before(&[tag], &[]).await.storable(), "what was not sent is not pending");
    assert!(replica.tags.begin(&[relaxed("ticket:1")], &[], PENDING).await.is_ok());
    // A replica that hangs does not make the server look slow, however many writes there are.
    let strict_tags = [tag];
    let many = (0..20).map(|_| replica.tags.begin(&strict_tags, &[], PENDING));
    assert!(futures_util::future::join_all(many).await.iter().all(Result::is_err));
    assert!(replica.redis.is_up());
    assert!(replica.tags.before(&[tag], &[]).await.storable());
    set.servers[following].resume().await?;
    until("it is acknowledged again", async || replica.tags.begin(&[tag], &[], PENDING).await.is_ok()).await?;
    Ok(())
}

#[tokio::test]
async fn what_another_server_remembers_counts_for_nothing_and_marks_are_still_there() -> Result<()> {
    let mut set = SentinelSet::start(RedisOptions::default()).await?;
    let replica = on_sentinels(&set).await?;
    let entry = replica.store(&[strict("account:1")]).await?;
    let _pending = replica.tags.begin(&[strict("account:2")], &[], PENDING).await?;
    let before = set.kill_master().await?;
    replica.until_link(LinkState::Down).await?;
    assert_eq!(replica.check(&entry).await, Check::Unknowable);
    set.until_another_than(before).await?;
    replica.until_link(LinkState::Up).await?;
    assert_eq!(replica.check(&entry).await, Check::Moved);
    assert!(!replica.tags.before(&[strict("account:2")], &[]).await.storable());
    assert_eq!(replica.check(&replica.store(&[strict("account:1")]).await?).await, Check::Valid);
    Ok(())
}

#[tokio::test]
async fn in_a_cluster_all_is_the_same() -> Result<()> {
    let cluster = RedisCluster::start(3, RedisOptions::default()).await?;
    let here = Replica::start(redis::Kind::Cluster, cluster.url()).await?;
    let there = Replica::start(redis::Kind::Cluster, cluster.url()).await?;
    let tags = [strict("account:1"), strict("customer:1"), relaxed("ticket:1"), relaxed("weir:all")];
    for round in 0..5 {
        let entry = here.store(&tags).await?;
        let of_relaxed = here.store(&tags[2..]).await?;
        assert_eq!(there.check(&entry).await, Check::Valid);
        until_known(&there, &of_relaxed).await?;
        let raised = if round % 2 == 0 { tags[1] } else { tags[2] };
        let pending = here.tags.begin(&[raised], &[], PENDING).await?;
        assert!(!there.tags.before(&tags, &[]).await.storable());
        pending.end(&[], Settled::Yes).await;
        assert_eq!(here.check(&entry).await, Check::Moved);
        until("it has moved", async || there.check(&entry).await == Check::Moved).await?;
    }
    Ok(())
}

//! Redis loses what it had, does not answer, or is not there.

use super::*;

#[tokio::test]
async fn after_flushall_old_entries_are_dead_and_new_ones_live() -> Result<()> {
    let (server, replicas) = started(2).await?;
    let tags = [strict("account:1"), relaxed("weir:all")];
    let old = replicas[0].store(&tags).await?;
    server.command(&["FLUSHALL"]).await?;
    assert_eq!(replicas[1].check(&old).await, Check::Moved);
    let new = replicas[1].store(&tags).await?;
    for replica in &replicas {
        assert_eq!(replica.check(&new).await, Check::Valid, "whatever a view knew of before");
        assert_eq!(replica.check(&old).await, Check::Moved);
    }
    Ok(())
}

#[tokio::test]
async fn a_reading_that_came_too_late_costs_no_fetch() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let limit = Duration::from_millis(500);
    let here = Replica::start_with(redis::Kind::Single, server.url(), limit).await?;
    let there = Replica::start_with(redis::Kind::Single, server.url(), limit).await?;
    let tags = [strict("account:1"), relaxed("weir:all")];
    let goes_on = async || {
        // Longer than one reading may take.
        tokio::time::sleep(limit * 3 / 2).await;
        server.resume().await
    };
    server.pause().await?;
    let (resumed, entry) = tokio::join!(goes_on(), here.store(&tags));
    resumed?;
    let entry = entry?;
    server.pause().await?;
    let (resumed, check) = tokio::join!(goes_on(), there.check(&entry));
    resumed?;
    assert_eq!(check, Check::Valid);
    Ok(())
}

#[tokio::test]
async fn while_redis_is_gone_relaxed_entries_are_unverified_and_strict_ones_unknowable() -> Result<()> {
    let (mut server, replicas) = started(2).await?;
    let [here, there] = &replicas[..] else { unreachable!("two were started") };
    let of_strict = here.store(&[strict("account:1"), relaxed("weir:all")]).await?;
    let of_relaxed = here.store(&[relaxed("ticket:1"), relaxed("weir:all")]).await?;
    let of_other = here.store(&[relaxed("ticket:2"), relaxed("weir:all")]).await?;
    server.kill().await?;
    here.until_link(LinkState::Down).await?;
    there.until_link(LinkState::Down).await?;

    assert_eq!(here.check_at_once(&of_strict), Some(Check::Unknowable));
    assert_eq!(here.check_at_once(&of_relaxed), Some(Check::Unverified));
    assert!(!here.tags.before(&[strict("account:1")], &[]).await.storable());
    let refused = here.tags.begin(&[relaxed("ticket:1"), strict("account:1")], &[], PENDING).await;
    assert_eq!(refused.err(), Some(Unannounced));

    // What this process stores alone, it serves alone.
    let alone = here.store(&[relaxed("ticket:1"), relaxed("weir:all")]).await?;
    assert_eq!(here.check_at_once(&alone), Some(Check::Unverified));
    let pending = here.tags.begin(&[relaxed("ticket:1")], &[relaxed("ticket:*")], PENDING).await?;
    assert_eq!(here.check_at_once(&of_relaxed), Some(Check::Moved), "its own raise counts at once");
    assert_eq!(here.check_at_once(&alone), Some(Check::Moved));
    assert!(!here.tags.before(&[relaxed("ticket:1")], &[]).await.storable(), "a write is under way");
    assert!(!here.tags.before(&[], &[relaxed("ticket:*")]).await.storable());
    assert_eq!(pending.end(&[relaxed("ticket:3")], Settled::Yes).await, Raised::Queued);
    let after_the_write = here.store(&[relaxed("ticket:1"), relaxed("weir:all")]).await?;
    assert_eq!(here.check_at_once(&after_the_write), Some(Check::Unverified));
    assert_eq!(here.check_at_once(&of_other), Some(Check::Unverified));
    assert_eq!(there.check_at_once(&of_relaxed), Some(Check::Unverified), "nobody could tell");

    server.restart().await?;
    for replica in &replicas {
        replica.until_link(LinkState::Up).await?;
    }
    for replica in &replicas {
        for entry in [&of_strict, &of_relaxed, &of_other, &alone, &after_the_write] {
            assert_eq!(replica.check(entry).await, Check::Moved, "from another life of the server, or from nobody's");
        }
    }
    Ok(())
}

#[tokio::test]
async fn while_redis_is_silent_the_view_serves_for_a_second_and_raises_wait() -> Result<()> {
    let (server, _) = started(0).await?;
    let timeout = Duration::from_millis(200);
    let here = Replica::start_with(redis::Kind::Single, server.url(), timeout).await?;
    let there = Replica::start_with(redis::Kind::Single, server.url(), timeout).await?;
    let entry = here.store(&[relaxed("ticket:1"), relaxed("weir:all")]).await?;
    let other = here.store(&[relaxed("ticket:2"), relaxed("weir:all")]).await?;
    for replica in [&here, &there] {
        until_known(replica, &entry).await?;
    }
    server.pause().await?;
    let paused = Instant::now();
    let mut slowest = Duration::ZERO;
    until("the view is not trusted any more", async || {
        let asked = Instant::now();
        let check = here.check(&entry).await;
        slowest = slowest.max(asked.elapsed());
        assert!(matches!(check, Check::Valid | Check::Unverified), "{check:?}");
        check == Check::Unverified
    })
    .await?;
    ensure!(paused.elapsed() < Duration::from_millis(2_500), "relied on for {:?}", paused.elapsed());
    // One command, and what the machine adds.
    ensure!(slowest < timeout * 8, "a check took {slowest:?}");
    assert_eq!(here.tags.raise(&[relaxed("ticket:1")]).await, Raised::Queued);
    assert_eq!(here.check(&entry).await, Check::Moved);
    assert_eq!(here.check(&other).await, Check::Unverified);

    server.resume().await?;
    for replica in [&here, &there] {
        until("the raise is told", async || replica.check(&entry).await == Check::Moved).await?;
        until("the other is verified", async || replica.check(&other).await == Check::Valid).await?;
    }
    Ok(())
}

#[tokio::test]
async fn raises_that_waited_go_before_anything_is_read_again() -> Result<()> {
    let (server, replicas) = started(2).await?;
    let [here, there] = &replicas[..] else { unreachable!("two were started") };
    let entry = here.store(&[relaxed("ticket:1")]).await?;
    let Kind::Shared(shared) = &*here.tags.kind else { unreachable!("it is shared") };
    // As if Redis had been gone for just one raise.
    shared.leave_behind(&[relaxed("ticket:1")]);
    assert_eq!(here.check(&entry).await, Check::Moved);
    assert_eq!(here.check(&here.store(&[relaxed("ticket:1")]).await?).await, Check::Valid);
    until("the others have heard", async || there.check(&entry).await == Check::Moved).await?;
    drop(server);
    Ok(())
}

#[tokio::test]
async fn more_raises_than_fit_become_one_of_everything() -> Result<()> {
    let (mut server, replicas) = started(2).await?;
    let [here, there] = &replicas[..] else { unreachable!("two were started") };
    server.kill().await?;
    here.until_link(LinkState::Down).await?;
    there.until_link(LinkState::Down).await?;
    let entry = here.store(&[relaxed("account:1"), relaxed("weir:all")]).await?;
    for ticket in 0..16_385 {
        assert_eq!(here.tags.raise(&[relaxed(&format!("ticket:{ticket}"))]).await, Raised::Queued);
    }
    assert_eq!(here.check(&entry).await, Check::Moved);
    server.restart().await?;
    there.until_settled().await?;
    here.until_settled().await?;
    assert_eq!(here.check(&here.store(&[relaxed("weir:all")]).await?).await, Check::Valid);
    Ok(())
}

#[tokio::test]
async fn a_dropped_handle_lets_go_of_redis() -> Result<()> {
    let (server, replicas) = started(1).await?;
    until("it has heard", async || server.command(&["PUBSUB", "NUMSUB", "test:tags"]).await.is_ok()).await?;
    drop(replicas);
    let subscribers =
        async || -> Result<String> { Ok(format!("{:?}", server.command(&["PUBSUB", "CHANNELS"]).await?)) };
    until("nobody listens", async || subscribers().await.is_ok_and(|channels| !channels.contains("test:"))).await
}

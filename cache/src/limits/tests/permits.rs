//! Permits that several processes share.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const MAX: usize = 8;

fn pool() -> Pool {
    Pool { name: "mainframe".into(), max: MAX }
}

const DOWNSTREAM: Side<'static> = Side::Downstream { name: "mainframe" };

async fn permit(limiter: &Limiter) -> Result<Permit> {
    let by = Instant::now() + PATIENCE;
    while Instant::now() < by {
        match limiter.admit_with_permit(DOWNSTREAM, &[], &pool()).await {
            Ok((_, permit)) => return Ok(permit),
            Err(NoEntry::NoPermit) => limiter.permit_may_be_free(&pool()).await,
            Err(denied) => anyhow::bail!("{denied:?}"),
        }
    }
    anyhow::bail!("waited in vain for a permit")
}

async fn is_free(limiter: &Limiter) -> bool {
    limiter.admit_with_permit(DOWNSTREAM, &[], &pool()).await.is_ok()
}

async fn held(server: &PrivateRedis) -> Result<i64> {
    server.command(&["ZCARD", "test:{limit-downstream-mainframe}permits"]).await?.integer()
}

async fn until_held(server: &PrivateRedis, count: i64) -> Result<()> {
    let by = Instant::now() + PATIENCE;
    while held(server).await? != count {
        ensure!(Instant::now() < by, "{} are lent, not {count}", held(server).await?);
        sleep(BETWEEN).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_than_there_are_and_whoever_waits_is_told() -> Result<()> {
    let server = server().await?;
    let limiters = limiters::<3>(&server).await?;
    let (running, most, done) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..24 {
        let limiter = limiters[task % 3].clone();
        let (running, most, done) = (running.clone(), most.clone(), done.clone());
        tasks.spawn(async move {
            for _ in 0..10 {
                let permit = permit(&limiter).await?;
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(5)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
                drop(permit);
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    assert_eq!((most.load(Ordering::SeqCst), done.load(Ordering::SeqCst)), (MAX, 240));
    until_held(&server, 0).await
}

#[tokio::test]
async fn those_of_a_process_that_died_come_back() -> Result<()> {
    let server = server().await?;
    let [limiter] = limiters(&server).await?;
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let url = server.url();
    let taken = dying.spawn(async move {
        let limiter = connected(settings(Kind::Single, url)).await?;
        for _ in 0..5 {
            // A process that is killed gives nothing back.
            std::mem::forget(permit(&limiter).await?);
        }
        std::mem::forget(limiter);
        Ok::<_, anyhow::Error>(())
    });
    taken.await??;
    dying.shutdown_background();
    let died = Instant::now();
    let mut permits = Vec::new();
    for _ in 0..3 {
        permits.push(permit(&limiter).await?);
    }
    ensure!(!is_free(&limiter).await, "those of the dead are not free yet");
    for _ in 0..5 {
        permits.push(permit(&limiter).await?);
    }
    ensure!(died.elapsed() < Duration::from_secs(15), "back after {:?}", died.elapsed());
    assert_eq!(held(&server).await?, MAX as i64);
    Ok(())
}

#[tokio::test]
async fn none_is_missed_for_longer_than_a_lease_by_a_clock_that_was_set_back() -> Result<()> {
    let server = server().await?;
    let [limiter] = limiters(&server).await?;
    let time = server.command(&["TIME"]).await?.list()?;
    let seconds: u64 = time.into_iter().next().context("no time")?.text()?.parse()?;
    let in_an_hour = ((seconds + 3_600) * 1_000_000).to_string();
    for dead in 0..MAX {
        let id = format!("lent before {dead}");
        server.command(&["ZADD", "test:{limit-downstream-mainframe}permits", &in_an_hour, &id]).await?;
    }
    ensure!(!is_free(&limiter).await);
    let began = Instant::now();
    let _permit = permit(&limiter).await?;
    ensure!(began.elapsed() < shared::LEASE + Duration::from_secs(2), "after {:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn they_outlive_what_redis_forgets_and_are_renewed_for_as_long_as_they_are_held() -> Result<()> {
    let server = server().await?;
    let [one, other] = limiters(&server).await?;
    let mut permits = Vec::new();
    for limiter in [&one, &other].repeat(4) {
        permits.push(permit(limiter).await?);
    }
    server.command(&["FLUSHALL"]).await?;
    until_held(&server, MAX as i64).await?;
    ensure!(!is_free(&one).await && !is_free(&other).await);
    // Longer than a lease.
    let lost = permits.iter().map(|permit| Box::pin(permit.lost()));
    let lost = futures_util::future::select_all(lost);
    let lost = tokio::time::timeout(shared::LEASE + Duration::from_secs(2), lost).await.is_ok();
    ensure!(!lost, "one was lost");
    ensure!(!is_free(&one).await);
    drop(permits);
    until_held(&server, 0).await
}

#[tokio::test]
async fn without_redis_each_keeps_and_lends_its_share_and_the_rest_is_lost_in_time() -> Result<()> {
    let mut server = server().await?;
    let limiters = limiters::<2>(&server).await?;
    acquainted(&limiters).await?;
    let [one, other] = &limiters;
    let mut of_one = Vec::new();
    for _ in 0..6 {
        of_one.push(permit(one).await?);
    }
    let of_other = permit(other).await?;
    server.kill().await?;
    let killed = Instant::now();
    until(redis_of(one), LinkState::Down).await?;
    until(redis_of(other), LinkState::Down).await?;
    // One of eight was free, and half of it is none for the other: what the first has is not lent twice.
    ensure!(!is_free(one).await);
    let mut lost = 0;
    for permit in &of_one {
        let ended = tokio::time::timeout(shared::LEASE.saturating_sub(killed.elapsed()), permit.lost()).await;
        lost += usize::from(ended.is_ok());
    }
    assert_eq!(lost, 2, "four of six are its share");
    let mut others = vec![of_other];
    while others.len() < 4 {
        others.push(permit(other).await?);
    }
    ensure!(killed.elapsed() >= Duration::from_millis(4_500), "too early: {:?}", killed.elapsed());
    ensure!(!is_free(other).await, "no more than its share");
    server.restart_empty().await?;
    for limiter in &limiters {
        until(redis_of(limiter), LinkState::Up).await?;
    }
    until_held(&server, MAX as i64).await?;
    ensure!(!is_free(one).await && !is_free(other).await);
    drop((of_one, others));
    until_held(&server, 0).await
}

#[tokio::test]
async fn one_answer_that_came_too_late_lends_nothing_here_and_a_redis_that_hangs_does_not_hold_up_for_long()
-> Result<()> {
    let server = server().await?;
    let command_timeout = Duration::from_millis(50);
    let limiter = connected(Settings { command_timeout, ..settings(Kind::Single, server.url()) }).await?;
    ensure!(is_free(&limiter).await);
    server.pause().await?;
    let first = limiter.admit_with_permit(DOWNSTREAM, &[], &pool()).await;
    ensure!(matches!(first, Err(NoEntry::NoPermit)), "{:?}", first.map(drop));
    let _by_share = permit(&limiter).await?;
    ensure!(!redis_of(&limiter).is_up(), "lent while the others may have them all");
    server.resume().await
}

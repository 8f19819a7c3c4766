//! Redis is slow or gone.

use super::*;

/// How many get through until one does not.
async fn let_through(limiter: &Limiter, charge: &Charge) -> usize {
    let mut count = 0;
    while count < 1_000 && limiter.admit(side(), std::slice::from_ref(charge)).await.is_ok() {
        count += 1;
    }
    count
}

#[tokio::test]
async fn each_limit_says_what_becomes_of_those_who_ask() -> Result<()> {
    let mut server = server().await?;
    let [limiter] = limiters(&server).await?;
    server.kill().await?;
    until(redis_of(&limiter), LinkState::Down).await?;
    let closed = charge("closed", 100, 1, 100, WhenGone::Closed);
    let open = charge("open", 1, 3_600, 1, WhenGone::Open);
    let share = charge("share", 1, 3_600, 3, WhenGone::LocalShare);
    ensure!(limiter.standings(side(), std::slice::from_ref(&closed)).await[0].remaining == 0, "it is told as it is");
    let denied = limiter.admit(side(), &[share.clone(), closed]).await;
    assert!(matches!(denied, Err(Denied::Closed { limit, .. }) if &*limit.name == "closed"));
    for _ in 0..3 {
        let standings = limiter.admit(side(), &[open.clone(), share.clone()]).await.ok().context("let through")?;
        assert_eq!(standings.len(), 1, "what is not counted has no standing");
        assert!(standings[0].alone);
    }
    let denied = limiter.admit(side(), &[open.clone(), share]).await;
    assert!(matches!(denied, Err(Denied::Over { limit, .. }) if &*limit.name == "share"));
    assert_eq!(let_through(&limiter, &open).await, 1_000);
    Ok(())
}

#[tokio::test]
async fn shares_go_on_from_what_was_heard_and_redis_is_told_of_them() -> Result<()> {
    let mut server = server().await?;
    let limiters = limiters::<3>(&server).await?;
    acquainted(&limiters).await?;
    let limit = charge("hour", 30, 3_600, 30, WhenGone::LocalShare);
    for limiter in limiters.iter().cycle().take(12) {
        assert!(limiter.admit(side(), std::slice::from_ref(&limit)).await.is_ok());
    }
    // Each heard of ten or more of them; eighteen are left, and eighteen is the most that all together may let through, and two for what the first had not heard.
    server.kill().await?;
    let mut alone = 0;
    for limiter in &limiters {
        until(redis_of(limiter), LinkState::Down).await?;
        let told = limiter.standings(side(), std::slice::from_ref(&limit)).await;
        let here = let_through(limiter, &limit).await;
        ensure!(told[0].alone && told[0].remaining == here as u64, "{told:?} and then {here}");
        alone += here;
    }
    ensure!((18..=19).contains(&alone), "{alone} let through by shares");
    server.restart_empty().await?;
    let mut then = 0;
    for limiter in &limiters {
        until(redis_of(limiter), LinkState::Up).await?;
        then += let_through(limiter, &limit).await;
    }
    ensure!(12 + alone + then <= 60, "over-admission of more than one burst: {then}");
    Ok(())
}

#[tokio::test]
async fn what_was_let_through_by_shares_is_charged_when_redis_is_back() -> Result<()> {
    let mut server = server().await?;
    let [limiter] = limiters(&server).await?;
    let limit = charge("hour", 30, 3_600, 30, WhenGone::LocalShare);
    for _ in 0..10 {
        assert!(limiter.admit(side(), std::slice::from_ref(&limit)).await.is_ok());
    }
    server.kill().await?;
    until(redis_of(&limiter), LinkState::Down).await?;
    for _ in 0..15 {
        assert!(limiter.admit(side(), std::slice::from_ref(&limit)).await.is_ok());
    }
    server.restart().await?;
    until(redis_of(&limiter), LinkState::Up).await?;
    assert_eq!(let_through(&limiter, &limit).await, 5);
    Ok(())
}

#[tokio::test]
async fn a_paused_redis_holds_nobody_for_long_and_is_used_again() -> Result<()> {
    let server = server().await?;
    let command_timeout = Duration::from_millis(50);
    let limiter = connected(Settings { command_timeout, ..settings(Kind::Single, server.url()) }).await?;
    let limit = charge("share", 1_000, 1, 1_000, WhenGone::LocalShare);
    assert!(limiter.admit(side(), std::slice::from_ref(&limit)).await.is_ok());
    server.pause().await?;
    for _ in 0..20 {
        let asked = Instant::now();
        let standings = limiter.admit(side(), std::slice::from_ref(&limit)).await.ok().context("by its share")?;
        assert!(standings[0].alone);
        ensure!(asked.elapsed() < command_timeout * 10, "held for {:?}", asked.elapsed());
    }
    ensure!(!redis_of(&limiter).is_up(), "after three in a row it is left alone");
    until(redis_of(&limiter), LinkState::Down).await?;
    server.resume().await?;
    let by = Instant::now() + PATIENCE;
    while limiter.admit(side(), std::slice::from_ref(&limit)).await.ok().context("admitted")?[0].alone {
        ensure!(Instant::now() < by, "never counted by Redis again");
        sleep(BETWEEN).await;
    }
    Ok(())
}
